"""Readings that came by HTTP, as numbered device messages. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nexus.contract import codec, topic
from nexus.contract.ranges import Ranges
from nexus.contract.reading import Reading

_READINGS_A_MESSAGE = 500


@dataclass(frozen=True, slots=True)
class Given:
    """A reading of one device, with its unit."""

    path: str
    reading: Reading
    unit: str | None


def messages(given: Sequence[Given], publisher: str, first: int) -> Iterator[tuple[str, bytes]]:
    """Topics and payloads with the numbers from `first` on, one a reading; a message has each tag once."""
    for path, readings, units in _batches(given):
        payload = codec.encode_device(readings, readings[0].time, units)
        yield topic.device(path), codec.numbered(payload, publisher, first, len(readings))
        first += len(readings)


def _batches(given: Sequence[Given]) -> Iterator[tuple[str, list[Reading], dict[str, str]]]:
    """By device, in the order in which they came; where a tag comes again another begins."""
    by_path: defaultdict[str, list[Given]] = defaultdict(list)
    for one in given:
        by_path[one.path].append(one)
    for path, all_of_it in by_path.items():
        batch: dict[str, Given] = {}
        for one in all_of_it:
            if one.reading.tag in batch or len(batch) >= _READINGS_A_MESSAGE:
                yield path, [given.reading for given in batch.values()], _units(batch)
                batch = {}
            batch[one.reading.tag] = one
        yield path, [given.reading for given in batch.values()], _units(batch)


def _units(batch: dict[str, Given]) -> dict[str, str]:
    return {tag: given.unit for tag, given in batch.items() if given.unit is not None}


class Numbers:
    """Which numbers are given out, which are committed, and who waits for which."""

    def __init__(self) -> None:
        self._next = 1
        self._committed = Ranges()
        self._waiting: dict[int, int] = {}  # first and last

    @property
    def waiting(self) -> int:
        """Numbers that somebody waits for."""
        return sum(last - first + 1 for first, last in self._waiting.items())

    def take(self, count: int) -> tuple[int, int]:
        """The next ones, to be given back."""
        first, last = self._next, self._next + count - 1
        self._next = last + 1
        self._waiting[first] = last
        return first, last

    def give_back(self, first: int) -> None:
        """Nobody waits for these any more."""
        del self._waiting[first]
        self._committed.forget(min(self._waiting, default=self._next))

    def commit(self, first: int, last: int) -> bool:
        """Notes a receipt; False for one of numbers that were never sent."""
        if last >= self._next:
            return False
        self._committed.add(first, last)
        return True

    def committed(self, first: int, last: int) -> int:
        """How many of these are committed."""
        return sum(end - start + 1 for start, end in self._committed.within(first, last))
