"""Receipts from ingesters for our messages, and whether any are offered."""

from gateway import metrics
from gateway.delivery.control_topics import ControlTopics
from gateway.delivery.outbox import Outbox
from gateway.delivery.subscription import subscribe
from gateway.settings import ANY
from nexus import mqtt
from nexus.contract import topic
from nexus.contract.codec import DecodeError
from nexus.contract.receipt import decode_receipt
from nexus.process import log

_MOST_OFFERS = 100


class Receipts:
    """Receives receipts for an outbox: from one group of ingesters, from any (ANY), or from none."""

    def __init__(self, group: str | None, outbox: Outbox, control: ControlTopics) -> None:
        self._outbox = outbox
        self._control = control
        self._filter = topic.receipt_offer("#" if group == ANY else group) if group else None
        self._offers: set[str] = set()
        self._topic: str | None = None
        self._refusing = False
        self._log = log.get("receipts")

    async def join(self, connection: mqtt.Connection) -> None:
        """Subscribes, on a new connection."""
        self._topic = None
        if self._filter is not None:
            self._offers.clear()  # until the broker says what it retained
            self._set_offered()
            if self._outbox.opened.is_set():
                await self.follow(connection)
            await subscribe(self._control, connection, self._filter)

    async def follow(self, connection: mqtt.Connection) -> None:
        """Subscribes to our own receipts, as soon as the spool is open and has a name."""
        if self._filter is not None and self._topic is None:
            await self._outbox.opened.wait()
            self._topic = topic.receipt(self._outbox.name or "")
            await subscribe(self._control, connection, self._topic)

    def handle(self, name: str, payload: bytes) -> bool:
        """Handles a receipt, or an offer of receipts; tells whether it was one."""
        if self._filter is not None and mqtt.matches(self._filter, name):
            if payload and len(self._offers) < _MOST_OFFERS:
                self._offers.add(name)
            elif not payload:
                self._offers.discard(name)
            self._set_offered()
            return True
        if name != self._topic:
            return False
        try:
            for first, last in decode_receipt(payload):
                if not self._outbox.committed(first, last):
                    self._refuse("it confirms numbers that were never sent", first=first, last=last)
        except DecodeError as error:
            self._refuse(str(error))
        return True

    def _refuse(self, reason: str, **numbers: int) -> None:
        metrics.receipts_refused.inc()
        if not self._refusing:
            self._refusing = True
            self._log.error("a receipt is refused", reason=reason, **numbers)

    def _set_offered(self) -> None:
        offered = bool(self._offers)
        if offered and not self._outbox.offered:
            self._log.info("ingesters offer receipts", by=sorted(self._offers))
        self._outbox.offer(offered)
        metrics.receipts_offered.set(offered)
