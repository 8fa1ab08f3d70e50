"""Who asks, and what he may do."""

from dataclasses import dataclass
from enum import IntEnum


class Role(IntEnum):
    """Each may what those before it may."""

    viewer = 1
    operator = 2  # writes, acknowledges, annotates
    engineer = 3  # rejects, device files, users


@dataclass(frozen=True)
class Person:
    """A person or a program that is logged in. `via` says how: session, key, or insecure."""

    name: str
    role: Role
    address: str
    via: str
