"""Users: people who log in with a password of the console's own."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from console.access import passwords, users
from console.access.door import Engineer
from console.access.person import Role, RoleName
from console.access.users import User
from console.parts import Parts, PartsDep
from console.problems import Problem

router = APIRouter(tags=["users"])

Password = Annotated[str, Field(max_length=passwords.LONGEST)]
Name = Annotated[str, Field(max_length=200)]


class Users(BaseModel):
    """All users, by name."""

    items: list[User]


class NewUser(BaseModel):
    """A user to be made."""

    name: Name
    role: RoleName
    password: Password


class UserChange(BaseModel):
    """What is to be another: the role, the password, or both."""

    role: RoleName | None = None
    password: Password | None = None


@router.get("/users")
async def list_users(parts: PartsDep, _: Engineer) -> Users:
    """All users."""
    async with parts.database.brief() as connection:
        return Users(items=await users.listed(connection))


@router.post("/users", status_code=201)
async def add_user(given: NewUser, parts: PartsDep, person: Engineer) -> User:
    """Make a user."""
    name = users.name_of(given.name)
    kept = await _kept(parts, given.password)
    async with parts.database.brief() as connection:
        await users.add(connection, person, name, Role[given.role], kept)
        return await users.one(connection, name)


@router.patch("/users/{name}")
async def change_user(name: Name, given: UserChange, parts: PartsDep, person: Engineer) -> User:
    """Give a user another role or password; the user's sessions end."""
    kept = None if given.password is None else await _kept(parts, given.password)
    role = None if given.role is None else Role[given.role]
    async with parts.database.brief() as connection:
        await users.change(connection, person, name := users.name_of(name), role, kept)
        parts.access.identities.forget()
        return await users.one(connection, name)


@router.delete("/users/{name}", status_code=204)
async def remove_user(name: Name, parts: PartsDep, person: Engineer) -> None:
    """Remove a user; the user's sessions end."""
    async with parts.database.brief() as connection:
        await users.remove(connection, person, users.name_of(name))
    parts.access.identities.forget()


async def _kept(parts: Parts, password: str) -> str:
    if said := passwords.fault(password):
        raise Problem(422, "Not a good password", said)
    return await parts.access.passwords.hashed(password)
