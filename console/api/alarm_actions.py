"""What a person does about alarms, through their gateways; recorded for each of them."""

import asyncio
from typing import Annotated

import psycopg
from fastapi import APIRouter
from psycopg_pool import PoolTimeout
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from console.access import audit
from console.access.door import Operator
from console.access.person import Person
from console.api.alarm_journal import Identity, identified
from console.api.alarm_model import Done, Result, Results
from console.api.parameters import Text
from console.live import alarm_item
from console.parts import Parts, PartsDep
from console.problems import Problem
from nexus.contract import ack, command
from nexus.contract.ack import LONGEST_SHELVING, SHELVED_TOO_LONG, Action, Answer
from nexus.contract.alarm import LONGEST_TEXT
from nexus.contract.codec import DecodeError

TIMEOUT_SECONDS = 10.0
MOST_AT_ONCE = 200  # alarms in a request
_AT_A_TIME = 50  # of them asked for together: with gateways that do not answer, 200 take 40 s

router = APIRouter(tags=["alarms"])


def _shelved(seconds: float) -> float:
    if not 0 < seconds <= LONGEST_SHELVING:
        raise ValueError(SHELVED_TOO_LONG)
    return seconds


_BOUNDS = {"exclusiveMinimum": 0, "maximum": LONGEST_SHELVING}
Seconds = Annotated[float, Field(allow_inf_nan=False, json_schema_extra=_BOUNDS), AfterValidator(_shelved)]


class Why(BaseModel):
    """`seconds` is how long to shelve for, and for nothing else; the reason is for the journal."""

    model_config = ConfigDict(extra="forbid", strict=True)
    reason: Text = Field("", max_length=LONGEST_TEXT)
    seconds: Seconds | None = None


class Several(Why):
    """The same for several alarms, by their `id`."""

    ids: list[Annotated[Text, Field(max_length=6_000)]] = Field(min_length=1, max_length=MOST_AT_ONCE)


@router.post("/alarms/{id}/{action}")
async def act(person: Operator, parts: PartsDep, id: Identity, action: Action, why: Why) -> Done:  # noqa: A002
    """Acknowledges, shelves and so on; answered once the gateway has it on its disk. 409 if the gateway refuses it."""
    return await _act(parts, person, id, action, why)


@router.post("/alarms/{action}")
async def act_on_several(person: Operator, parts: PartsDep, action: Action, wanted: Several) -> Results:
    """The same for up to 200 alarms, with one reason: what became of each, in the order of `ids`.

    Each is asked for, answered and recorded by itself, and one that fails keeps no other from being done.
    """
    turns = asyncio.Semaphore(_AT_A_TIME)

    async def one(identity: str) -> Result:
        async with turns:
            return await _tried(parts, person, identity, action, wanted)

    return Results(items=await asyncio.gather(*map(one, dict.fromkeys(wanted.ids))))


async def _tried(parts: Parts, person: Person, identity: str, action: Action, why: Why) -> Result:
    if parts.database.reason is not None:  # nobody waits for what was away when it was looked at last
        return Result(id=identity, ok=False, state=None, error=_UNRECORDED, recorded=False)
    try:
        done = await _act(parts, person, identity, action, why)
    except Problem as problem:
        ok = None if problem.is_outcome_unknown else False
        recorded = problem.more.get("recorded", True)
        return Result(id=identity, ok=ok, state=None, error=problem.detail, recorded=recorded)
    except (psycopg.Error, PoolTimeout, TimeoutError):
        return Result(id=identity, ok=False, state=None, error=_UNRECORDED, recorded=False)
    return Result(id=identity, ok=True, state=done.state, error=None, recorded=done.recorded)


_UNRECORDED = "the database does not answer, and nothing is done unrecorded: try again when it is back"


async def _act(parts: Parts, person: Person, identity: str, action: Action, why: Why) -> Done:
    topic, occurrence = identified(identity)
    name = command.asker(person.name)
    asked = ack.Request(action, occurrence or None, name, why.reason, why.seconds)
    payload = ack.encode_request(asked)
    try:
        ack.decode_request(payload)
    except DecodeError as error:
        raise Problem(422, "The request is not valid", str(error)) from None
    detail = {"occurrence": occurrence, "reason": why.reason}
    async with audit.around(parts, person, f"alarm {action}", topic, new=why.seconds, detail=detail) as outcome:
        answer = await _ask(parts, ack.ROOT + topic.removeprefix(alarm_item.ROOT), payload)
        outcome.ok = answer.ok
        outcome.detail |= {"state": answer.state, "error": answer.error}
        if not answer.ok:
            raise Problem(409, "Not done", answer.error or "the gateway does not say why")
    return Done(ok=True, state=answer.state, recorded=outcome.recorded)


async def _ask(parts: Parts, topic: str, payload: bytes) -> Answer:
    """The gateway's answer. Raises Problem."""
    try:
        return ack.decode_answer(await parts.plant.request(topic, payload, TIMEOUT_SECONDS))
    except DecodeError as error:
        said = f"{error}: is it of this version? Whether it was done is not known"
        raise Problem(502, "The gateway's answer cannot be read", said, outcome="unknown") from None
