"""Adds a message to a batch: its rows, its rejects, and its sequence numbers."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

from ingestion import metrics
from ingestion.consume.batch import Batch, Reject
from ingestion.decode.decoders import Decoders
from ingestion.decode.rows import Encoder, Window, time_fault
from ingestion.store.quota import Quota
from nexus.contract import alarm, audit, completeness
from nexus.contract import topic as topics
from nexus.contract.alarm import AlarmMessage
from nexus.contract.audit import Record
from nexus.contract.codec import DecodeError, Message
from nexus.contract.completeness import Completeness, decode_completeness
from nexus.contract.ranges import Ranges
from nexus.contract.sequence import sender
from nexus.process import log, supervisor

Wanted = Callable[[Message], Message | None]
MOST_ROWS_BYTES = 16_000_000  # approximate, of one message: short names on a long topic would fill the memory
_ROW_BYTES = 60
_ALL = slice(None)


class Encoding:
    """Decodes and encodes messages, as the settings say."""

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
        admits: Callable[[Reject], bool] | None = None,
    ) -> None:
        """Adds a payload to a batch, or what `wanted` leaves of it; it `arrived` now, or then (epoch ms).

        That is its rows, its rejects as far as the quota or `admits` allows, and the sequence numbers of both.
        """
        if not payload and topic.startswith(alarm.ROOT):
            return  # clears an alarm that was removed from the files: its end was an event of its own
        publisher, numbers = None, (0, -1)
        arrived = window.now if arrived is None else arrived
        reject = None
        spared: Iterable[tuple[str, int, int]] = ()  # only the numbers of what is stored, if some is refused
        try:
            if (record := _record(topic, payload, window)) is not None:
                batch.records.append(record)
                publisher, numbers = record.publisher, record.numbers
            else:
                message = self._decoders.decode(topic, payload, arrived)
                publisher, numbers = message.publisher, message.numbers
                self._note_numbers(message)
                left = message if wanted is None else wanted(message)
                if left is not None and ((refused := self._add_rows(batch, left, window)) or left.faults):
                    reject, spared = _reject(left, payload, refused, arrived), _spared(message, refused)
        except Exception as error:  # a bug of ours must not stop all the messages behind this one
            reject = Reject(topic, payload, _reason(error), arrived=arrived)
            with suppress(Exception):
                publisher, numbers = sender(payload)
        if reject is not None and not _kept(batch, replace(reject, publisher=publisher), admits or self._quota.admits):
            batch.receipts += spared  # the rest is not stored: its sender must not forget it
        elif publisher is not None:
            batch.receipts.append((publisher, *numbers))

    def _add_rows(self, batch: Batch, message: Message, window: Window) -> list[tuple[str, str]]:
        """Adds the rows of a message; returns those that are refused, and why."""
        if len(message.values) > 1:
            batch.size += _weight(message)
        return self._encoder.encode(message, window, batch.rows, batch.late)

    def again(self, batch: Batch, part: slice = _ALL, wanted: Wanted | None = None) -> Batch:
        """A batch of the same messages, or part of them, judged as of their arrival.

        Their rejects have been charged to the quota already.
        """
        admitted = {(reject.came_on, reject.payload) for reject in batch.rejects}

        def admits(reject: Reject) -> bool:
            return (reject.came_on, reject.payload) in admitted

        anew = Batch(deliveries=batch.deliveries[part], windows=batch.windows[part])
        for delivery, window in zip(anew.deliveries, anew.windows, strict=True):
            arrived = delivery.arrived
            self.add(anew, delivery.topic, delivery.payload, window, wanted=wanted, arrived=arrived, admits=admits)
        return anew

    def _note_numbers(self, message: Message) -> None:
        if not message.misnumbered:
            return
        metrics.misnumbered.inc()
        if not self._said_misnumbered:
            self._said_misnumbered, topic = True, message.topic[:200]
            log.get("receipts").warning("impossible message numbers: such messages get no receipt", topic=topic)


def _record(topic: str, payload: bytes, window: Window) -> Record | Completeness | AlarmMessage | None:
    """Decodes what is not a reading: audit records, counts, alarms. None if it may be a reading. Raises DecodeError."""
    if len(topic) > topics.LONGEST:
        raise DecodeError(f"the topic is longer than {topics.LONGEST:,} bytes, more than the index can hold")
    if topic.startswith(topics.ROOT):
        return None
    if topic.startswith(audit.ROOT):
        return audit.decode(topic, payload)
    if topic.startswith(completeness.ROOT):
        return decode_completeness(topic, payload)
    if topic.startswith(alarm.ROOT):
        message = alarm.decode(topic, payload)
        if fault := time_fault(message.record.ts, window):
            raise DecodeError(f"not an event of an alarm: {fault}")
        return message
    return None


def _kept(batch: Batch, reject: Reject, admits: Callable[[Reject], bool]) -> bool:
    if not admits(reject):
        return False
    batch.rejects.append(reject)
    batch.size += reject.size
    return True


def _reason(error: Exception) -> str:
    if isinstance(error, DecodeError):
        return str(error)
    supervisor.failed("message", "decoding a message", error)
    return f"the decoder failed: {type(error).__name__}"


def _weight(message: Message) -> int:
    """Approximate bytes of the rows: each holds the whole topic, twice. Raises DecodeError if that is too much."""
    weight = len(message.values) * (2 * len(message.topic) + _ROW_BYTES)
    if weight > MOST_ROWS_BYTES:
        raise DecodeError(
            f"{len(message.values):,} values are more than a message on such a topic may have, because each is stored "
            "with the whole topic: send them in several, or on a shorter topic"
        )
    return weight


def _spared(message: Message, refused: list[tuple[str, str]]) -> list[tuple[str, int, int]]:
    """The numbers of readings that are not refused; none if some could not be read: which are theirs is unknown."""
    if message.publisher is None or message.faults:
        return []
    gone = {tag for tag, _ in refused}
    found = Ranges()
    for number, tag in enumerate(message.values, message.numbers[0]):
        if tag not in gone:
            found.add(number, number)
    return [(message.publisher, first, last) for first, last in found]


def _reject(message: Message, payload: bytes, refused: list[tuple[str, str]], arrived: int) -> Reject:
    """One reject per message, however much of it is refused: each would hold the whole payload."""
    found = refused + [(fault.tag, fault.reason) for fault in message.faults]
    tag, reason = found[0]
    topic = topics.beneath(message.topic, tag) if refused else f"{message.topic}/{tag}"
    if len(found) == 1:
        return Reject(topic, payload, reason, message.topic, arrived=arrived)
    said = f"{reason} (of {topic[:200]}; {len(found)} values of the message)"
    if len(found) == len(message.values) + len(message.faults):
        return Reject(message.topic, payload, said, arrived=arrived)
    return Reject(message.topic, payload, said, tags=tuple(tag for tag, _ in found), arrived=arrived)
