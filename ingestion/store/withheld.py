"""Receipts of a batch, without those for readings that are not stored, not even as rejects. Pure."""

from collections import defaultdict
from collections.abc import Collection

from ingestion.consume.batch import Batch
from ingestion.decode.encoding import Encoding
from nexus.contract import topic as topics
from nexus.contract.codec import Message
from nexus.contract.ranges import Ranges


def receipts_left(encoding: Encoding, batch: Batch, lost: Collection[tuple[str, int]]) -> list[tuple[str, int, int]]:
    """The batch's receipts, without the numbers of readings at a topic and time (epoch ms) of the `lost`.

    Whoever sent them keeps them, and sends them again.
    """
    if not lost:
        return batch.receipts
    withheld: defaultdict[str, set[int]] = defaultdict(set)

    def note(message: Message) -> None:
        if message.publisher is not None:
            withheld[message.publisher].update(_numbers(message, lost))

    encoding.again(batch, wanted=note)
    left: list[tuple[str, int, int]] = []
    for publisher, first, last in batch.receipts:
        kept = Ranges()
        for number in range(first, last + 1):
            if number not in withheld[publisher]:
                kept.add(number, number)
        left += [(publisher, start, end) for start, end in kept]
    return left


def _numbers(message: Message, lost: Collection[tuple[str, int]]) -> Collection[int]:
    """The numbers of a message's lost readings; all of them where nobody knows which are whose."""
    first, last = message.numbers
    numbers = range(first, last + 1)
    topic, times = message.topic, message.times
    gone = [(topics.beneath(topic, tag), times.get(tag, message.time)) in lost for tag in message.values]
    if any(gone) and len(gone) != len(numbers):
        return numbers
    return [number for number, is_gone in zip(numbers, gone, strict=False) if is_gone]
