"""The console's settings, from the environment."""

from typing import Annotated

from pydantic import BeforeValidator, Field, IPvAnyNetwork
from pydantic_settings import BaseSettings, NoDecode

from nexus.process.duration import seconds
from nexus.process.errors import ConfigError
from nexus.process.settings import CONFIG

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _listed(value: object) -> object:
    return [one.strip() for one in value.split(",") if one.strip()] if isinstance(value, str) else value


Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]


class Settings(BaseSettings):
    """Times in seconds. `console_query_seconds` is how long the database may work for one answer."""

    model_config = CONFIG
    database_url: str = "postgresql://127.0.0.1:5432/nexus"
    console_host: str = "127.0.0.1"
    console_port: int = Field(8090, ge=0, le=65535)
    console_insecure: bool = False
    console_read_only: bool = False
    console_session: Annotated[float, BeforeValidator(seconds)] = 12 * 3600.0  # from a login to its end
    console_proxies: Annotated[tuple[IPvAnyNetwork, ...], NoDecode, BeforeValidator(_listed)] = ()
    console_origins: Listed = ()
    console_connections: int = Field(8, ge=1, le=100)
    console_query_seconds: float = Field(10.0, gt=0, le=600, allow_inf_nan=False)

    def check(self) -> None:
        """Raises ConfigError for settings that open the plant to everybody."""
        if self.console_insecure and self.console_host not in LOOPBACK:
            raise ConfigError(
                f"NEXUS_CONSOLE_INSECURE lets everybody in without a login, and NEXUS_CONSOLE_HOST is "
                f"{self.console_host}: listen on 127.0.0.1, or make users with `nexus console user add`"
            )
