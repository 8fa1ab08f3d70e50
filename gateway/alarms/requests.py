"""Requests about alarms by MQTT: `ack/{device path}/{tag}/{name}`, answered on the response topic, and recorded."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from gateway import metrics
from gateway.alarms.alarms import Alarms
from nexus import mqtt
from nexus.alarms.machine import RequestError
from nexus.contract import ack, topic
from nexus.contract.ack import ROOT, Answer, Request
from nexus.contract.codec import DecodeError
from nexus.contract.command import ANSWERS
from nexus.process import log, supervisor
from nexus.process.clock import now_ms
from nexus.requests import answering
from nexus.requests.alarms import audit_payload, parse, readable
from nexus.requests.allowance import Allowance
from nexus.requests.answering import sender

REQUESTS_A_SECOND = 1000  # for one device: all its alarms at once; requests beyond it are counted and dropped
STORE_SECONDS = 3.0  # how long an answer waits for the disk


class Target(NamedTuple):
    """An alarm; `tag` is "" for one of the device's own."""

    path: str
    tag: str
    name: str


class AlarmRequests:
    """Does each request at most once. Tasks belong to `group`; `record` takes audit records.

    `speaks_for` tells whether it is up to us to say of a device that nobody evaluates its alarms.
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
            supervisor.start(
                self._group, "command", self._handled(connection, message, target), name=f"ack {target.path}"
            )
        return True

    def _target(self, name: str) -> Target | None:
        """The alarm, if it is up to us to answer for it."""
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
        by = request.by if request is not None else readable(sender(message))
        self._audit(target, by, request, answer)
        self._note(message, by, answer)
        await answering.send(connection, message, ack.encode_answer(answer))

    async def _done(self, target: Target, request: Request) -> Answer:
        if (polled := self._alarms.polled(target.path)) is None:
            raise RequestError(
                "no gateway evaluates this alarm now: it does not exist, or another gateway is taking over"
            )
        change = polled.ask(target.tag, target.name, request)
        with suppress(TimeoutError):  # /health reports a failing disk; the state is kept in memory
            async with asyncio.timeout(STORE_SECONDS):
                await self._alarms.messages.stored()
        return Answer(True, change.record.state, change.record.ts)

    def _audit(self, target: Target, by: str | None, request: Request | None, answer: Answer) -> None:
        payload = audit_payload(topic.alarm(*target), by, request, answer, now_ms())
        self._record(topic.audit(target.path, target.tag or target.name), payload)

    def _note(self, message: mqtt.Message, by: str | None, answer: Answer) -> None:
        metrics.alarm_requests.labels("done" if answer.ok else "refused").inc()
        event = self._log.info if answer.ok else self._log.warning
        event("alarm request", topic=message.topic, by=by, state=answer.state, error=answer.error)
