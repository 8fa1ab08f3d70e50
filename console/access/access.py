"""What the console's door and its logins are made of."""

import asyncio
from dataclasses import dataclass, field

from console.access import passwords
from console.access.identities import Identities
from console.access.limits import LoginLimits, RefusalQuota
from console.access.oidc import Oidc

_AT_ONCE = 2  # each takes 32 MB, and a core
_WAITING = 16


class PasswordChecks:
    """Compares passwords in threads, few at once; more than can wait are refused."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0

    async def matches(self, password: str, kept: str | None) -> bool | None:
        """Whether it is the password; None if too many wait."""
        if self._waiting >= _WAITING:
            return None
        self._waiting += 1
        try:
            async with self._turns:
                return await asyncio.to_thread(passwords.matches, password, kept)
        finally:
            self._waiting -= 1

    async def hashed(self, password: str) -> str:
        """What is kept of a new one."""
        async with self._turns:
            return await asyncio.to_thread(passwords.hashed, password)


@dataclass(frozen=True)
class Access:
    """One of each."""

    identities: Identities
    oidc: Oidc | None = None
    limits: LoginLimits = field(default_factory=LoginLimits)
    refusals: RefusalQuota = field(default_factory=RefusalQuota)
    passwords: PasswordChecks = field(default_factory=PasswordChecks)
