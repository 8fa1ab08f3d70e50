"""What ingesters say of our messages, and whether they say anything."""

from gateway import metrics
from gateway.backlog import Backlog
from nexus.contract import topic
from nexus.contract.codec import DecodeError
from nexus.contract.receipt import decode_receipt
from nexus.runtime import log, mqtt


class Receipts:
    """Listens for the receipts of one share of ingesters, on behalf of a backlog; for none without a `share`."""

    def __init__(self, share: str | None, backlog: Backlog) -> None:
        self._backlog = backlog
        self._offer = topic.receipt_offer(share) if share else None
        self._topic = topic.receipt(backlog.publisher or "")
        self._log = log.get("receipts")

    async def join(self, connection: mqtt.Connection) -> None:
        """Subscribes, on a connection that is new."""
        if self._offer is not None:
            self._set_offered(False)  # until the broker says what it retained
            await connection.subscribe(self._topic)
            await connection.subscribe(self._offer)

    def heard(self, name: str, payload: bytes) -> bool:
        """Takes a message if it is one of ours; tells whether it is."""
        if name == self._offer:
            self._set_offered(bool(payload))
            return True
        if name != self._topic:
            return False
        try:
            for first, last in decode_receipt(payload):
                self._backlog.committed(first, last)
        except DecodeError as error:
            self._log.warning("not a receipt", topic=name, reason=str(error))
        return True

    def _set_offered(self, offered: bool) -> None:
        if offered and not self._backlog.offered:
            self._log.info("receipts are offered", by=self._offer)
        self._backlog.offered = offered
        metrics.receipts_offered.set(offered)
        self._backlog.news.set()
