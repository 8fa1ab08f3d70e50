"""Where the database is, and how long it keeps what."""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings

from nexus.runtime import settings
from nexus.runtime.errors import ConfigError

_DAYS = re.compile(r"(\d+)\s*d(?:ays?)?")


def _days(value: object) -> object:
    if isinstance(value, int):
        return value
    if (match := _DAYS.fullmatch(str(value).strip())) is None:
        raise ValueError("write an age in whole days, like 90d")
    return int(match[1])


Days = Annotated[int, BeforeValidator(_days), Field(ge=1)]


class Settings(BaseSettings):
    """Ages in days, written like `90d`; `retention_1day` unset keeps daily values for ever."""

    model_config = settings.CONFIG
    database_url: str = "postgresql://127.0.0.1:5432/nexus"
    ingest_mode: Literal["exact", "bulk"] = "exact"
    compress_after: Days = 7
    retention: Days = 90
    retention_1min: Days = 365
    retention_1hour: Days = 1825
    retention_1day: Days | None = None
    retention_rejects: Days = 90
    writer_password: str | None = None
    reader_password: str | None = None


def load(environment: str) -> Settings:
    """The database settings. Raises ConfigError when they contradict each other or hold a sample's password."""
    own = settings.load(Settings)
    settings.check_database_url(own.database_url, environment)
    for name, secret in (("WRITER", own.writer_password), ("READER", own.reader_password)):
        settings.refuse_weak(f"NEXUS_{name}_PASSWORD", secret, environment)
    if own.retention <= own.compress_after:
        raise ConfigError("NEXUS_RETENTION must be longer than NEXUS_COMPRESS_AFTER: nothing would ever be compressed")
    if not own.retention <= own.retention_1min <= own.retention_1hour:
        raise ConfigError(
            "NEXUS_RETENTION, NEXUS_RETENTION_1MIN and NEXUS_RETENTION_1HOUR must rise: "
            "coarser values are made from finer ones"
        )
    return own
