"""The console's audit: each login, change, write and refusal is a row, and no row changes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from math import isfinite
from time import monotonic
from typing import TYPE_CHECKING, Any, LiteralString

import msgspec
import psycopg
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb
from psycopg_pool import PoolTimeout

from console import metrics
from console.access.origin import network
from console.access.person import Person
from console.problems import Problem
from nexus.process import log

if TYPE_CHECKING:
    from console.parts import Parts  # which has what makes rows of its own

LONGEST = 16_384  # bytes of a value's JSON; of a longer one its beginning is kept
_LONGEST_TEXT = 500  # characters of what a stranger gave
INSERT: LiteralString = """
INSERT INTO console_audit (event, person, via, address, topic, old, new, ok, detail)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


async def record(
    parts: "Parts",
    person: Person,
    event: str,
    topic: str | None = None,
    *,
    old: Any = None,
    new: Any = None,
    ok: bool | None = True,
    detail: dict[str, Any] | None = None,
) -> None:
    """Adds a row; once this returns it is committed.

    `old`, `new` and `detail` are whatever JSON can hold. For what is done outside the database there is `around`.
    """
    async with parts.database.brief() as connection:
        await add(connection, person, event, topic, old=old, new=new, ok=ok, detail=detail)


async def add(
    connection: AsyncConnection,
    person: Person,
    event: str,
    topic: str | None = None,
    *,
    old: Any = None,
    new: Any = None,
    ok: bool | None = True,
    detail: dict[str, Any] | None = None,
) -> None:
    """The same on a connection, as part of its transaction."""
    await connection.execute(INSERT, _row(person, event, topic, old=old, new=new, ok=ok, detail=detail))


@dataclass
class Outcome:
    """What became of something: to be filled in by who does it. `ok` is None while that is not known."""

    detail: dict[str, Any]
    old: Any = None
    ok: bool | None = None
    recorded: bool = True


@asynccontextmanager
async def around(
    parts: "Parts", person: Person, event: str, topic: str, *, new: Any = None, detail: dict[str, Any] | None = None
) -> AsyncIterator[Outcome]:
    """Records that something is asked for, and once it was tried what became of it.

    While the database is away this raises, and nothing is done unrecorded. What was done is never an error for that:
    its row comes later, and `recorded` is False. A Problem says what was not done, or that this is not known.
    """
    await record(parts, person, event, topic, new=new, ok=None, detail=detail)
    outcome = Outcome({**(detail or {}), "error": "interrupted: what became of it is not known"})
    problem: Problem | None = None
    try:
        yield outcome
    except Problem as error:
        problem = error
        outcome.ok = None if error.is_outcome_unknown else False
        outcome.detail["error"] = error.detail
        raise
    finally:
        about = outcome.detail | ({"unknown": True} if outcome.ok is None else {})
        row = _row(person, event, topic, old=outcome.old, new=new, ok=outcome.ok, detail=about)
        outcome.recorded = await parts.outcomes.add(row)
        if problem is not None and not outcome.recorded:
            problem.more["recorded"] = False


async def refused(parts: "Parts", person: Person, event: str, detail: dict[str, Any] | None = None) -> None:
    """Counts a refusal; records and logs it while there are few. Raises nothing: it is refused in any case."""
    metrics.refusals.labels(event).inc()
    if (unrecorded := parts.access.refusals.admit(network(person.address), monotonic())) is None:
        return
    about = {**(detail or {}), **({"unrecorded": unrecorded} if unrecorded else {})}
    log.get("access").warning(event, person=person.name, address=person.address, **about)
    with suppress(psycopg.Error, PoolTimeout):
        await record(parts, person, event, ok=False, detail=about)


def _row(
    person: Person, event: str, topic: str | None, *, old: Any, new: Any, ok: bool | None, detail: dict[str, Any] | None
) -> tuple[Any, ...]:
    about = None if topic is None else _text(topic)
    who = (_text(person.name), person.via, _text(person.address))
    return event, *who, about, _json(old), _json(new), ok, _json(detail or {})


def _text(text: str) -> str:
    return str(_clean(text[:_LONGEST_TEXT]))


def _json(value: Any) -> Jsonb | None:
    """None stays NULL; of what is too long the beginning is kept."""
    if value is None:
        return None
    text = msgspec.json.encode(clean := _clean(value))
    if len(text) > LONGEST:
        return Jsonb({"cut": text[:LONGEST].decode(errors="ignore"), "bytes": len(text)})
    return Jsonb(clean)


def _clean(value: Any) -> Any:
    """The same without what the database cannot hold: the character NUL, and halves of characters."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_clean(str(name)): _clean(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(one) for one in value]
    return value if not isinstance(value, float) or isfinite(value) else None
