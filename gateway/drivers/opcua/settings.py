"""The keys of OPC UA servers."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from gateway.config import host, secret_files
from gateway.drivers.opcua.security import Security
from gateway.drivers.opcua.values import Clock
from nexus.process.duration import Seconds

_PLACE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]+))(?::([0-9]{1,5}))?")


def _reachable(endpoint: str) -> str:
    """Raises ValueError for a host or a port that cannot be."""
    place = endpoint.removeprefix("opc.tcp://").partition("/")[0]
    if not (match := _PLACE.fullmatch(place)):
        raise ValueError(f"{place!r} is not a host and port: write opc.tcp://plc1:4840 or opc.tcp://[2001:db8::7]:4840")
    host.checked(match[1] or match[2])
    if match[3] and not 1 <= int(match[3]) <= 65_535:
        raise ValueError(f"ports are 1 to 65535, not {match[3]}")
    return endpoint


class Settings(BaseModel):
    """An OPC UA server's own keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    endpoint: Annotated[str, AfterValidator(_reachable)] = Field(
        pattern=r"^opc\.tcp://[^/]+(/.*)?$",
        examples=["opc.tcp://192.168.1.30:4840"],
    )
    security: Security = Security()
    username: str | None = None
    password: str | None = None
    password_file: Annotated[Path | None, AfterValidator(secret_files.allowed)] = None
    insecure_password: bool = False
    mode: Literal["subscribe", "poll"] = "subscribe"
    clock: Clock = "source"
    sampling: Annotated[Seconds, Field(ge=0)] | None = None
    queue: int = Field(10, ge=1, le=10_000)
    profile: Literal["auto", "standard", "s7-1200"] = "auto"
    batch: int | None = Field(None, ge=1, le=10_000)

    @model_validator(mode="after")
    def _login(self) -> "Settings":
        if self.password is not None and self.password_file is not None:
            raise ValueError("give either password or password_file, not both")
        if self.password_file is not None:
            if not self.password_file.is_file():
                raise ValueError(f"password_file: there is no file {self.password_file}")
            with suppress(OSError):  # a file that perhaps only the gateway can read
                secret_files.password(self.password_file)
        if self.username is None and (self.password is not None or self.password_file is not None):
            raise ValueError("password needs a `username`")
        if self.username is not None and self.security.policy == "None" and not self.insecure_password:
            raise ValueError(
                "username: without `security` anybody on the way can read the password; choose a policy, or say "
                "`insecure_password: true` if that is accepted"
            )
        return self
