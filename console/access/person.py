"""Who asks, and what he may do."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, cast

RoleName = Literal["viewer", "operator", "engineer"]


class Role(IntEnum):
    """Each may what those before it may; `anybody` is not logged in."""

    anybody = 0
    viewer = 1
    operator = 2  # writes, acknowledges, annotates
    engineer = 3  # rejects, device files, users


@dataclass(frozen=True)
class Person:
    """A person or a program. `via` says how we know it: session, key, oidc, command, insecure, or none."""

    name: str
    role: Role
    address: str
    via: str

    @property
    def role_name(self) -> RoleName:
        """The role as the API writes it, of who is logged in."""
        return cast(RoleName, self.role.name)


class AccessError(Exception):
    """A user or a key that cannot be made or changed: why, and what to do; `status` says it in HTTP's terms."""

    def __init__(self, text: str, status: int = 409) -> None:
        super().__init__(text)
        self.status = status
