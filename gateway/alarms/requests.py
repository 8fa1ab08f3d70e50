"""Requests about alarms by MQTT: `ack/{device path}/{tag}/{name}`, answered on the response topic, and recorded."""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import msgspec

from gateway import metrics
from gateway.alarms.alarms import Alarms
from gateway.commands import answering
from gateway.commands.allowance import Allowance
from gateway.commands.request import sender
from nexus import mqtt
from nexus.alarms.machine import RequestError
from nexus.contract import ack, topic
from nexus.contract.ack import ROOT, Answer, Request
from nexus.contract.audit import LONGEST_NAME
from nexus.contract.codec import DecodeError
from nexus.contract.command import ANSWERS
from nexus.process import guard, log
from nexus.process.clock import now_ms

REQUESTS_A_SECOND = 1000  # for one device: all its alarms at once; what is more is counted, and nothing else
STORE_SECONDS = 3.0  # an answer waits so long for the disk


class Target(NamedTuple):
    """An alarm; `tag` is "" for one of the device's own."""

    path: str
    tag: str
    name: str


class Audit(msgspec.Struct):
    """What is kept of a request: who asked what of which alarm, and what came of it."""

    id: str
    ts: int
    event: str
    by: str | None
    ok: bool
    alarm: str
    occurrence: int | None
    reason: str
    state: str | None
    error: str | None


class AlarmRequests:
    """Does each request at most once. Tasks belong to `group`; `record` takes audit records.

    `speaks_for` tells whether it is for us to say of a device that nobody evaluates its alarms.
    """

    def __init__(
        self,
        alarms: Alarms,
        group: asyncio.TaskGroup,
        speaks_for: Callable[[str], bool],
        record: Callable[[str, bytes], object],
    ) -> None:
        self._alarms, self._group, self._speaks_for, self._record = alarms, group, speaks_for, record
        self._clock = asyncio.get_running_loop().time
        self._allowance = Allowance(REQUESTS_A_SECOND)
        self._log = log.get("alarms")

    def take(self, connection: mqtt.Connection, message: mqtt.Message) -> bool:
        """Takes a message if it is a request, and does it if the device is ours; tells whether it was one."""
        if not message.topic.startswith(ROOT):
            return False
        if not message.payload or (target := self._target(message.topic)) is None:  # empty: a topic that is cleared
            return True
        if self._is_flood(target.path):
            metrics.alarm_requests.labels("refused").inc()
        elif answering.is_misled(message):
            said = f"the response topic must be below {ANSWERS}"
            self._note(message, None, Answer(False, error=said))
        else:
            guard.start(self._group, "command", self._handled(connection, message, target), name=f"ack {target.path}")
        return True

    def _target(self, name: str) -> Target | None:
        """The alarm, if it is for us to speak of."""
        levels = name.removeprefix(ROOT).split("/")
        found = [Target("/".join(levels[:-2]), *levels[-2:])] if len(levels) > 2 else []
        found.append(Target("/".join(levels[:-1]), "", levels[-1]))
        evaluated = [one for one in found if self._alarms.polled(one.path) is not None]
        return next(iter(evaluated), next((one for one in found if self._speaks_for(one.path)), None))

    def _is_flood(self, path: str) -> bool:
        beyond = self._allowance.take(path, self._clock())
        if beyond == 1:
            said = "too many requests about alarms: the rest are refused"
            self._log.warning(said, device=path, a_second=REQUESTS_A_SECOND)
        return beyond > 0

    async def _handled(self, connection: mqtt.Connection, message: mqtt.Message, target: Target) -> None:
        request: Request | None = None
        try:
            request = parse(message)
            answer = await self._done(target, request)
        except (DecodeError, RequestError) as error:
            answer = Answer(False, error=str(error))
        by = request.by if request is not None else _readable(sender(message))
        self._audit(target, by, request, answer)
        self._note(message, by, answer)
        await answering.send(connection, message, ack.encode_answer(answer))

    async def _done(self, target: Target, request: Request) -> Answer:
        if (polled := self._alarms.polled(target.path)) is None:
            raise RequestError("nobody evaluates this alarm now: there is none of that name, or another takes over")
        change = polled.ask(target.tag, target.name, request)
        with suppress(TimeoutError):  # a disk that refuses is told in /health; the state holds, in memory
            async with asyncio.timeout(STORE_SECONDS):
                await self._alarms.words.stored()
        return Answer(True, change.record.state, change.record.ts)

    def _audit(self, target: Target, by: str | None, request: Request | None, answer: Answer) -> None:
        about = topic.alarm(*target)
        asked = f"alarm {request.action}" if request is not None else "alarm request"
        occurrence, reason = (request.occurrence, request.reason) if request is not None else (None, "")
        audit = Audit(
            secrets.token_hex(16),
            now_ms(),
            asked,
            by,
            answer.ok,
            about,
            occurrence,
            reason,
            answer.state,
            answer.error,
        )
        self._record(topic.audit(target.path, target.tag or target.name), msgspec.json.encode(audit))

    def _note(self, message: mqtt.Message, by: str | None, answer: Answer) -> None:
        metrics.alarm_requests.labels("done" if answer.ok else "refused").inc()
        event = self._log.info if answer.ok else self._log.warning
        event("alarm request", topic=message.topic, by=by, state=answer.state, error=answer.error)


def parse(message: mqtt.Message) -> Request:
    """Reads a request of a person. Raises DecodeError, with a text for who asked."""
    if message.retain:
        # It would stay with the broker, and be done by whoever does not refuse it.
        raise DecodeError("a retained request is not done: publish it without the retain flag, and clear the topic")
    request = ack.decode_request(message.payload)
    by = sender(message)
    by = by if by is not None else request.by
    if not by or not by.isprintable() or len(by) > LONGEST_NAME:
        said = "who asks? give `by`, in the request or as a user property"
        raise DecodeError(f"{said}: a name of up to {LONGEST_NAME} printable characters")
    return msgspec.structs.replace(request, by=by)


def _readable(by: str | None) -> str | None:
    """A name that was refused, for the record."""
    return None if by is None else "".join(one if one.isprintable() else "?" for one in by[:LONGEST_NAME])
