"""Logins by OpenID Connect."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Provider:
    """Who vouches for people."""

    issuer: str
