"""Messages → rules → one transaction → acknowledgement. The clock of the rules goes on where nothing comes."""

import asyncio
from collections import deque
from contextlib import suppress
from typing import NamedTuple

from ingestion.rules import metrics
from ingestion.rules.engine import Engine, Part
from ingestion.rules.evaluation import Ignored
from ingestion.rules.outbox import Outbox
from ingestion.rules.progress import Progress
from ingestion.rules.requests import AlarmRequests
from ingestion.rules.store import Store
from nexus import mqtt
from nexus.contract import ack
from nexus.contract.codec import DecodeError
from nexus.process import log, supervisor
from nexus.process.clock import now_ms
from nexus.process.run import task_group
from nexus.requests import answering

MOST_AT_ONCE = 1_000  # messages of a transaction
MOST_SAID = 5_000  # messages to publish of a transaction; the one that goes beyond is the last
MOST_SAID_BYTES = 16_000_000  # of them
MOST_WAITING = 20_000  # messages; then reading stops, and the broker keeps the rest
MOST_BYTES = 48_000_000  # of them
BEHIND_MS = 1_000  # by which timers follow the wall clock: inputs that are on their way are not overtaken
LOOK_SECONDS = 0.25
REQUEST_SECONDS = 10.0  # after which whoever asked has given up: it is not done any more
MOST_REQUESTS = 1_000  # that wait
SLICE_SECONDS = 0.005  # of evaluation, between which the rest of the process goes on


class _Delivery(NamedTuple):
    connection: mqtt.Connection
    message: mqtt.Message
    came: int  # epoch ms


class _Asked(NamedTuple):
    connection: mqtt.Connection
    message: mqtt.Message
    came: float  # by the loop's clock
    at: int  # epoch ms


