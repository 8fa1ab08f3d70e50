"""Writes by MQTT: `cmd/{device path}/{tag}`, answered on the request's response topic, and recorded."""

import asyncio
import secrets
from collections.abc import Callable

import msgspec

from gateway import metrics
from gateway.commands.request import Request, check, parse
from gateway.commands.writing import Written
from gateway.drivers.driver import DeviceError, WriteError
from gateway.polling.poller import Poller
from nexus import mqtt
from nexus.contract import topic
from nexus.contract.command import ANSWERS, ROOT, Answer, encode_answer
from nexus.contract.reading import Value
from nexus.process import log, supervisor
from nexus.process.clock import now_ms
from nexus.requests import answering
from nexus.requests.allowance import Allowance
from nexus.requests.answering import sender

WAITING = 16  # writes that may wait for one device
COMMANDS_A_SECOND = 20  # for one device; requests beyond it are counted and dropped
STOP_SECONDS = 1.0  # at a stop, for writes that are under way

Record = Callable[[str, bytes], object]


class Audit(msgspec.Struct):
    """The audit record of a write: who asked for what, and what the device held before and after."""

    id: str
    ts: int
    by: str | None
    value: Value
    was: Value
    now: Value
    ok: bool
    error: str | None
    event: str = "write"


class _Turns:
    """The writes of one device: one after the other, in the order in which they came."""

    def __init__(self) -> None:
        self.waiting = 0
        self.lock = asyncio.Lock()


_encoder = msgspec.json.Encoder()


class Commands:
    """Executes each request at most once. Tasks belong to `group`.

    `speaks_for` tells whether it is for us to say of a device that nobody polls it; `record` takes audit records.
    """

    def __init__(
        self,
        group: asyncio.TaskGroup,
        poller_of: Callable[[str], Poller | None],
        speaks_for: Callable[[str], bool],
        record: Record,
    ) -> None:
        self._group = group
        self._poller_of = poller_of
        self._speaks_for = speaks_for
        self._record = record
        self._turns: dict[str, _Turns] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._clock = asyncio.get_running_loop().time
        self._allowance = Allowance(COMMANDS_A_SECOND)
        self._stopping = False
        self._log = log.get("command")

    def take(self, connection: mqtt.Connection, message: mqtt.Message) -> None:
        """Takes a message if it is a request for a device that is ours."""
        path, _, name = message.topic.removeprefix(ROOT).rpartition("/")
        if not message.topic.startswith(ROOT):
            return
        poller = self._poller_of(path)
        if poller is None and not self._speaks_for(path):
            return
        if self._is_flood(path):
            metrics.commands.labels("refused").inc()
            return
        if answering.is_misled(message):
            refused = Answer(ok=False, error=f"the response topic must be below {ANSWERS}")
            self._note(message, None, None, refused, "refused")
            return
        task = supervisor.start(
            self._group, "command", self._handled(connection, message, poller, path, name), name=f"write {path}"
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Takes no more requests; refuses those that wait, and gives those under way a moment."""
        self._stopping = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
        for task in self._tasks:
            task.cancel()

    def _is_flood(self, path: str) -> bool:
        beyond = self._allowance.take(path, self._clock())
        if beyond == 1:
            self._log.warning("too many commands: the rest are refused", device=path, a_second=COMMANDS_A_SECOND)
        return beyond > 0

    async def _handled(
        self, connection: mqtt.Connection, message: mqtt.Message, poller: Poller | None, path: str, name: str
    ) -> None:
        came, by, asked = self._clock(), sender(message), None
        try:
            request = parse(message, now_ms())
            by, asked = request.by, request.value
            answer, result = await self._in_turn(poller, path, name, request, came + request.seconds)
        except WriteError as error:
            answer, result = Answer(ok=False, error=str(error)), "refused"
        self._note(message, by, asked, answer, result)
        await answering.send(connection, message, encode_answer(answer))

    async def _in_turn(
        self, poller: Poller | None, path: str, name: str, request: Request, until: float
    ) -> tuple[Answer, str]:
        """Waits for the request's turn, and writes. Raises WriteError if the write is not even tried."""
        if poller is None:
            raise WriteError("no gateway polls this device now, another is taking over: try again")
        turns = self._turns.setdefault(path, _Turns())
        if turns.waiting >= WAITING:
            raise WriteError("too many writes wait for this device: try again later")
        turns.waiting += 1
        try:
            async with turns.lock:
                if self._stopping:
                    raise WriteError("the gateway is stopping: try again")
                if self._clock() > until:
                    raise WriteError("the request expired while it waited its turn: not executed")
                return await self._written(poller, path, name, request)
        finally:
            turns.waiting -= 1
            if not turns.waiting:
                self._turns.pop(path, None)

    async def _written(self, poller: Poller, path: str, name: str, request: Request) -> tuple[Answer, str]:
        """One write, recorded whatever its outcome."""
        result = "failed"
        unknown = Written(False, None, None, now_ms(), "interrupted: it is not known whether the value was written")
        written = unknown
        try:
            written = await write(poller, name, request)
            result = "done" if written.ok else "refused" if written.changed else "failed"
        except WriteError as error:
            written, result = Written(False, None, None, now_ms(), str(error)), "refused"
        except DeviceError as error:
            written = Written(False, None, None, now_ms(), str(error))
        except Exception as error:
            supervisor.failed("command", f"write {path}", error)
            written = Written(False, None, None, now_ms(), f"internal error: {type(error).__name__}; see the log")
        finally:
            self._audit(path, name, request, written)
        return Answer(written.ok, written.error, written.now, written.time, written.was, written.changed), result

    def _audit(self, path: str, name: str, request: Request, done: Written) -> None:
        audit = Audit(
            secrets.token_hex(16), now_ms(), request.by, request.value, done.was, done.now, done.ok, done.error
        )
        self._record(topic.audit(path, name), _encoder.encode(audit))

    def _note(self, message: mqtt.Message, by: str | None, asked: Value, answer: Answer, result: str) -> None:
        metrics.commands.labels(result).inc()
        event = self._log.info if answer.ok else self._log.warning
        event("write", topic=message.topic, by=by, value=asked, now=answer.v, error=answer.error)


async def write(poller: Poller, name: str, request: Request) -> Written:
    """Writes one tag of a device, if that is allowed. Raises WriteError and DeviceError."""
    tags = {tag.name: tag for tag in poller.configured.device.tags}
    if (tag := tags.get(name)) is None:
        if name in poller.configured.tag_names:
            raise WriteError(f"tag {name} is derived from other tags: write those")
        raise WriteError(f"the device has no tag {name!r}")
    check(tag, request.value)
    return await poller.write(tag, request.value, request.expected)
