"""Logins by OpenID Connect: the code flow with PKCE, state and nonce, and the role that a person's claims give."""

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from time import time
from typing import Any, Literal
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from console.access.person import Role
from console.access.provider import Provider, ProviderError

CALLBACK = "/api/v1/oidc/callback"
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"]
_LEEWAY_SECONDS = 60
_LONGEST_NAME = 200
ANYBODY = "*"

Claims = Mapping[str, Any]


@dataclass(frozen=True)
class Client:
    """Who we are to the provider, and what its claims mean here. `roles`: role, and the value that gives it."""

    id: str
    secret: str | None
    url: str
    scope: str
    name_claim: str
    role_claim: str
    roles: Sequence[tuple[Role, str]]
    prompt: str | None = None  # what the provider asks a person who is logged in there already


@dataclass(frozen=True)
class Started:
    """A login that is under way; the browser keeps it, signed, until the provider sends it back."""

    state: str
    nonce: str
    verifier: str


class RefusedError(Exception):
    """Who came back from the provider is not let in: `failed`, `refused` there, or without a role here."""

    def __init__(self, why: Literal["failed", "refused", "norole"], text: str) -> None:
        super().__init__(text)
        self.why = why


class Oidc:
    """Sends people to a provider, and reads who they are when they come back."""

    def __init__(self, client: Client, provider: Provider) -> None:
        self._client = client
        self._provider = provider

    async def begin(self) -> tuple[str, Started]:
        """Where to send a browser, and what it has to bring back. Raises RefusedError."""
        started = Started(*(secrets.token_urlsafe(32) for _ in range(3)))
        challenge = urlsafe_b64encode(sha256(started.verifier.encode()).digest()).decode().rstrip("=")
        query = {
            "response_type": "code",
            "client_id": self._client.id,
            "redirect_uri": self._client.url + CALLBACK,
            "scope": self._client.scope,
            "state": started.state,
            "nonce": started.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **({"prompt": self._client.prompt} if self._client.prompt else {}),
        }
        try:
            endpoint = (await self._provider.metadata()).authorization_endpoint
        except ProviderError as error:
            raise RefusedError("failed", str(error)) from None
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}", started

    async def finish(self, started: Started, code: str) -> tuple[str, Role, Claims]:
        """Whose code this is, with what role, and all that the provider says of the person. Raises RefusedError."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._client.url + CALLBACK,
            "code_verifier": started.verifier,
        }
        try:
            answer = await self._provider.tokens(form, self._client.id, self._client.secret)
            claims = await self._claims(str(answer.get("id_token", "")), started.nonce)
        except ProviderError as error:
            raise RefusedError("failed", str(error)) from None
        name = claims.get(self._client.name_claim)
        if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= _LONGEST_NAME:
            raise RefusedError("failed", f"the claim {self._client.name_claim!r} is no name: {name!r:.100}")
        if (role := role_of(claims, self._client.role_claim, self._client.roles)) is None:
            raise RefusedError("norole", f"{name}: no value of {self._client.role_claim!r} gives a role here")
        return name, role, claims

    async def _claims(self, token: str, nonce: str) -> Claims:
        try:
            return self._checked(token, await self._provider.keys(), nonce)
        except ProviderError:
            return self._checked(token, await self._provider.keys(again=True), nonce)  # it may have new keys

    def _checked(self, token: str, keys: KeySet, nonce: str) -> Claims:
        registry = jwt.JWTClaimsRegistry(
            now=int(time()),
            leeway=_LEEWAY_SECONDS,
            iss={"essential": True, "value": self._provider.issuer},
            aud={"essential": True, "value": self._client.id},
            sub={"essential": True},
            exp={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            claims = jwt.decode(token, keys, algorithms=_ALGORITHMS).claims
            registry.validate(claims)
        except (JoseError, ValueError, TypeError) as error:
            raise ProviderError(f"the ID token is not good: {error!r:.200}") from None
        others = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if claims.get("azp", self._client.id) != self._client.id or (len(others) > 1 and "azp" not in claims):
            raise ProviderError("the ID token is for another client")
        return claims


def role_of(claims: Claims, claim: str, roles: Sequence[tuple[Role, str]]) -> Role | None:
    """The highest role that a value of this claim gives; of `a.b`, unless there is one of that name, b within a."""
    value: Any = claims.get(claim)
    if claim not in claims:
        value = claims
        for part in claim.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    values = {str(one) for one in (value if isinstance(value, list) else [value]) if one is not None} | {ANYBODY}
    return max((role for role, given in roles if given in values), default=None)
