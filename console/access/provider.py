"""What we ask of an OpenID provider: where its endpoints are, its keys, and tokens for a code."""

from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, import_key

from nexus.process import tls

KEPT_SECONDS = 3600.0
_TIMEOUT = aiohttp.ClientTimeout(total=10)
_MOST_BYTES = 500_000


class ProviderError(Exception):
    """The provider does not answer, or not as OpenID Connect says; for the log."""


class Metadata(msgspec.Struct, frozen=True):
    """Of its discovery document, what we need."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class Provider:
    """An OpenID provider, by its issuer's URL."""

    def __init__(self, issuer: str, ca_file: Path | None) -> None:
        self.issuer = issuer
        self._ca_file = ca_file
        self._metadata: Metadata | None = None
        self._keys = KeySet([])
        self._read = self._read_keys = float("-inf")

    async def metadata(self) -> Metadata:
        """Where its endpoints are. Raises ProviderError."""
        if self._metadata is None or monotonic() - self._read > KEPT_SECONDS:
            url = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
            try:
                found = msgspec.convert(await self._ask("GET", url), Metadata)
            except msgspec.ValidationError as error:
                raise ProviderError(f"{url}: {error}") from None
            if found.issuer != self.issuer:
                raise ProviderError(f"{url} is of the issuer {found.issuer!r}: set NEXUS_CONSOLE_OIDC_ISSUER to it")
            self._metadata, self._read = found, monotonic()
        return self._metadata

    async def keys(self, *, again: bool = False) -> KeySet:
        """The keys that it signs with; `again` asks for them even if we have some. Raises ProviderError."""
        if again or monotonic() - self._read_keys > KEPT_SECONDS:
            content = await self._ask("GET", (await self.metadata()).jwks_uri)
            self._keys, self._read_keys = KeySet(_usable(content.get("keys"))), monotonic()
        return self._keys

    async def tokens(self, form: dict[str, str], client_id: str, secret: str | None) -> dict[str, Any]:
        """What it gives for a code. Raises ProviderError."""
        metadata, login = await self.metadata(), None
        if secret is None:
            form = {**form, "client_id": client_id}
        elif "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
            login = aiohttp.encode_basic_auth(client_id, secret)
        else:
            form = {**form, "client_id": client_id, "client_secret": secret}
        return await self._ask("POST", metadata.token_endpoint, form, login)

    async def _ask(
        self, method: str, url: str, form: dict[str, str] | None = None, login: str | None = None
    ) -> dict[str, Any]:
        check_url("an endpoint of the provider", url)
        headers = {"Accept": "application/json", **({"Authorization": login} if login else {})}
        try:
            connector = aiohttp.TCPConnector(ssl=tls.trusting(self._ca_file))
            async with (
                aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT, trust_env=True) as session,
                session.request(method, url, data=form, headers=headers, allow_redirects=False) as answer,
            ):
                body = b""
                async for part in answer.content.iter_chunked(65_536):
                    if len(body := body + part) > _MOST_BYTES:
                        raise ProviderError(f"{url}: an answer of more than {_MOST_BYTES} bytes")
                if answer.status != 200:
                    raise ProviderError(f"{url}: {answer.status} {body[:200].decode(errors='replace')}")
                return msgspec.json.decode(body, type=dict[str, Any])
        except (OSError, TimeoutError, aiohttp.ClientError, ValueError, msgspec.MsgspecError) as error:
            raise ProviderError(f"{url}: {str(error) or type(error).__name__}") from None


def check_url(name: str, url: str) -> None:
    """Raises ProviderError for a URL that anybody on the way could answer for."""
    parts = urlsplit(url)
    is_here = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_here):
        raise ProviderError(f"{name} must begin with https://, and is {url!r}")


def _usable(keys: object) -> list[Any]:
    found = []
    for key in keys if isinstance(keys, list) else []:
        try:
            found.append(import_key(key))
        except (JoseError, ValueError, TypeError, KeyError):
            continue  # of a kind that we do not know: another one is as good
    return found
