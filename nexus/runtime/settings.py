"""Settings from `NEXUS_*` environment variables, and the errors that name them."""

from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from nexus.runtime.broker import Broker, Tls
from nexus.runtime.errors import ConfigError

PREFIX = "NEXUS_"
PLACEHOLDER = "change-me"
CONFIG = SettingsConfigDict(
    env_prefix=PREFIX, extra="ignore", hide_input_in_errors=True, frozen=True, validate_default=False
)

T = TypeVar("T", bound=BaseSettings)


class Process(BaseSettings):
    """What every service is told about itself."""

    model_config = CONFIG
    environment: Literal["production", "development"] = "production"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    health_host: str = "0.0.0.0"  # noqa: S104  probes come from outside the container
    health_port: int = Field(8081, ge=0, le=65535)


class Mqtt(BaseSettings):
    """Where the broker is. TLS by `mqtts://`; the files are PEM."""

    model_config = CONFIG
    mqtt_url: str = "mqtt://127.0.0.1:1883"
    mqtt_ca_file: Path | None = None
    mqtt_cert_file: Path | None = None
    mqtt_key_file: Path | None = None
    mqtt_keepalive: int = Field(10, ge=5, le=3600)


def load(kind: type[T]) -> T:
    """Reads settings from the environment. Raises ConfigError that names each variable at fault."""
    try:
        return kind()
    except ValidationError as error:
        lines = [f"{PREFIX}{'_'.join(map(str, fault['loc'])).upper()}: {fault['msg']}" for fault in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def broker(settings: Mqtt, environment: str) -> Broker:
    """The broker that the settings describe. Raises ConfigError."""
    url = urlsplit(settings.mqtt_url)
    if url.scheme not in ("mqtt", "mqtts") or not url.hostname:
        raise ConfigError("NEXUS_MQTT_URL: write it like mqtt://user:password@host:1883, or mqtts:// for TLS")
    password = unquote(url.password) if url.password is not None else None
    refuse_placeholder("NEXUS_MQTT_URL", password, environment)
    try:
        port = url.port or (8883 if url.scheme == "mqtts" else 1883)
    except ValueError:
        raise ConfigError("NEXUS_MQTT_URL: the port is not a number up to 65535") from None
    tls = Tls(settings.mqtt_ca_file, settings.mqtt_cert_file, settings.mqtt_key_file)
    if url.scheme == "mqtt" and any((tls.ca_file, tls.cert_file, tls.key_file)):
        raise ConfigError("NEXUS_MQTT_CA_FILE and its like need mqtts:// in NEXUS_MQTT_URL")
    for name, file in (("CA", tls.ca_file), ("CERT", tls.cert_file), ("KEY", tls.key_file)):
        if file is not None and not file.is_file():
            raise ConfigError(f"NEXUS_MQTT_{name}_FILE: there is no file {file}")
    return Broker(
        host=url.hostname,
        port=port,
        user=unquote(url.username) if url.username else None,
        password=password,
        keepalive=settings.mqtt_keepalive,
        tls=tls if url.scheme == "mqtts" else None,
    )


def refuse_placeholder(name: str, secret: str | None, environment: str) -> None:
    """Outside development a sample's secret is an open door. Raises ConfigError."""
    if secret == PLACEHOLDER and environment != "development":
        raise ConfigError(
            f"{name}: the password is still {PLACEHOLDER!r}; set a real one, or NEXUS_ENVIRONMENT=development"
        )


def check_database_url(url: str, environment: str) -> None:
    """Raises ConfigError when libpq could not read the URL, or its password is a sample's."""
    from psycopg import ProgrammingError  # noqa: PLC0415  the gateway has no database
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    try:
        password = conninfo_to_dict(url).get("password")
    except ProgrammingError as error:
        raise ConfigError(f"NEXUS_DATABASE_URL: {str(error).strip()}") from None
    refuse_placeholder("NEXUS_DATABASE_URL", str(password) if password else None, environment)
