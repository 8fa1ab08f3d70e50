"""Lets in who is known and may do what is asked; every route has one of these in its arguments."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from console.access.person import Person, Role
from console.parts import PartsDep
from console.problems import Problem


async def _person(connection: HTTPConnection, parts: PartsDep) -> Person:
    """Who asks. Raises Problem 401."""
    address = connection.client.host if connection.client else ""
    if parts.settings.console_insecure:
        return Person("anonymous", Role.engineer, address, "insecure")
    raise Problem(401, "Not logged in", "log in, or send an API key as `Authorization: Bearer …`")


def _at_least(role: Role) -> Callable[..., Awaitable[Person]]:
    async def allowed(person: Annotated[Person, Depends(_person)]) -> Person:
        if person.role < role:
            said = f"this needs the role {role.name}, and {person.name} is {person.role.name}"
            raise Problem(403, "Not allowed", said)
        return person

    return allowed


Viewer = Annotated[Person, Depends(_at_least(Role.viewer))]
Operator = Annotated[Person, Depends(_at_least(Role.operator))]
Engineer = Annotated[Person, Depends(_at_least(Role.engineer))]
