"""The console's settings, from the environment."""

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, IPvAnyNetwork
from pydantic_settings import BaseSettings, NoDecode

from console.access.oidc import Client, Oidc
from console.access.person import Role
from console.access.provider import Provider, ProviderError, check_url
from nexus.process.duration import seconds
from nexus.process.errors import ConfigError
from nexus.process.settings import CONFIG

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _listed(value: object) -> object:
    return [one.strip() for one in value.split(",") if one.strip()] if isinstance(value, str) else value


def _origin(value: object) -> object:
    text = str(value).rstrip("/")
    if not re.fullmatch(r"https?://[^/?#@\s]+", text):
        raise ValueError("write what browsers show, like https://plant.example, without a path")
    return text.lower()


def _roles(value: object) -> object:
    if not isinstance(value, str):
        return value
    pairs = [one.strip().partition("=") for one in value.split(",") if one.strip()]
    for role, _, given in pairs:
        if role not in Role.__members__ or not given or not Role[role]:
            raise ValueError("write role=value, comma-separated, like engineer=plant-engineers,viewer=*")
    return tuple((Role[role], given) for role, _, given in pairs)


Prompt = Annotated[Literal["login", "select_account"] | None, BeforeValidator(lambda value: value or None)]
Roles = Annotated[tuple[tuple[Role, str], ...], NoDecode, BeforeValidator(_roles)]


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
    console_url: Annotated[str, BeforeValidator(_origin)] | None = None  # as browsers know it, behind a proxy
    console_connections: int = Field(8, ge=1, le=100)
    console_query_seconds: float = Field(10.0, gt=0, le=600, allow_inf_nan=False)

    # Receivers and routes of notifications; none are sent without.
    console_notify: Annotated[Path | None, BeforeValidator(lambda value: value or None)] = None

    console_oidc_issuer: str | None = None
    console_oidc_client_id: str | None = None
    console_oidc_client_secret: str | None = None
    console_oidc_scope: str = "openid profile email"
    console_oidc_prompt: Prompt = None
    console_oidc_name_claim: str = "preferred_username"
    console_oidc_role_claim: str = "groups"
    console_oidc_roles: Roles = ()
    console_oidc_ca_file: Path | None = None

    @property
    def hosts(self) -> tuple[str, ...]:
        """The name in `console_url`, which is ours too."""
        name = urlsplit(self.console_url or "").hostname
        return () if name is None else (name,)

    def oidc(self) -> Oidc | None:
        """Logins by an OpenID provider, if there is one. Raises ConfigError."""
        if (issuer := self.console_oidc_issuer) is None:
            return None
        if self.console_url is None or self.console_oidc_client_id is None or not self.console_oidc_roles:
            raise ConfigError(
                "NEXUS_CONSOLE_OIDC_ISSUER also needs NEXUS_CONSOLE_URL (what browsers show, like https://plant.example),"
                " NEXUS_CONSOLE_OIDC_CLIENT_ID and NEXUS_CONSOLE_OIDC_ROLES (like engineer=plant-engineers,viewer=*)"
            )
        client = Client(
            id=self.console_oidc_client_id,
            secret=self.console_oidc_client_secret,
            url=self.console_url,
            scope=self.console_oidc_scope,
            name_claim=self.console_oidc_name_claim,
            role_claim=self.console_oidc_role_claim,
            roles=self.console_oidc_roles,
            prompt=self.console_oidc_prompt,
        )
        try:
            check_url("NEXUS_CONSOLE_OIDC_ISSUER", issuer)
            return Oidc(client, Provider(issuer, self.console_oidc_ca_file))
        except (ProviderError, OSError) as error:
            raise ConfigError(str(error)) from None

    def check(self) -> None:
        """Raises ConfigError for settings that open the plant to everybody."""
        if self.console_insecure and self.console_host not in LOOPBACK:
            raise ConfigError(
                f"NEXUS_CONSOLE_INSECURE lets everybody in without a login, and NEXUS_CONSOLE_HOST is "
                f"{self.console_host}: listen on 127.0.0.1, or make users with `nexus console user add`"
            )
