"""Sends to one receiver, in order, a few at a time: one that is slow or away delays no other."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from time import monotonic

from console import metrics
from console.notify import digests, outbox
from console.notify.attempt import Outcome, attempt, is_away, pause_of, settled
from console.notify.channels import sending
from console.notify.channels.sending import Means
from console.notify.digests import Gathering
from console.notify.flood import plan
from console.notify.ledger import Ledger
from console.notify.outbox import Pending
from console.notify.receiver_keys import Receiver
from nexus.process import log

IN_FLIGHT = 4
_GIVE_UP_SECONDS = 10.0


class Worker:
    """One receiver's; `wake` says that something is due."""

    def __init__(self, receiver: Receiver, ledger: Ledger, means: Means) -> None:
        self._receiver = receiver
        self._ledger = ledger
        self.means = means
        self._channel = sending.name_of(receiver.channel)
        self._failures = 0
        self._not_before = 0.0  # monotonic
        self._give_up_at = 0.0  # monotonic
        self._due = asyncio.Event()
        self.turn = asyncio.Lock()  # whoever tells the receiver something holds it
        self._log = log.get("notify")

    @property
    def name(self) -> str:
        """The receiver's."""
        return self._receiver.name

    def wake(self) -> None:
        """Has it look, unless it pauses."""
        if monotonic() >= self._not_before:
            self._due.set()

    async def run(self) -> None:
        """Sends until cancelled. Raises psycopg.Error when the session is lost."""
        while True:
            await self._due.wait()
            self._due.clear()
            while monotonic() >= self._not_before and (due := await self._chosen()):
                await self._send(due)

    async def _chosen(self) -> list[Pending]:
        """Those to be sent now; makes a digest first where there are too many."""
        rule, most, single = self._receiver.digest, IN_FLIGHT, True
        await self._give_up()
        if rule is not None:
            async with self._ledger.transaction() as connection:
                now = await outbox.clock(connection)
                planned = plan(now, await digests.load(connection, self._receiver, rule, now), rule)
            single, most = planned.single > 0, min(IN_FLIGHT, max(1, planned.single))
            if planned.is_digest:
                await self._gather(now)
        async with self._ledger.transaction() as connection:
            now = await outbox.clock(connection)
            return await outbox.heads(connection, self._receiver, now, most, single=single)

    async def _gather(self, now: datetime) -> None:
        """Makes a digest of all that wait; other receivers have their turns between its transactions."""
        digest, is_more = Gathering(self._receiver, self._channel, now), True
        while is_more:
            async with self._ledger.transaction() as connection:
                is_more = await digest.take(connection)
        self._log.info("told as one", receiver=self.name, notifications=digest.count)

    async def _give_up(self) -> None:
        """What waited too long is dead, though its turn has not come; here, where nothing is on its way."""
        if monotonic() < self._give_up_at:
            return
        async with self._ledger.transaction() as connection:
            now = await outbox.clock(connection)
            count = await outbox.give_up_expired(connection, self._receiver, now)
        if count:
            metrics.notifications.labels(self._channel, "dead").inc(count)
            said = "notifications are dead, for the receiver has not taken them in time"
            self._log.error(said, receiver=self.name, count=count)
        self._give_up_at = monotonic() + (_GIVE_UP_SECONDS if count < outbox.MOST_GIVEN_UP else 0.0)

    async def _send(self, due: Sequence[Pending]) -> None:
        async with self.turn:
            outcomes = await asyncio.gather(*(attempt(self._receiver.channel, one, self.means) for one in due))
        self._note(outcomes)
        pause = pause_of(outcomes, self._failures)
        async with self._ledger.transaction() as connection:
            now = await outbox.clock(connection)
            recorded = settled(outcomes, pause, now)
            await outbox.settle(connection, recorded, now)
        self._not_before = monotonic() + pause
        for outcome in outcomes:
            self._note_refused(outcome)
        for one in recorded:
            metrics.notifications.labels(self._channel, "retried" if one.state == "pending" else one.state).inc()
            if one.state == "dead":
                said = "a notification is dead: `nexus notify retry` sends it again"
                self._log.error(said, id=one.id, receiver=self.name, reason=one.answer)

    def _note_refused(self, outcome: Outcome) -> None:
        if outcome.refused:
            metrics.notifications.labels(self._channel, "recipient refused").inc(len(outcome.refused))
            said = "a mail is not for all: its server refuses some recipients"
            self._log.error(said, id=outcome.pending.id, receiver=self.name, reason=outcome.answer)

    def _note(self, outcomes: Sequence[Outcome]) -> None:
        """Counts rounds in which nothing was taken, and logs when that begins and ends."""
        if is_away(outcomes):
            self._failures += 1
            if self._failures == 1:
                said = "a receiver takes no notifications: they are tried again"
                self._log.warning(said, receiver=self.name, reason=outcomes[0].answer)
        elif self._failures and any(one.kind != "later" for one in outcomes):
            self._failures = 0
            self._log.info("a receiver takes notifications again", receiver=self.name)
