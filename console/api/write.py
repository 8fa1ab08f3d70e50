"""`POST /write`: one value to one tag of a device, through its gateway; recorded whatever becomes of it."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from console.access import audit
from console.access.door import Operator
from console.access.person import Person
from console.api.parameters import Moment, Text, Topic
from console.live import epoch
from console.parts import Parts, PartsDep
from console.problems import Problem
from nexus.contract import command
from nexus.contract import topic as topics
from nexus.contract.codec import DecodeError
from nexus.contract.command import Answer, Request
from nexus.contract.description import TagDescription
from nexus.process.clock import now_ms

TIMEOUT_SECONDS = 11.0  # a gateway executes a request for 10 s after it was asked, and no longer

Value = bool | int | float | Text  # as JSON has it: gateways take no 1 for true

router = APIRouter(tags=["plant"])


class Expected(BaseModel):
    """What somebody saw before he wrote; the time is for the record."""

    value: Value | None
    time: Moment | None = None


class Write(BaseModel):
    """What is to be written; with `expected` only while the gateway still reads that from the device."""

    model_config = ConfigDict(extra="forbid", strict=True)
    topic: Topic
    value: Value
    expected: Expected | None = Field(None, strict=False)


class Written(BaseModel):
    """`old` is what the device held before, `new` what was asked for, `read_back` what it holds now.

    `recorded` is false while the audit's row of the outcome waits for the database.
    """

    topic: str
    old: Value | None
    new: Value
    read_back: Value | None
    ok: bool
    error: str | None
    by: str
    recorded: bool


@router.post("/write")
async def write(wanted: Write, person: Operator, parts: PartsDep) -> Written:
    """Writes, and answers with what the device holds then. 409 if what is `expected` is not there any more."""
    path, name = _device_and_tag(wanted.topic)
    _check(parts, path, name, wanted.value)
    detail = {} if wanted.expected is None else {"expected": wanted.expected.model_dump(mode="json")}
    async with audit.around(parts, person, "write", wanted.topic, new=wanted.value, detail=detail) as outcome:
        answer = await _ask(parts, person, path, name, wanted)
        outcome.old, outcome.ok = answer.was, answer.ok
        outcome.detail |= {"read_back": answer.v, "error": answer.error}
        if answer.changed:
            current = {"value": answer.was, "time": None if answer.ts is None else epoch.text(answer.ts)}
            said = f"{answer.error}: look, and write again"
            raise Problem(409, "The value has changed", said, kind="value-changed", current=current)
    return Written(
        topic=wanted.topic,
        old=answer.was,
        new=wanted.value,
        read_back=answer.v,
        ok=answer.ok,
        error=answer.error,
        by=person.name,
        recorded=outcome.recorded,
    )


async def _ask(parts: Parts, person: Person, path: str, name: str, wanted: Write) -> Answer:
    """The gateway's answer. Raises Problem."""
    request = Request(wanted.value, command.asker(person.name), now_ms())
    if wanted.expected is not None:
        request.expected = wanted.expected.value
    payload = command.encode_request(request)
    if len(payload) > command.LARGEST_BYTES:
        raise Problem(422, "Too long", f"a request may have {command.LARGEST_BYTES:,} bytes: write a shorter value")
    try:
        return command.decode_answer(await parts.plant.request(topics.command(path, name), payload, TIMEOUT_SECONDS))
    except DecodeError as error:
        said = f"{error}: is it of this version? Whether the value was written is not known"
        raise Problem(502, "The gateway's answer cannot be read", said, outcome="unknown") from None


def _device_and_tag(topic: str) -> tuple[str, str]:
    path, _, name = topic.removeprefix(topics.ROOT).rpartition("/")
    faults = (topics.name_fault(path, path=True), topics.name_fault(name))
    if not topic.startswith(topics.ROOT) or any(faults):
        raise Problem(422, "Not a tag's topic", "write it like dev/plant/line1/plc001/setpoint")
    return path, name


def _check(parts: Parts, path: str, name: str, value: Value) -> None:
    """Refuses what the gateway would refuse, where it has said so; the gateway has the last word."""
    if (device := parts.plant.describe(path)) is None:
        if not parts.plant.is_known(path) and parts.plant.away is None:
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
