"""Settings from `NEXUS_*` environment variables, and the errors that name them."""

import re
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from nexus.runtime.broker import Broker, Tls
from nexus.runtime.errors import ConfigError
from nexus.runtime.wording import words

PREFIX = "NEXUS_"
PLACEHOLDER = "change-me"
SHORTEST_SECRET = 12
CONFIG = SettingsConfigDict(
    env_prefix=PREFIX, extra="ignore", hide_input_in_errors=True, frozen=True, validate_default=False
)

_ENCODED = "write #, /, @ and other special characters of a password percent-encoded, like %23"

T = TypeVar("T", bound=BaseSettings)


def _names(value: object) -> object:
    return [name.strip().lower() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


class Process(BaseSettings):
    """What every service is told about itself, and by which names and for whom its pages are."""

    model_config = CONFIG
    environment: Literal["production", "development"] = "production"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    health_host: str = "127.0.0.1"
    health_port: int = Field(8081, ge=0, le=65535)
    http_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)] = ()
    http_token: str | None = None


class Mqtt(BaseSettings):
    """Where the broker is. TLS by `mqtts://`; the files are PEM. User and password may stand in the URL instead."""

    model_config = CONFIG
    mqtt_url: str = "mqtt://127.0.0.1:1883"
    mqtt_user: str | None = Field(None, min_length=1)
    mqtt_password_file: Path | None = None
    mqtt_ca_file: Path | None = None
    mqtt_cert_file: Path | None = None
    mqtt_key_file: Path | None = None
    mqtt_keepalive: int = Field(10, ge=5, le=3600)


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


def broker(settings: Mqtt, environment: str) -> Broker:
    """The broker that the settings describe. Raises ConfigError."""
    url = _mqtt_url(settings.mqtt_url)
    user, password = _credentials(settings, url, environment)
    try:
        port = url.port or (8883 if url.scheme == "mqtts" else 1883)
    except ValueError:
        raise ConfigError(f"NEXUS_MQTT_URL: the port is not a number up to 65535; {_ENCODED}") from None
    tls = Tls(settings.mqtt_ca_file, settings.mqtt_cert_file, settings.mqtt_key_file)
    if url.scheme == "mqtt" and any((tls.ca_file, tls.cert_file, tls.key_file)):
        raise ConfigError("NEXUS_MQTT_CA_FILE and its like need mqtts:// in NEXUS_MQTT_URL")
    for name, file in (("CA", tls.ca_file), ("CERT", tls.cert_file), ("KEY", tls.key_file)):
        if file is not None and not file.is_file():
            raise ConfigError(f"NEXUS_MQTT_{name}_FILE: there is no file {file}")
    return Broker(
        host=str(url.hostname),
        port=port,
        user=user,
        password=password,
        keepalive=settings.mqtt_keepalive,
        tls=tls if url.scheme == "mqtts" else None,
    )


def _mqtt_url(text: str) -> SplitResult:
    """The parts of NEXUS_MQTT_URL. Raises ConfigError, which does not show it: a password may be in it."""
    try:
        url = urlsplit(text)
    except ValueError:
        url = urlsplit("")
    if url.scheme not in ("mqtt", "mqtts") or not url.hostname:
        raise ConfigError(
            f"NEXUS_MQTT_URL: write it like mqtt://user:password@host:1883, or mqtts:// for TLS; {_ENCODED}"
        )
    return url


def _credentials(settings: Mqtt, url: SplitResult, environment: str) -> tuple[str | None, str | None]:
    """User and password, each from the URL or from its own setting. Raises ConfigError."""
    user, password, name = url.username, url.password, "NEXUS_MQTT_URL"
    if settings.mqtt_user is not None and user:
        raise ConfigError("NEXUS_MQTT_USER: NEXUS_MQTT_URL already names a user; leave one of them out")
    user = settings.mqtt_user or (unquote(user) if user else None)
    if (file := settings.mqtt_password_file) is None:
        password = unquote(password) if password is not None else None
    elif password is not None:
        raise ConfigError("NEXUS_MQTT_PASSWORD_FILE: NEXUS_MQTT_URL already has a password; leave one of them out")
    else:
        name = "NEXUS_MQTT_PASSWORD_FILE"
        password = _secret(name, file)
    if password is not None and user is None:
        raise ConfigError(f"{name}: a password without a user; name one in NEXUS_MQTT_USER or in NEXUS_MQTT_URL")
    refuse_placeholder(name, password, environment)
    return user, password


def _secret(name: str, file: Path) -> str:
    """A file's text without its last line end. Raises ConfigError."""
    try:
        return file.read_text().removesuffix("\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"{name}: cannot read {file}: {reason}") from None


def refuse_placeholder(name: str, secret: str | None, environment: str) -> None:
    """An empty secret is none, and outside development a sample's is an open door. Raises ConfigError."""
    if secret is not None and not secret.strip():
        raise ConfigError(f"{name}: the password is empty")
    if secret is not None and secret.strip().lower() == PLACEHOLDER and environment != "development":
        raise ConfigError(
            f"{name}: the password is still {PLACEHOLDER!r}; set a real one, or NEXUS_ENVIRONMENT=development"
        )


def refuse_weak(name: str, secret: str | None, environment: str) -> None:
    """As refuse_placeholder, and too short, for a password that we set ourselves. Raises ConfigError."""
    refuse_placeholder(name, secret, environment)
    if secret is not None and len(secret) < SHORTEST_SECRET and environment != "development":
        raise ConfigError(
            f"{name}: a password of {SHORTEST_SECRET} characters at least, or NEXUS_ENVIRONMENT=development"
        )


def check_database_url(url: str, environment: str) -> None:
    """Raises ConfigError when libpq could not read the URL, or its password is a sample's."""
    from psycopg import ProgrammingError  # noqa: PLC0415  the gateway has no database
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    try:
        password = conninfo_to_dict(url).get("password")
    except ProgrammingError as error:
        # libpq quotes what it could not read, and the password is in it.
        said = re.sub(r'".*"', "…", str(error).strip(), flags=re.DOTALL)
        example = "postgresql://user:password@host:5432/nexus"
        raise ConfigError(f"NEXUS_DATABASE_URL: {said}; write it like {example}, and {_ENCODED}") from None
    refuse_placeholder("NEXUS_DATABASE_URL", str(password) if password else None, environment)