class Worker:
    """Acknowledges each message once all that follows from it is written; `written` is set then."""

    def __init__(
        self, engine: Engine, store: Store, outbox: Outbox, progress: Progress, written: asyncio.Event
    ) -> None:
        self._engine, self._store, self._outbox, self._written = engine, store, outbox, written
        self._progress = progress
        self._requests = AlarmRequests(engine)
        self._asked: deque[_Asked] = deque()
        self._waiting: deque[_Delivery] = deque()
        self._bytes = 0
        self._paused: mqtt.Connection | None = None
        self._wake = asyncio.Event()
        self._clock = asyncio.get_running_loop().time
        self._under_way: _Delivery | None = None  # whose parts are evaluated one after the other
        self._parts: deque[Part] = deque()
        self._since = 0.0
        self._has_noted_offer = outbox.offered
        self._answers: list[tuple[_Asked, bytes]] = []
        self._counted: dict[Ignored, int] = {}
        self._log = log.get("rules")
        self._has_said_unreadable = False
        metrics.waiting.set_function(lambda: len(self))
        metrics.outbox.set_function(lambda: len(outbox))
        metrics.outbox_bytes.set_function(lambda: outbox.bytes)

    def __len__(self) -> int:
        """Messages that wait to be evaluated."""
        return len(self._waiting) + (self._under_way is not None)

    def subscribed(self, connection: mqtt.Connection) -> None:
        """From now on the broker brings what there is; what it has kept of an earlier connection comes again."""
        self._progress.subscribed(self._clock())
        if connection.session_present:
            some = (one for one in self._waiting if one.connection is connection or one.message.packet_id is None)
            self._waiting = deque(some)
            self._bytes = sum(len(one.message.payload) for one in self._waiting)

    def away(self) -> None:
        """There is no broker: the rules' clock stands still."""
        self._progress.away()
        self._paused = None

    def receive(self, connection: mqtt.Connection, message: mqtt.Message) -> None:
        """Takes a message; never waits."""
        self._progress.heard(self._clock())
        if message.topic.startswith(ack.ROOT):
            self._ask(connection, message)
            return
        self._waiting.append(one := _Delivery(connection, message, now_ms()))
        if self._progress.waiting_since is None:
            self._progress.waiting_since = one.came
        self._bytes += len(message.payload)
        is_much = len(self._waiting) > MOST_WAITING or self._bytes > MOST_BYTES
        if is_much and self._outbox.full and message.packet_id is None:
            self._drop()  # which at QoS 0 nobody sends again; the broker keeps the others within our receive maximum
        elif is_much and not self._outbox.full:
            connection.pause()
            self._paused = connection
        self._wake.set()

    def _ask(self, connection: mqtt.Connection, message: mqtt.Message) -> None:
        connection.acknowledge(message.packet_id)
        if len(self._asked) < MOST_REQUESTS:
            self._asked.append(_Asked(connection, message, self._clock(), now_ms()))
        else:
            metrics.requests.labels("refused").inc()
        self._wake.set()

    def _drop(self) -> None:
        self._bytes -= len(self._waiting.pop().message.payload)
        metrics.ignored.labels("overflow").inc()

    def _resume(self) -> None:
        """Reads on once there is room, and while the outbox is full: the receipts that empty it come with the rest."""
        if self._paused is None:
            return
        has_room = len(self._waiting) < MOST_WAITING // 2 and self._bytes < MOST_BYTES // 2
        if has_room or self._outbox.full:
            self._paused.resume()
            self._paused = None

    async def run(self) -> None:
        """Works for ever. Raises DatabaseAwayError; then what was not written is not acknowledged."""
        async with task_group() as group:
            while True:
                await self._work(group)
                if self._outbox.full or not (self._waiting or self._under_way):
                    self._wake.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_SECONDS):
                            await self._wake.wait()

    async def _work(self, group: asyncio.TaskGroup) -> None:
        self._resume()
        taken = [] if self._outbox.full else await self._take()
        self._do_requests()
        if self._outbox.offered and not self._has_noted_offer:
            await self._store.remember_offer()
            self._has_noted_offer = True
        update = self._engine.drain()
        if update or self._outbox.has_done:
            with metrics.commit_seconds.time():
                rows = await self._store.commit(update, self._outbox.take_done())
            self._outbox.add(rows, update.alarms)
            self._written.set()
        for done in taken:
            done.connection.acknowledge(done.message.packet_id)
        answers, self._answers = self._answers, []
        for asked, answer in answers:
            sending = answering.send(asked.connection, asked.message, answer)
            supervisor.start(group, "command", sending, name=f"answer {asked.message.topic}")

    async def _take(self) -> list[_Delivery]:
        """Evaluates as much as a transaction may have; gives the messages that are done with.

        One that concerns many rules may take several transactions: what was written of it is known when it comes again.
        """
        taken: list[_Delivery] = []
        while (self._waiting or self._under_way) and len(taken) < MOST_AT_ONCE and not self._is_enough():
            if self._under_way is None:
                self._under_way = one = self._waiting.popleft()
                self._bytes -= len(one.message.payload)
                self._parts.extend(supervisor.call("message", self._read, one) or ())
            if self._parts:
                self._engine.take(self._parts.popleft(), now_ms())
            if not self._parts:
                taken.append(self._under_way)
                self._under_way = None
            await self._let_others()
        self._resume()
        if taken:
            self._count()
        if until := self._until():
            await self._tick(until - BEHIND_MS)
        return taken

    def _until(self) -> int:
        """The moment up to which all has been evaluated; 0 if none can be told."""
        oldest = self._under_way or (self._waiting[0] if self._waiting else None)
        self._progress.waiting_since = None if oldest is None else oldest.came
        return self._progress.until(self._clock(), now_ms())

    def _do_requests(self) -> None:
        """Those whose moment the rules have reached: events that were on their way before keep their own times."""
        until = 0 if self._outbox.full else self._until()
        while self._asked:
            one = self._asked[0]
            is_over = self._clock() - one.came > REQUEST_SECONDS
            if not is_over and one.at > until:
                return
            self._asked.popleft()
            if (answer := supervisor.call("command", self._done, one, is_over=is_over)) is not None:
                self._answers.append((one, answer))

    def _done(self, one: _Asked, *, is_over: bool) -> bytes | None:
        return (
            self._requests.expire(one.message) if is_over else self._requests.take(one.message, self._clock(), one.at)
        )

    async def _tick(self, now: int) -> None:
        for path in self._engine.due(now):
            if self._is_enough():
                return
            self._engine.tick(path, now)
            await self._let_others()

    async def _let_others(self) -> None:
        """A message, or a moment, may concern a thousand rules."""
        if self._clock() - self._since > SLICE_SECONDS:
            await asyncio.sleep(0)
            self._since = self._clock()

    def _is_enough(self) -> bool:
        """For a transaction."""
        messages, size = self._engine.pending
        return messages >= MOST_SAID or size >= MOST_SAID_BYTES

    def _read(self, one: _Delivery) -> list[Part]:
        """What it has for the rules."""
        message = one.message
        try:
            parts = self._engine.parts(message.topic, message.payload)
        except DecodeError as error:
            metrics.ignored.labels("unreadable").inc()
            if not self._has_said_unreadable:
                self._has_said_unreadable = True
                self._log.warning("an input cannot be read", topic=message.topic[:200], reason=str(error))
            return []
        metrics.inputs.inc(sum(len(part.readings) for part in parts))
        if parts:
            newest = max(reading.time for part in parts for reading in part.readings)
            is_queued = message.packet_id is not None and not message.retain
            self._progress.evaluated(newest, now_ms(), is_queued=is_queued)
        return parts

    def _count(self) -> None:
        for why, count in self._engine.ignored.items():
            metrics.ignored.labels(why).inc(count - self._counted.get(why, 0))
            self._counted[why] = count
