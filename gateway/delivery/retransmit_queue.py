"""Which numbers were given, sent and committed, and which have to be sent again. Pure."""

from bisect import bisect_left
from dataclasses import dataclass
from operator import attrgetter

from nexus.contract.ranges import Ranges

# Consumers run beside each other, so receipts come in about the order of sending: what is behind by more is lost.
TOLERANCE_SECONDS = 10.0
# Without any receipt for so long, what was sent may be lost as a whole. Where receipts came since this was last found,
# somebody is there, and the tolerance is enough.
SILENCE_SECONDS = 30.0
_SPAN_SECONDS = 1.0  # messages sent within it share a span and its time
_MOST_SPANS = 20_000
_last = attrgetter("last")


@dataclass(slots=True)
class _Span:
    first: int
    last: int
    at: float
    again: bool


class RetransmitQueue:
    """The numbers that were given and are not committed. `floor` is the first number that may be missing.

    This process gave those from `start` on; the next reading gets `following`. Both are 0 while there are none.

    A number is due if this process never sent it, if it was sent TOLERANCE_SECONDS before a number that is committed,
    or, when no receipts come, if it was sent before the silence began. A receipt for a number that was sent only once
    ends the silence: it shows that the broker still has what was sent since.
    """

    def __init__(self, floor: int, start: int) -> None:
        self.floor = floor
        self.start = self.following = start
        self._spans: list[_Span] = []
        self._committed = Ranges()
        self._sent = Ranges()  # everything that was ever sent by this process, and may get a receipt
        self._horizon = float("-inf")  # messages sent before this time are due
        self.last_receipt = self._fell_silent = float("-inf")  # when the last receipt came

    def give(self, count: int) -> int:
        """Gives so many numbers, and returns the first of them."""
        first = self.following
        self.following += count
        return first

    def skip_to(self, number: int) -> None:
        """Never gives the numbers below this one."""
        if self.following < number:
            self.forget(self.following, number - 1)
            self.following = number

    def mark_sent(self, first: int, last: int, now: float) -> bool:
        """These numbers are sent now; tells whether not for the first time."""
        self._sent.add(first, last)
        at = self._at(first) if self._spans and self._spans[-1].last >= first else len(self._spans)
        again = at < len(self._spans) and self._spans[at].first <= last
        if again:
            self._cut(first, last)
            at = self._at(first)
        before = self._spans[at - 1] if at else None
        if before and before.last + 1 == first and before.again == again and now - before.at < _SPAN_SECONDS:
            before.last = last
        else:
            self._spans.insert(at, _Span(first, last, now, again))
            if len(self._spans) > _MOST_SPANS:  # the oldest count as never sent
                del self._spans[: _MOST_SPANS // 2]
        return again

    def requeue(self, first: int, last: int) -> None:
        """These numbers have to be sent again."""
        self._cut(first, last)

    def forget(self, first: int, last: int) -> tuple[int, int]:
        """Numbers that need no receipt any more; gives the gapless range that they are part of."""
        whole = self._committed.add(first, last)
        self.floor = self._committed.after(self.floor)
        self._committed.forget(self.floor - 1)
        if len(self._sent) > 1:
            self._sent.forget(self.floor)
        keep = self._at(self.floor)
        del self._spans[:keep]
        return whole

    def give_up(self, first: int, last: int) -> list[tuple[int, int]]:
        """Gives up numbers that the disk does not have, but not those in flight: they may still be requeued.

        Returns those that were given up.
        """
        gone = []
        for span in self._spans[self._at(first) : self._at(last) + 1]:
            if span.at <= self._horizon or span.first > last:
                continue
            if first < span.first:
                gone.append((first, span.first - 1))
            first = span.last + 1
        if first <= last:
            gone.append((first, last))
        for part in gone:
            self.forget(*part)
        return gone

    def confirm(self, first: int, last: int, now: float) -> tuple[int, int]:
        """A receipt; gives the gapless range that its numbers are part of."""
        self.last_receipt = now
        at = self._at(last)
        if at < len(self._spans) and self._spans[at].first <= last and not self._spans[at].again:
            self._horizon = self._spans[at].at - TOLERANCE_SECONDS
        return self.forget(first, last)

    def sent_within(self, first: int, last: int) -> list[tuple[int, int]]:
        """The parts of this range that were sent from here, and may have a receipt."""
        return self._sent.within(max(first, self.floor), last)

    def is_committed(self, first: int, last: int) -> bool:
        """Whether all of this range is done with."""
        return last < self.floor or self._committed.holds(max(first, self.floor), last)

    @property
    def missing(self) -> int:
        """How many of the numbers that were given are not committed."""
        known = sum(last - max(first, self.floor) + 1 for first, last in self._committed if last >= self.floor)
        return self.following - self.floor - known

    def recent(self, now: float) -> tuple[int, int] | None:
        """The numbers that were first sent within TOLERANCE_SECONDS; None if there are none."""
        fresh = [span for span in self._spans if not span.again and now - span.at < TOLERANCE_SECONDS]
        return (fresh[0].first, fresh[-1].last) if fresh else None

    def listen(self, now: float) -> None:
        """Detects that receipts are offered but do not come: then what has waited long enough is due."""
        patience = TOLERANCE_SECONDS if self.last_receipt > self._fell_silent else SILENCE_SECONDS
        if self._spans and now - max(self.last_receipt, self._spans[0].at) > patience:
            self._horizon, self._fell_silent = max(self._horizon, now - patience), now

    def due(self, first: int, last: int) -> int | None:
        """The first number of the range that is due; None if there is none."""
        number = self._committed.after(max(first, self.floor))
        at = self._at(number)
        while number <= last:
            if at >= len(self._spans):
                return number
            span = self._spans[at]
            if number < span.first or span.at <= self._horizon:
                return number
            number = self._committed.after(span.last + 1)
            at = self._at(number)
        return None

    def _at(self, number: int) -> int:
        """The index of the first span that ends at `number` or later."""
        return bisect_left(self._spans, number, key=_last)

    def _cut(self, first: int, last: int) -> None:
        """Removes a range from the spans."""
        at = self._at(first)
        while at < len(self._spans) and self._spans[at].first <= last:
            span = self._spans.pop(at)
            if span.first < first:
                self._spans.insert(at, _Span(span.first, first - 1, span.at, span.again))
                at += 1
            if span.last > last:
                self._spans.insert(at, _Span(last + 1, span.last, span.at, span.again))
                break
