"""The gateway's settings, from the environment."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings

from gateway.polling.slots import SLOT_SECONDS
from nexus.contract.topic import STATE, TOTALS
from nexus.process import paths
from nexus.process.duration import Seconds
from nexus.process.settings import CONFIG

ANY = "#"  # any group of ingesters

_LEVEL, _EXAMPLE = r"^[^/+#$\x00]+$", ["line-1: not empty, and without / + # $"]  # of a topic


def _prefix(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*", text) or "NEXUS_".startswith(text) or text.startswith("NEXUS_"):
        raise ValueError("write the beginning of a variable's name, like DEVICE_; our own begin with NEXUS_")
    return text


def _ingestion_group(text: str) -> str:
    if text.lower() in ("yes", "no", "true", "false", "on", "off", "0", "1", "always", "never"):
        raise ValueError("write auto, none, or the name of the ingesters' group, such as ingestion")
    return text


def _member(text: str) -> str:
    if text in (STATE, TOTALS):
        raise ValueError(f"{text} is what gateways publish of themselves, and no name of one: write another")
    return text


class Settings(BaseSettings):
    """`member` names this gateway within its `group`; it must be the only one of that name, now and after a restart.

    `receipts` is the group of ingesters whose receipts are waited for, `auto` for any that offers them, or `none`.
    """

    model_config = CONFIG
    group: str = Field("gateway", pattern=_LEVEL, examples=_EXAMPLE)
    member: Annotated[str, AfterValidator(_member)] | None = Field(None, pattern=_LEVEL, examples=_EXAMPLE)
    lease: Seconds = Field(5.0, ge=2, le=60)
    leases: Literal["auto", "kubernetes", "none"] = "auto"
    service_account: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    broker_away: Literal["poll", "yield"] | None = None
    devices: Path | None = None
    device_prefix: Annotated[str, AfterValidator(_prefix)] = "DEVICE_"
    scan_slot: Seconds = Field(SLOT_SECONDS, ge=0.001, le=0.1)
    api_host: str = "127.0.0.1"
    api_port: int = Field(8080, ge=0, le=65535)
    spool_dir: Path = Field(default_factory=lambda: paths.state_folder("spool"))
    spool_bytes: int = Field(1_000_000_000, ge=1_000_000)
    spool_age: Seconds = Field(7 * 86_400.0, gt=0)
    receipts: Annotated[str, AfterValidator(_ingestion_group)] = Field("auto", pattern=_LEVEL, examples=_EXAMPLE)
    counts_interval: Annotated[Seconds, Field(ge=1, le=60)] = 60.0
    queue_readings: int = Field(100_000, ge=1)

    @property
    def ingestion_group(self) -> str | None:
        """Whose receipts to wait for: any group's (ANY), one group's, or nobody's (None)."""
        return {"none": None, "auto": ANY}.get(self.receipts, self.receipts)

    @property
    def wanted(self) -> Literal["auto", "always", "never"]:
        """Whether to wait for receipts."""
        return {"none": "never", "auto": "auto"}.get(self.receipts, "always")  # type: ignore[return-value]

    @property
    def is_one_of_several(self) -> bool:
        """Whether a group is named: such a gateway has peers, and waits for the broker before it polls anything."""
        return "group" in self.model_fields_set
