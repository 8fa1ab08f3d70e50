"""A message into a batch: its rows, what of it cannot be one, and its numbers."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from ingestion import metrics
from ingestion.batch import Batch, Reject
from ingestion.decoders import Decoders
from ingestion.quota import Quota
from ingestion.rows import Encoder, Window
from nexus.contract import audit
from nexus.contract.codec import DecodeError, Message
from nexus.contract.sequence import sender
from nexus.runtime import guard, log

Wanted = Callable[[Message], Message | None]
_ALL = slice(None)


class Encoding:
    """Decodes and encodes, as the settings say."""

    def __init__(self, decoders: Decoders, quota: Quota | None = None) -> None:
        self._decoders = decoders
        self._encoder = Encoder()
        self._quota = quota or Quota()
        self._said_misnumbered = False

    def add(
        self,
        batch: Batch,
        topic: str,
        payload: bytes,
        window: Window,
        *,
        wanted: Wanted | None = None,
        arrived: int | None = None,
    ) -> None:
        """Adds what a payload says to a batch, or what `wanted` leaves of it; it `arrived` now, or then (epoch ms)."""
        reject = self._taken(batch, topic, payload, window, wanted=wanted, arrived=arrived)
        if reject is not None:
            admitted = self._quota.admitted((reject,))
            batch.rejects += admitted
            batch.size += sum(one.size for one in admitted)

    def again(self, batch: Batch, part: slice = _ALL, wanted: Wanted | None = None) -> Batch:
        """A batch of the same messages, or part of them, as they were when they came.

        What is set aside of them has been charged to the quota already.
        """
        admitted = {(reject.came_on, reject.payload) for reject in batch.rejects}
        anew = Batch(deliveries=batch.deliveries[part], windows=batch.windows[part])
        for (topic, payload, _), window in zip(anew.deliveries, anew.windows, strict=True):
            reject = self._taken(anew, topic, payload, window, wanted=wanted)
            if reject is not None and (topic, payload) in admitted:
                anew.rejects.append(reject)
        return anew

    def _taken(
        self,
        batch: Batch,
        topic: str,
        payload: bytes,
        window: Window,
        *,
        wanted: Wanted | None,
        arrived: int | None = None,
    ) -> Reject | None:
        """Adds what can be stored, and the numbers; gives the rest."""
        publisher, numbers = None, (0, -1)
        arrived = window.now if arrived is None else arrived
        reject = None
        try:
            if topic.startswith(audit.ROOT):
                record = audit.decode(topic, payload)
                publisher, numbers = record.publisher, record.numbers
                batch.records.append(record)
            else:
                message = self._decoders.decode(topic, payload, arrived)
                publisher, numbers = message.publisher, message.numbers
                if message.misnumbered:
                    self._misnumbered(topic)
                left = message if wanted is None else wanted(message)
                if left is not None:
                    refused = self._encoder.encode(left, window, batch.rows, batch.late)
                    if refused or left.faults:
                        reject = _reject(left, payload, refused, arrived)
        except DecodeError as error:
            reject = Reject(topic, payload, str(error), arrived=arrived)
            publisher, numbers = sender(payload)
        except Exception as error:  # a mistake of ours must not stop all the messages behind this one
            guard.failed("message", "decoding a message", error)
            reject = Reject(topic, payload, f"the decoder failed: {type(error).__name__}", arrived=arrived)
            with suppress(Exception):
                publisher, numbers = sender(payload)
        if publisher is None:
            return reject
        batch.receipts.append((publisher, *numbers))
        return reject and replace(reject, once=True)

    def _misnumbered(self, topic: str) -> None:
        metrics.misnumbered.inc()
        if not self._said_misnumbered:
            self._said_misnumbered = True
            log.get("receipts").warning("numbers that cannot be: no receipt for such messages", topic=topic[:200])


def _reject(message: Message, payload: bytes, refused: list[tuple[str, str]], arrived: int) -> Reject:
    """One for the message, however much of it is refused: each would hold all of the payload."""
    found = refused + [(fault.topic, fault.reason) for fault in message.faults]
    topic, reason = found[0]
    if len(found) == 1:
        return Reject(topic, payload, reason, message.topic, arrived=arrived)
    said = f"{reason} (of {topic[:200]}; {len(found)} values of the message)"
    if len(found) == len(message.values) + len(message.faults):
        return Reject(message.topic, payload, said, arrived=arrived)
    beginning = len(message.topic) + 1
    return Reject(message.topic, payload, said, tags=tuple(name[beginning:] for name, _ in found), arrived=arrived)
