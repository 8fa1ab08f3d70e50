"""What the ingester is told by its environment."""

from pydantic import Field
from pydantic_settings import BaseSettings

from nexus.runtime.errors import ConfigError
from nexus.runtime.settings import CONFIG

MQTT_MOST = 65_535  # what MQTT 5 allows to be unacknowledged


class Settings(BaseSettings):
    """Sizes in points, times in seconds. `receive_maximum` in messages."""

    model_config = CONFIG
    group: str = Field("ingestion", pattern=r"^[^/+#$\x00]+$")
    database_url: str = "postgresql://127.0.0.1:5432/nexus"
    batch_points: int = Field(5_000, ge=1, le=MQTT_MOST // 2)
    batch_seconds: float = Field(1.0, gt=0, le=60)
    buffer_points: int = Field(50_000, ge=1)
    receive_maximum: int = Field(20_000, ge=1, le=MQTT_MOST)
    session_seconds: int = Field(600, ge=10)

    def check(self) -> None:
        """Raises ConfigError for sizes that cannot work together."""
        if self.receive_maximum < self.batch_points * 2:
            raise ConfigError(
                f"NEXUS_RECEIVE_MAXIMUM is {self.receive_maximum}, and must be at least twice NEXUS_BATCH_POINTS "
                f"({self.batch_points}): with one point a message a batch could never fill while another is written"
            )
        if self.buffer_points < self.batch_points:
            raise ConfigError("NEXUS_BUFFER_POINTS must not be smaller than NEXUS_BATCH_POINTS")
