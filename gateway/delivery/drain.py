"""From the disk to the broker: what never left, and what is to be sent again, beside the live readings."""

import asyncio
from collections import deque

from gateway import metrics
from gateway.delivery.answers import Answers, Verdict
from gateway.delivery.aside import Aside
from gateway.delivery.backlog import Backlog
from gateway.delivery.entry import Entry
from gateway.delivery.keeping import RETRY_SECONDS
from gateway.delivery.ledger import SILENCE_SECONDS, TOLERANCE_SECONDS
from gateway.delivery.message import again
from gateway.delivery.publisher import PUBACK_SECONDS, room
from gateway.delivery.spool import SpoolError
from gateway.delivery.words import Words
from nexus import mqtt
from nexus.process import log

MESSAGES_AT_ONCE = 20  # of the connection's window
SHARE = 0.3  # of the time; the rest is for live readings
# Readings that may be on their way from the disk to the database, so that no broker has to hold what we hold; fewer
# while there are no receipts.
MOST_UNDER_WAY = 200_000
MOST_IN_SILENCE = 50_000
# In parts for smaller packets, what is on disk would need several times the room, and the oldest would go.
SMALLEST_PACKET = 512
UNHEARD_SECONDS = 30.0  # what nobody has subscribed to is tried again as often
_UNHEARD_PAUSE = 0.5
_LOOK_SECONDS = 1.0


