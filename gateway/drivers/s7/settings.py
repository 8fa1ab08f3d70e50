"""The keys of S7 devices."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.config.host import Host


class Settings(BaseModel):
    """An S7 device's own keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    host: Host
    port: int = Field(102, ge=1, le=65535)
    rack: int = Field(0, ge=0, le=7)
    slot: int = Field(1, ge=0, le=31)
    connection: Literal["pg", "op", "basic"] = "basic"
    gap: int = Field(16, ge=0, le=200)
