"""Where the database is, and how long it keeps data."""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings

from nexus.process import settings
from nexus.process.duration import seconds
from nexus.process.errors import ConfigError

_DAYS = re.compile(r"(\d+)\s*d(?:ays?)?")


def _days(value: object) -> object:
    if isinstance(value, int):
        return value
    if (match := _DAYS.fullmatch(str(value).strip())) is None:
        raise ValueError("write an age in whole days, like 90d")
    return int(match[1])


def _unless_never(value: object) -> object:
    return None if value == "never" else value


Days = Annotated[int, BeforeValidator(_days), Field(ge=1, le=36_500)]
DaysOrNever = Annotated[Days | None, BeforeValidator(_unless_never)]


class Settings(BaseSettings):
    """Ages in days, written like `90d`; without `retention_1day`, daily values are kept forever."""

    model_config = settings.CONFIG
    database_url: str = "postgresql://127.0.0.1:5432/nexus"
    ingest_mode: Literal["exact", "bulk"] = "exact"
    time_zone: str = "UTC"  # of the plant, by a name that the server knows
    compress_after: Days = 7
    retention: Days = 90
    retention_1min: Days = 365
    retention_1hour: Days = 1825
    retention_1day: DaysOrNever = None
    retention_rejects: Days = 90
    retention_audit: DaysOrNever = 730
    retention_alarms: DaysOrNever = 730
    writer_password: str | None = None
    reader_password: str | None = None
    console_password: str | None = None
    rules_password: str | None = None
    spool_age: Annotated[float, BeforeValidator(seconds)] = 7 * 86_400.0  # the gateways'

    @property
    def passwords(self) -> dict[str, str | None]:
        """Of the roles that log in, by the role's name."""
        return {
            "nexus_writer": self.writer_password,
            "nexus_reader": self.reader_password,
            "nexus_console": self.console_password,
            "nexus_rules": self.rules_password,
        }

    @property
    def refresh_1min(self) -> int:
        """Days that the policy looks back: one more than rows count as on time, so that no row falls between."""
        return self.compress_after + 1

    @property
    def refresh_1hour(self) -> int:
        """The same for hours."""
        return self.compress_after + 2

    @property
    def refresh_1day(self) -> int:
        """The same for days."""
        return self.compress_after + 4


def load(environment: str) -> Settings:
    """The database settings. Raises ConfigError when they contradict each other or hold a sample's password."""
    own = settings.load(Settings)
    settings.check_database_url(own.database_url, environment)
    for role, secret in own.passwords.items():
        settings.refuse_weak(f"{role.upper()}_PASSWORD", secret, environment)
    check_ages(own)
    return own


def check_ages(own: Settings) -> None:
    """Raises ConfigError for ages that contradict each other."""
    if own.retention <= own.refresh_1min:
        raise ConfigError(
            f"NEXUS_RETENTION ({own.retention}d) must be longer than NEXUS_COMPRESS_AFTER ({own.compress_after}d) by"
            " two days at least: minutes are refreshed so far back, and would be refreshed from readings that are gone"
        )
    if not own.retention <= own.retention_1min <= own.retention_1hour <= (own.retention_1day or own.retention_1hour):
        raise ConfigError(
            "NEXUS_RETENTION, NEXUS_RETENTION_1MIN, NEXUS_RETENTION_1HOUR and NEXUS_RETENTION_1DAY must rise: "
            "coarser values are made from finer ones"
        )
    if own.retention_1min <= own.refresh_1hour or own.retention_1hour <= own.refresh_1day:
        raise ConfigError(
            f"NEXUS_RETENTION_1MIN must be longer than {own.refresh_1hour}d and NEXUS_RETENTION_1HOUR longer than"
            f" {own.refresh_1day}d with this NEXUS_COMPRESS_AFTER: coarser values are refreshed so far back"
        )
    if own.spool_age > own.retention * 86_400:
        raise ConfigError(
            f"NEXUS_RETENTION ({own.retention}d) must not be shorter than the gateways' NEXUS_SPOOL_AGE"
            f" ({own.spool_age / 86_400:g}d): what waited so long on a gateway would be refused"
        )
