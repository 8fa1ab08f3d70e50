"""What the gateway is told by its environment."""

import os
import socket
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings

from nexus.runtime.settings import CONFIG


def _member() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


class Settings(BaseSettings):
    """`member` names this gateway within its `group`; it must be the only one of that name."""

    model_config = CONFIG
    group: str = Field("gateway", pattern=r"^[^/+#$\x00]+$")
    member: str = Field(default_factory=_member, pattern=r"^[^/+#$\x00]+$")
    devices: Path | None = None
    api_host: str = "0.0.0.0"  # noqa: S104  published by compose and K3s
    api_port: int = Field(8080, ge=0, le=65535)
    queue_readings: int = Field(100_000, ge=1)
