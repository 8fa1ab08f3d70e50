"""The broker's address and login, from `NEXUS_MQTT_*` environment variables."""

from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import Field
from pydantic_settings import BaseSettings

from nexus.mqtt.broker import Broker, Tls
from nexus.process import settings
from nexus.process.errors import ConfigError
from nexus.process.settings import CONFIG, ENCODED, refuse_placeholder


class Settings(BaseSettings):
    """Where the broker is. TLS by `mqtts://`; the files are PEM. User and password may stand in the URL instead."""

    model_config = CONFIG
    mqtt_url: str = "mqtt://127.0.0.1:1883"
    mqtt_user: str | None = Field(None, min_length=1)
    mqtt_password_file: Path | None = None
    mqtt_ca_file: Path | None = None
    mqtt_cert_file: Path | None = None
    mqtt_key_file: Path | None = None
    mqtt_keepalive: int = Field(10, ge=5, le=3600)


def load(environment: str) -> Broker:
    """The broker that the environment's variables describe. Raises ConfigError."""
    return broker(settings.load(Settings), environment)


def broker(own: Settings, environment: str) -> Broker:
    """The broker that the settings describe. Raises ConfigError."""
    url = _mqtt_url(own.mqtt_url)
    user, password = _credentials(own, url, environment)
    try:
        port = url.port or (8883 if url.scheme == "mqtts" else 1883)
    except ValueError:
        raise ConfigError(f"NEXUS_MQTT_URL: the port is not a number up to 65535; {ENCODED}") from None
    tls = Tls(own.mqtt_ca_file, own.mqtt_cert_file, own.mqtt_key_file)
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
        keepalive=own.mqtt_keepalive,
        tls=tls if url.scheme == "mqtts" else None,
    )


def _mqtt_url(text: str) -> SplitResult:
    """The parts of NEXUS_MQTT_URL. Raises ConfigError, which does not show it: a password may be in it."""
    try:
        url = urlsplit(text)
    except ValueError:
        url = urlsplit("")
    # A path, or a second @, is the rest of a password with an unencoded / or @.
    is_torn = url.path not in ("", "/") or url.query or url.fragment or url.netloc.count("@") > 1
    if url.scheme not in ("mqtt", "mqtts") or not url.hostname or is_torn:
        raise ConfigError(
            f"NEXUS_MQTT_URL: write it like mqtt://user:password@host:1883, or mqtts:// for TLS; {ENCODED}"
        )
    return url


def _credentials(own: Settings, url: SplitResult, environment: str) -> tuple[str | None, str | None]:
    """User and password, each from the URL or from its own setting. Raises ConfigError."""
    user, password, name = url.username, url.password, "NEXUS_MQTT_URL"
    if own.mqtt_user is not None and user:
        raise ConfigError("NEXUS_MQTT_USER: NEXUS_MQTT_URL already names a user; leave one of them out")
    user = own.mqtt_user or (unquote(user) if user else None)
    if (file := own.mqtt_password_file) is None:
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
