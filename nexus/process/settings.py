"""Settings from `NEXUS_*` environment variables, and the errors that name them."""

import re
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from nexus.process.errors import ConfigError
from nexus.process.wording import words

PREFIX = "NEXUS_"
PLACEHOLDER = "change-me"
SHORTEST_SECRET = 12
CONFIG = SettingsConfigDict(
    env_prefix=PREFIX, extra="ignore", hide_input_in_errors=True, frozen=True, validate_default=False
)

ENCODED = "write #, /, @ and other special characters of a password percent-encoded, like %23"

T = TypeVar("T", bound=BaseSettings)


def _names(value: object) -> object:
    return [name.strip().lower() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


class Process(BaseSettings):
    """Settings of every service, and of its pages: host names and token."""

    model_config = CONFIG
    environment: Literal["production", "development"] = "production"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    health_host: str = "127.0.0.1"
    health_port: int = Field(8081, ge=0, le=65535)
    http_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)] = ()
    http_token: str | None = None


def load(kind: type[T]) -> T:
    """Reads settings from the environment. Raises ConfigError that names each variable at fault."""
    try:
        return kind()
    except ValidationError as error:
        lines = {_said(kind, fault) for fault in error.errors(include_url=False, include_input=False)}
        raise ConfigError("\n".join(sorted(lines))) from None


def _said(kind: type[BaseSettings], fault: ErrorDetails) -> str:
    if not fault["loc"]:
        return words(fault, None)
    name = str(fault["loc"][0])
    return f"{PREFIX}{name.upper()}: {words(fault, kind.model_fields.get(name))}"


def refuse_placeholder(name: str, secret: str | None, environment: str) -> None:
    """Refuses an empty secret, and a sample's outside development. Raises ConfigError."""
    if secret is not None and not secret.strip():
        raise ConfigError(f"{name}: the password is empty")
    if secret is not None and secret.strip().lower() == PLACEHOLDER and environment != "development":
        raise ConfigError(
            f"{name}: the password is still {PLACEHOLDER!r}; set a real one, or NEXUS_ENVIRONMENT=development"
        )


def refuse_weak(name: str, secret: str | None, environment: str) -> None:
    """As refuse_placeholder, and refuses short ones too, for passwords that we set ourselves. Raises ConfigError."""
    refuse_placeholder(name, secret, environment)
    if secret is not None and len(secret) < SHORTEST_SECRET and environment != "development":
        raise ConfigError(f"{name}: use at least {SHORTEST_SECRET} characters, or set NEXUS_ENVIRONMENT=development")


def check_database_url(url: str, environment: str) -> None:
    """Raises ConfigError when libpq cannot read the URL, or its password is a sample's."""
    from psycopg import ProgrammingError  # noqa: PLC0415  the gateway has no database
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    try:
        given = conninfo_to_dict(url)
    except UnicodeEncodeError:
        raise ConfigError(f"NEXUS_DATABASE_URL: not UTF-8; {ENCODED}") from None
    except ProgrammingError as error:
        # libpq quotes what it cannot read, which may contain the password.
        said = re.sub(r'".*"', "…", str(error).strip(), flags=re.DOTALL)
        example = "postgresql://user:password@host:5432/nexus"
        raise ConfigError(f"NEXUS_DATABASE_URL: {said}; write it like {example}, and {ENCODED}") from None
    is_url = url.startswith(("postgresql://", "postgres://"))
    if is_url and any("@" in str(given.get(part) or "") for part in ("host", "dbname")):
        raise ConfigError(f"NEXUS_DATABASE_URL: an @ in the host or the database's name; {ENCODED}")
    password = given.get("password")
    refuse_placeholder("NEXUS_DATABASE_URL", str(password) if password else None, environment)
