"""What `nexus rules` is told by its environment."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings

from nexus.process.duration import Seconds
from nexus.process.settings import CONFIG

_LEVEL, _EXAMPLE = r"^[^/+#$\x00]+$", ["line-1: not empty, and without / + # $"]  # of a topic


class Settings(BaseSettings):
    """`group` names those who take turns with the same files, one being active; times in seconds.

    `receipts` is the group of ingesters whose receipts are waited for, `auto` for any that offers them, or `none`.
    """

    model_config = CONFIG
    group: str = Field("rules", pattern=_LEVEL, examples=_EXAMPLE)
    rules: Path | None = None
    rules_lateness: Seconds = Field(60.0, ge=1, le=3600)
    database_url: str = "postgresql://127.0.0.1:5432/nexus"
    receipts: str = Field("auto", pattern=_LEVEL, examples=_EXAMPLE)
    session_seconds: int = Field(600, ge=10)
    connect_seconds: float = Field(60.0, ge=1, le=600)
