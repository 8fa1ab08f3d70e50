"""Publishes receipts: which sequence numbers are committed, in merged ranges, a few times a second."""

import asyncio
from collections import OrderedDict

from ingestion import metrics
from nexus import mqtt
from nexus.contract import sequence, topic
from nexus.contract.ranges import Ranges
from nexus.contract.receipt import OFFER, encode_receipt
from nexus.process import log

RECEIPT_SECONDS = 0.25
MOST_PUBLISHERS = 10_000  # a gateway without receipts sends again
_RANGES_A_MESSAGE = 1_000


class Receipts:
    """Collects committed numbers, and publishes them while there is a connection."""

    def __init__(self, group: str) -> None:
        self._offer = topic.receipt_offer(group)
        self._committed: OrderedDict[str, Ranges] = OrderedDict()
        self._wake = asyncio.Event()
        self._refused = False
        self._log = log.get("receipts")

    def add(self, publisher: str, first: int, last: int) -> None:
        """Notes that these numbers of a publisher are committed."""
        if (ranges := self._committed.get(publisher)) is None:
            if len(self._committed) >= MOST_PUBLISHERS or not sequence.is_publisher(publisher) or last < first:
                return
            ranges = self._committed[publisher] = Ranges()
        ranges.add(first, last)
        self._wake.set()

    async def run(self, connection: mqtt.Connection) -> None:
        """Publishes for as long as the connection lasts."""
        await connection.publish(self._offer, OFFER, retain=True)
        while True:
            await self._wake.wait()
            await self.send(connection)
            await asyncio.sleep(RECEIPT_SECONDS)

    async def send(self, connection: mqtt.Connection) -> None:
        """Publishes what is pending. What is lost with the connection costs a repetition: the gateways send again."""
        self._wake.clear()
        while self._committed:
            # Oldest first: otherwise a flood of made-up publishers would keep the others waiting.
            publisher, ranges = self._committed.popitem(last=False)
            found = list(ranges)
            for start in range(0, len(found), _RANGES_A_MESSAGE):
                payload = encode_receipt(found[start : start + _RANGES_A_MESSAGE])
                answer = await connection.publish(topic.receipt(publisher), payload)
                answer.add_done_callback(self._answered)
                metrics.receipts.inc()

    def _answered(self, answer: asyncio.Future[int]) -> None:
        if answer.cancelled() or answer.exception() is not None:  # the connection was lost before the answer came
            return
        if answer.result() >= mqtt.REFUSED and not self._refused:
            self._refused = True
            reason = mqtt.reason(answer.result())
            self._log.error("the broker refuses receipts, so gateways will send again: check its ACL", reason=reason)
