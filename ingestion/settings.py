"""The ingester's settings, from the environment."""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, NoDecode

from ingestion.decode.decoders import Rule
from nexus.process.errors import ConfigError
from nexus.process.settings import CONFIG

MQTT_MOST = 65_535  # unacknowledged messages that MQTT 5 allows


def _table(value: object) -> object:
    """A list as JSON, or the name of a file that holds one as YAML."""
    if not isinstance(value, str):
        return value
    try:
        text = value if value.lstrip().startswith("[") else Path(value).read_text(encoding="utf-8")
        return yaml.safe_load(text) or ()
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"neither a list nor a readable file: {error}") from None


class Settings(BaseSettings):
    """Sizes in points, times in seconds. `receive_maximum` in messages."""

    model_config = CONFIG
    group: str = Field("ingestion", pattern=r"^[^/+#$\x00]+$", examples=["line-1: not empty, and without / + # $"])
    database_url: str = "postgresql://127.0.0.1:5432/nexus"
    ingest_mode: Literal["exact", "bulk"] = "exact"
    batch_points: int = Field(5_000, ge=1, le=500_000)
    batch_seconds: float = Field(1.0, gt=0, le=60, allow_inf_nan=False)
    writers: int = Field(2, ge=1, le=16)
    buffer_points: int = Field(50_000, ge=1)
    receive_maximum: int = Field(20_000, ge=1, le=MQTT_MOST)
    decoders: Annotated[tuple[Rule, ...], NoDecode, BeforeValidator(_table)] = ()
    session_seconds: int = Field(600, ge=10)
    connect_seconds: float = Field(60.0, ge=1, le=600)
    oldest_days: int = Field(3_650, ge=1, le=20_000)
    rejects_rows: int = Field(100_000, ge=0)
    rejects_mb: int = Field(256, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _for_bulk(cls, given: dict[str, object]) -> dict[str, object]:
        """Bulk mode has larger batches: compressing at once pays off only for those."""
        return (
            {"batch_points": 100_000, "buffer_points": 300_000, **given}
            if given.get("ingest_mode") == "bulk"
            else given
        )

    @property
    def most_points(self) -> int:
        """The points that a batch may grow to while the writers are behind."""
        return max(50_000, self.batch_points)

    def check(self) -> None:
        """Raises ConfigError for sizes that cannot work together."""
        needed = self.batch_points * (self.writers + 1)
        if self.ingest_mode == "exact" and self.receive_maximum < needed:
            raise ConfigError(
                f"NEXUS_RECEIVE_MAXIMUM is {self.receive_maximum}, and must be at least {needed}, which is "
                f"NEXUS_BATCH_POINTS ({self.batch_points}) for each of NEXUS_WRITERS ({self.writers}) and once more: "
                "with one point a message a batch could never fill while others are written"
            )
        if self.buffer_points < self.batch_points:
            raise ConfigError("NEXUS_BUFFER_POINTS must not be smaller than NEXUS_BATCH_POINTS")
