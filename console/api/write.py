"""`POST /write`: one value to one tag of a device, through its gateway; recorded whatever becomes of it."""

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from console.access import audit
from console.access.door import Operator
from console.access.person import Person
from console.api.parameters import Moment, Topic
from console.historian import last
from console.live import epoch
from console.parts import Parts, PartsDep
from console.problems import Problem
from nexus.contract import topic as topics
from nexus.contract.description import TagDescription
from nexus.process.clock import now_ms

TIMEOUT_SECONDS = 11.0  # a gateway executes a request for 10 s after it was asked, and no longer
_LONGEST_NAME = 128  # of who asks, as gateways take it

Value = bool | int | float | str  # as JSON has it: gateways take no 1 for true

router = APIRouter(tags=["plant"])


class Expected(BaseModel):
    """What somebody saw before he wrote."""

    value: Value | None
    time: Moment


class Write(BaseModel):
    """What is to be written; with `expected` only while that is still there."""

    model_config = ConfigDict(extra="forbid", strict=True)
    topic: Topic
    value: Value
    expected: Expected | None = Field(None, strict=False)


class Written(BaseModel):
    """`old` was there before, `new` is what was asked for, `read_back` what the device holds now."""

    topic: str
    old: Value | None
    new: Value
    read_back: Value | None
    ok: bool
    error: str | None
    by: str


class _Answer(msgspec.Struct):
    """A gateway's."""

    ok: bool
    error: str | None = None
    v: bool | int | float | str | None = None


_decoder = msgspec.json.Decoder(_Answer)


@router.post("/write")
async def write(wanted: Write, person: Operator, parts: PartsDep) -> Written:
    """Writes, and answers with what the device holds then. 409 if what is `expected` is not there any more."""
    path, name = _device_and_tag(wanted.topic)
    _check(parts, path, name, wanted.value)
    old = await _old(parts, wanted.topic)
    if wanted.expected is not None and old is not None:
        _confirm(wanted.expected, *old)
    was = None if old is None else old[0]
    # Without the record of what was asked for, nothing is done.
    await audit.record(parts, person, "write", wanted.topic, old=was, new=wanted.value, ok=None)
    answer = await _ask(parts, person, path, name, wanted.value)
    detail = {"read_back": answer.v, "error": answer.error}
    await audit.record(parts, person, "write", wanted.topic, old=was, new=wanted.value, ok=answer.ok, detail=detail)
    return Written(
        topic=wanted.topic,
        old=was,
        new=wanted.value,
        read_back=answer.v,
        ok=answer.ok,
        error=answer.error,
        by=person.name,
    )


async def _ask(parts: Parts, person: Person, path: str, name: str, value: Value) -> _Answer:
    """The gateway's answer; of one that never came, the reason."""
    request = msgspec.json.encode({"v": value, "by": _by(person), "ts": now_ms()})
    try:
        return _decoder.decode(await parts.plant.request(topics.command(path, name), request, TIMEOUT_SECONDS))
    except Problem as problem:
        outcome = {"error": problem.detail}
        await audit.record(parts, person, "write", topic=topics.tag(path, name), new=value, ok=False, detail=outcome)
        raise
    except msgspec.MsgspecError as error:
        return _Answer(False, f"the gateway's answer cannot be read: {error}")


def _by(person: Person) -> str:
    """A name that gateways take."""
    return "".join(letter for letter in person.name if letter.isprintable())[:_LONGEST_NAME]


def _device_and_tag(topic: str) -> tuple[str, str]:
    path, _, name = topic.removeprefix(topics.ROOT).rpartition("/")
    faults = (topics.name_fault(path, path=True), topics.name_fault(name))
    if not topic.startswith(topics.ROOT) or any(faults):
        raise Problem(422, "Not a tag's topic", "write it like dev/plant/line1/plc001/setpoint")
    return path, name


def _check(parts: Parts, path: str, name: str, value: Value) -> None:
    """Refuses what the gateway would refuse, where it has said so; the gateway has the last word."""
    if (device := parts.plant.describe(path)) is None:
        if not parts.plant.is_polled(path) and parts.plant.away is None:
            raise Problem(404, "No such device", f"no gateway polls {path}: see its device files")
        return
    tag = next((tag for tag in device.tags if tag.name == name), None)
    if tag is None:
        if not device.left_out:
            raise Problem(404, "No such tag", f"{path} has no tag {name}: see its device file")
        return
    if not tag.writable:
        raise Problem(409, "Not writable", f"tag {name} is not marked `writable: true` in the device file of {path}")
    if not _is_within(tag, value):
        low, high = ("any" if limit is None else f"{limit:g}" for limit in (tag.min, tag.max))
        raise Problem(422, "Outside the limits", f"{value} is outside the limits of tag {name}: {low} to {high}")


def _is_within(tag: TagDescription, value: Value) -> bool:
    if isinstance(value, bool | str):
        return True  # limits are for numbers: the gateway says what is wrong
    return (tag.min is None or value >= tag.min) and (tag.max is None or value <= tag.max)


async def _old(parts: Parts, topic: str) -> tuple[Value | None, int] | None:
    """The newest value that is known here, and its time in epoch ms."""
    found: tuple[Value | None, int] | None = None
    async with parts.database.connection() as connection:
        for row in await last.values(connection, [topic]):
            found = (row["value"], epoch.milliseconds(row["time"]))
    live = parts.plant.value(topic)
    return live if live is not None and (found is None or live[1] >= found[1]) else found


def _confirm(expected: Expected, value: Value | None, time: int) -> None:
    """Refuses to write over what nobody has seen. A time alone says nothing: a value is read again and again."""
    if time >= epoch.of(expected.time) and not _is_same(expected.value, value):
        said = f"it is {value!r} since {epoch.text(time)}, and {expected.value!r} was expected: look, and write again"
        raise Problem(409, "The value has changed", said, current={"value": value, "time": epoch.text(time)})


def _is_same(expected: Value | None, value: Value | None) -> bool:
    """The database has booleans as 0 and 1."""
    return expected == value or str(expected) == str(value)