class Drain:
    """Empties a backlog over one connection, oldest first, and never takes more than its share of it."""

    def __init__(self, backlog: Backlog, connection: mqtt.Connection, aside: Aside, words: Words) -> None:
        self._backlog = backlog
        self._words = words
        self._connection = connection
        self._aside = aside
        self._answers = Answers(backlog, aside)
        self._clock = asyncio.get_running_loop().time
        self._under_way: deque[tuple[float, Entry]] = deque()
        self._readings = 0
        self._after = 0  # while topics are left out: what is before this number was looked at
        self._from_start_at = 0.0
        self._was_offered = False
        self._refused: set[str] = set()  # reasons that are said already
        self._room = room(connection)
        self._largest: int | None = None  # once there is a single reading that is larger

    async def run(self) -> None:
        """Sends for as long as the connection lasts."""
        self._aside.somebody()
        self._aside.sending = []
        await self._backlog.opened.wait()
        if (largest := self._connection.maximum_packet_size) < SMALLEST_PACKET:
            log.get("publisher").error("the broker takes too small packets only: what is on disk waits", bytes=largest)
            await asyncio.Event().wait()
        while True:
            try:
                pause = await self._step()
            except SpoolError as error:
                metrics.spool_failures.inc()
                if str(error) not in self._refused:
                    self._refused.add(str(error))
                    log.get("spool").error("the spool cannot be read, or kept in parts", reason=str(error))
                pause = RETRY_SECONDS
            if pause is None:
                self._backlog.rate = 0.0
                await self._backlog.changed(_LOOK_SECONDS)
            else:
                await asyncio.sleep(pause)

    async def _step(self) -> float | None:
        """Sends what is due; gives how long to wait before the next, None until something happens."""
        began = self._clock()
        self._look_anew(began)
        topic = None if self._words.is_presence_in_doubt(began) else self._aside.trial(began)
        if topic is not None and await self._try(topic):
            return 0.0
        entries = await self._due() if self._has_room() else []
        if not entries:
            return None
        if not (entries := await self._fitting(entries)):
            return 0.0
        heard = await self._send(entries)
        if not heard:
            return _UNHEARD_PAUSE
        backlog, elapsed = self._backlog, self._clock() - began
        pause = elapsed * (1 - SHARE) / SHARE
        rate = sum(entry.readings for entry in entries) / (elapsed + pause)
        backlog.rate += (rate - backlog.rate) * (0.1 if backlog.rate else 1)
        backlog.show()
        return pause

    def _look_anew(self, now: float) -> None:
        """Once in a while, and when an ingester comes, what nobody wanted is due again, from the oldest on."""
        came = self._backlog.offered and not self._was_offered
        self._was_offered = self._backlog.offered
        if came or now - self._from_start_at > UNHEARD_SECONDS:
            self._from_start_at, self._after = now, 0
            self._aside.somebody()

    async def _due(self) -> list[Entry]:
        """From the disk; then, if it refuses what comes, from memory, which it also must not hold up."""
        try:
            entries = await self._due_on_disk()
        except SpoolError:
            if not (entries := self._due_in_memory()):
                raise
        return entries or self._due_in_memory()

    def _due_in_memory(self) -> list[Entry]:
        return self._backlog.due_in_memory(MESSAGES_AT_ONCE, self._aside.topics, self._room)

    async def _due_on_disk(self) -> list[Entry]:
        if not (aside := self._aside.topics) and self._largest is None:
            self._after = 0
            return await self._backlog.due(MESSAGES_AT_ONCE)
        entries = await self._backlog.due(MESSAGES_AT_ONCE, self._after, aside, self._largest)
        if entries:
            self._after = entries[0].id
        return entries

    async def _fitting(self, entries: list[Entry]) -> list[Entry]:
        """Those that the broker takes. Of the others, halves take the place on the disk; a single reading waits there,
        for a broker that takes more, or for the spool's limits.
        """
        large = [entry for entry in entries if entry.length > self._room]
        for entry in large:
            halves = entry.halved()
            if halves or entry.readings > 1:
                await self._backlog.spool.divide(entry, halves)
            if not halves and entry.readings > 1:
                self._answers.refuse(entry.topic, "Malformed Packet")
                self._answers.lost(entry.readings)
            for one in halves or [entry]:
                if one.readings == 1 and one.length > self._room:
                    self._leave(one)
        return [entry for entry in entries if entry.length <= self._room] if large else entries

    def _leave(self, entry: Entry) -> None:
        self._largest = self._room
        said = "a single reading is larger than what the broker takes, and waits on the disk"
        reason = mqtt.reason(mqtt.PACKET_TOO_LARGE)
        self._answers.refuse(entry.topic, reason, said, bytes=entry.length, largest=self._room)

    async def _try(self, topic: str) -> bool:
        """Sends one message of a suspected topic by itself: a broker that disconnects us now means this one."""
        entry = await self._backlog.spool.first_of(topic, self._largest)
        if entry is None:
            self._aside.untried(topic, self._clock())
            return False
        if not await self._fitting([entry]):
            return True
        self._backlog.sent([entry])
        try:
            [code] = await self._publish([entry])
        except BaseException:
            self._backlog.unsent([entry])
            raise
        denied = self._answers.take(topic, code) is Verdict.DENIED
        self._aside.tried(topic, taken=not denied, now=self._clock())
        self._backlog.unsent([entry])  # what may leave, leaves with the others of its topic
        self._after = 0
        return True

    def _has_room(self) -> bool:
        """What has had no receipt for long is under way no more: it is due again, or lost."""
        heard = self._backlog.heard_within(2 * SILENCE_SECONDS)
        patience = TOLERANCE_SECONDS if heard else SILENCE_SECONDS
        while self._under_way:
            at, entry = self._under_way[0]
            if not self._backlog.is_done(entry) and self._clock() - at < patience:
                break
            self._under_way.popleft()
            self._readings -= entry.readings
        return self._readings < (MOST_UNDER_WAY if heard else MOST_IN_SILENCE)

    async def _send(self, entries: list[Entry]) -> bool:
        """Whether the broker had somebody to give any of them to."""
        backlog = self._backlog
        wants_receipts = backlog.publisher is not None
        backlog.sent(entries)
        try:
            codes = await self._publish(entries)
        except BaseException:
            backlog.unsent(entries)
            raise
        done, unsent, taken = [], [], 0
        for entry, code in zip(entries, codes, strict=True):
            answer = self._answers.take(entry.topic, code)
            if answer is Verdict.TAKEN:
                taken += 1
                if wants_receipts:
                    self._under_way.append((self._clock(), entry))
                    self._readings += entry.readings
                else:
                    done.append(entry)
            elif answer is Verdict.REFUSED:
                self._answers.lost(entry.readings)
                done.append(entry)
            else:
                unsent.append(entry)
                if answer is Verdict.UNHEARD:
                    self._aside.nobody(entry.topic)
        self._answers.taken(taken)
        backlog.unsent(unsent)
        if done:
            await backlog.done(done)
        return len(unsent) < len(entries)

    async def _publish(self, entries: list[Entry]) -> list[int]:
        """The broker's answer for each."""
        answers: list[asyncio.Future[int]] = []
        self._aside.sending = [entry.topic for entry in entries]  # stays if the connection is lost
        try:
            async with asyncio.timeout(PUBACK_SECONDS):
                for entry in entries:
                    payload = again(entry, self._backlog.publisher)
                    answers.append(await self._connection.publish(entry.topic, payload))
                codes = [await answer for answer in answers]
        except TimeoutError:
            self._backlog.silent_since = self._backlog.silent_since or self._clock() - PUBACK_SECONDS
            raise mqtt.MqttError(f"no PUBACK for {PUBACK_SECONDS:g} s") from None
        self._aside.sending, self._backlog.silent_since = [], None
        return codes
