"""From the disk to the broker: what never left, and what is to be sent again, beside the live readings."""

import asyncio
from collections import deque

from gateway import metrics
from gateway.backlog import RETRY_SECONDS, Backlog
from gateway.ledger import SILENCE_SECONDS, TOLERANCE_SECONDS
from gateway.message import again
from gateway.spool import Entry, SpoolError
from nexus.runtime import log, mqtt

MESSAGES_AT_ONCE = 20  # of the connection's window
SHARE = 0.3  # of the time; the rest is for live readings
# After a connection is made, the subscribers may still be on their way: so long, what nobody got is sent again.
PATIENCE_SECONDS = 30.0
# Readings that may be on their way from the disk to the database, so that no broker has to hold what we hold; fewer
# while there are no receipts.
MOST_UNDER_WAY = 200_000
MOST_IN_SILENCE = 50_000
_LOOK_SECONDS = 1.0


class Drain:
    """Empties a backlog over one connection, oldest first, and never takes more than its share of it."""

    def __init__(self, backlog: Backlog, connection: mqtt.Connection) -> None:
        self._backlog = backlog
        self._connection = connection
        self._clock = asyncio.get_running_loop().time
        self._patience_until = self._clock() + PATIENCE_SECONDS
        self._under_way: deque[tuple[float, Entry]] = deque()
        self._readings = 0

    async def run(self) -> None:
        """Sends for as long as the connection lasts."""
        backlog = self._backlog
        while True:
            began = self._clock()
            try:
                entries = await backlog.due(MESSAGES_AT_ONCE) if self._has_room() else []
            except SpoolError as error:
                metrics.spool_failures.inc()
                log.get("spool").error("the spool cannot be read", reason=str(error))
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if not entries:
                backlog.rate = 0.0
                await backlog.changed(_LOOK_SECONDS)
            elif await self._send(entries):
                elapsed = self._clock() - began
                pause = elapsed * (1 - SHARE) / SHARE
                rate = sum(entry.readings for entry in entries) / (elapsed + pause)
                backlog.rate += (rate - backlog.rate) * (0.1 if backlog.rate else 1)
                backlog.show()
                await asyncio.sleep(pause)
            else:
                await asyncio.sleep(RETRY_SECONDS)

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
        """Whether the broker had somebody to give them to."""
        backlog = self._backlog
        backlog.sent(entries)
        try:
            codes = await self._publish(entries)
        except BaseException:
            backlog.unsent(entries)
            raise
        wants_receipts = backlog.publisher is not None
        if mqtt.NOBODY in codes and (wants_receipts or self._clock() < self._patience_until):
            backlog.unsent(entries)
            return False
        done = []
        for entry, code in zip(entries, codes, strict=True):
            if code >= mqtt.REFUSED:
                metrics.refused.labels(mqtt.reason(code)).inc()
                done.append(entry)
                continue
            metrics.published.inc()
            if wants_receipts:
                self._under_way.append((self._clock(), entry))
                self._readings += entry.readings
            else:
                done.append(entry)
        if done:
            await backlog.done(done)
        return True

    async def _publish(self, entries: list[Entry]) -> list[int]:
        """The broker's answer for each. One that is larger than the broker takes would end the connection."""
        answers: list[asyncio.Future[int] | None] = []
        for entry in entries:
            payload = again(entry, self._backlog.publisher)
            fits = len(payload) + len(entry.topic) + 64 <= self._connection.maximum_packet_size
            answers.append(await self._connection.publish(entry.topic, payload) if fits else None)
        return [mqtt.PACKET_TOO_LARGE if answer is None else await answer for answer in answers]
