"""API keys: for programs that ask the console."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import AwareDatetime, BaseModel, Field

from console.access import keys
from console.access.door import Engineer
from console.access.keys import Key
from console.access.person import Role, RoleName
from console.parts import PartsDep
from console.problems import Problem

router = APIRouter(tags=["keys"])

Text = Annotated[str, Field(max_length=200)]


class Keys(BaseModel):
    """All keys, by name."""

    items: list[Key]


class NewKey(BaseModel):
    """A key to be made; without `expires` it is good until it is revoked."""

    name: Text
    role: RoleName
    expires: AwareDatetime | None = None


class MadeKey(BaseModel):
    """The key itself, which is shown this once."""

    id: str
    key: str


@router.get("/keys")
async def list_keys(parts: PartsDep, _: Engineer) -> Keys:
    """All keys, without what is secret of them."""
    async with parts.database.brief() as connection:
        return Keys(items=await keys.listed(connection))


@router.post("/keys", status_code=201)
async def add_key(given: NewKey, parts: PartsDep, person: Engineer) -> MadeKey:
    """Make a key."""
    lasts = None if given.expires is None else given.expires - datetime.now(UTC)
    if lasts is not None and lasts.total_seconds() <= 0:
        raise Problem(422, "Expired already", "`expires` is in the past: give a later time, or none")
    async with parts.database.brief() as connection:
        id_, key = await keys.add(connection, person, given.name, Role[given.role], lasts)
    return MadeKey(id=id_, key=key)


@router.delete("/keys/{id}", status_code=204)
async def revoke_key(id: Annotated[str, Path(pattern=r"^[\w.@+ -]{1,64}$")], parts: PartsDep, person: Engineer) -> None:  # noqa: A002  as the path has it
    """Revoke a key."""
    async with parts.database.brief() as connection:
        await keys.revoke(connection, person, id)
    parts.access.identities.forget()
