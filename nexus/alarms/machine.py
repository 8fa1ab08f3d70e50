"""The state of one alarm, by ISA-18.2 and OPC UA Part 9: pure, the clock an argument; times in epoch ms."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from nexus.alarms.definition import AlarmDefinition
from nexus.contract.ack import LONGEST_SHELVING, Action, Request
from nexus.contract.alarm import Event, Record, State
from nexus.contract.reading import Value

CHATTERING_RAISES = 3  # so many within
CHATTERING_MS = 60_000  # are chattering
AHEAD_MS = 86_400_000  # what is further ahead was said by a clock that was wrong
EARLIEST_MS = 1_577_836_800_000  # 2020: a clock that says less is not set yet

_LONGEST_SHELVING_MS = int(LONGEST_SHELVING * 1000)


class RequestError(Exception):
    """What was asked is not done. The text is for who asked."""


@dataclass(frozen=True, slots=True)
class Change:
    """An event of an alarm, and the record after it."""

    definition: AlarmDefinition
    record: Record
    event: Event


class Machine:
    """Goes on from a record. What hides an alarm (a mask) does not stop it: it is raised and cleared below.

    `is_lost` if the device was, when the record was made.
    """

    __slots__ = (
        "_flip", "_is_known", "_is_seen", "_raises", "_realarm", "by_design", "by_loss", "chattering", "definition",
        "record",
    )  # fmt: skip

    def __init__(self, definition: AlarmDefinition, record: Record, *, is_lost: bool = False) -> None:
        self.definition = definition
        self.record = record
        self.chattering = 0  # how often it was
        # What suppresses an alarm by design is not in its record: it is told anew.
        hidden = record.state == "suppressed" and not record.suppressed
        self.by_loss = hidden and (is_lost or definition.suppressed_by is None)
        self.by_design = hidden and not self.by_loss
        self._flip: int | None = None  # when the delay ends, after which it is raised or cleared
        self._is_known = True
        self._is_seen = not self.masked or record.occurrence < record.since  # the occurrence, not masked
        if (state := self._state()) != record.state:  # somebody else wrote it
            self.record = replace(record, state=state)
        self._realarm = self._next_realarm(record.since)
        self._raises = deque[int](maxlen=CHATTERING_RAISES)

    @property
    def masked(self) -> bool:
        """Something hides it."""
        record = self.record
        return record.out_of_service or record.suppressed or self.by_design or self.by_loss or record.until is not None

    @property
    def is_open(self) -> bool:
        """An occurrence has begun that is not over."""
        return self.record.active or not self.record.acknowledged or self.record.latched

    @property
    def is_delayed(self) -> bool:
        """It is about to be raised or cleared, once its delay ends."""
        return self._flip is not None

    @property
    def due(self) -> int | None:
        """When something changes by time alone."""
        until, realarm = self.record.until, self._realarm
        if self._flip is None and until is None and realarm is None:
            return None
        times = (self._flip if self._is_known else None, until, realarm)
        return min((time for time in times if time is not None), default=None)

    def settle(
        self, holds: bool | None, now: int, value: Value = None, limit: float | None = None, reason: str = ""
    ) -> list[Change]:
        """Whether the condition holds now; None is not known, which neither raises nor clears."""
        self._is_known = holds is not None
        if holds is None:
            return []
        if holds is self.record.active:
            self._flip = None
            return []
        if self._flip is None:
            self._flip = now + int(1000 * (self.definition.on_delay if holds else self.definition.off_delay))
        if now < self._flip:
            return []
        self._flip = None
        return self._raise(now, value, limit, reason) if holds else [self._clear(now, value, limit)]

    def freeze(self) -> None:
        """Nothing is known of the condition any more: a delay begins anew."""
        self._flip = None

    def tick(self, now: int) -> list[Change]:
        """Ends a shelving, and calls again."""
        changes = []
        if self.record.until is not None and now >= self.record.until:
            changes.append(self._become("unshelved", now, {"until": None}))
        if self._realarm is not None and now >= self._realarm:
            changes.append(self._become("realarmed", now, {"acknowledged": False}))
        return changes

    def suppress(
        self, now: int, *, by_design: bool | None = None, by_loss: bool | None = None, reason: str = ""
    ) -> list[Change]:
        """Something suppresses it, or does no more."""
        before = self.by_design or self.by_loss
        self.by_design = self.by_design if by_design is None else by_design
        self.by_loss = self.by_loss if by_loss is None else by_loss
        if (after := self.by_design or self.by_loss) == before:
            return []
        return [self._become("suppressed" if after else "unsuppressed", now, {}, reason=reason)]

    def move(self, by: int, now: int) -> list[Change]:
        """The clock jumped: what was to happen in a minute still does so."""
        self._flip = None if self._flip is None else self._flip + by
        self._realarm = None if self._realarm is None else self._realarm + by
        self._raises.clear()
        if self.record.until is None or now - by < EARLIEST_MS <= self.record.until:  # what was right already
            return []
        return [self._become("shelved", now, {"until": self.record.until + by})]

    def begin(self, now: int) -> list[Change]:
        """The first moment: a record of a clock that was ahead neither shelves nor waits for longer than it may."""
        if self._realarm is not None:
            self._realarm = min(self._realarm, self._next_realarm(now) or now)
        latest = now + _LONGEST_SHELVING_MS
        if self.record.until is None or self.record.until <= latest or now < EARLIEST_MS:
            return []
        return [self._become("shelved", now, {"until": latest})]

    def ask(self, request: Request, now: int) -> Change:
        """Does what a person asks. Raises RequestError."""
        _check(request)
        if request.occurrence not in {None, self.record.occurrence}:
            raise RequestError("that occurrence is over: look at the alarm again")
        if request.occurrence is not None and request.action in _HIDING and self.record.state == "normal":
            raise RequestError("that occurrence is over: there is nothing to hide until the alarm is raised again")
        asked = _ASKED[request.action]
        if asked.is_vain(self.record):
            raise RequestError(asked.refusal)
        changes = dict(asked.changes)
        if request.action == "shelve" and request.seconds is not None:
            changes["until"] = now + int(request.seconds * 1000)
        return self._become(asked.event, now, changes, request.by, request.reason)

    def _raise(self, now: int, value: Value, limit: float | None, reason: str) -> list[Change]:
        changed = {"active": True, "acknowledged": False, "latched": False, "value": value, "limit": limit}
        if not self.is_open:
            changed["occurrence"] = after(self.record.ts, now)
            self._is_seen = False
        changes = [self._become("raised", now, changed, reason=reason)]
        self._raises.append(now)
        if len(self._raises) == CHATTERING_RAISES and now - self._raises[0] <= CHATTERING_MS:
            self._raises.clear()
            self.chattering += 1
            if self.definition.auto_shelve is not None and not self.masked:
                until = now + int(1000 * self.definition.auto_shelve)
                changes.append(self._become("shelved", now, {"until": until}, reason="it chatters"))
        return changes

    def _clear(self, now: int, value: Value, limit: float | None) -> Change:
        is_seen = self._is_seen  # else nobody was called, and nobody has to acknowledge
        changed = {
            "active": False,
            "acknowledged": self.record.acknowledged or not is_seen,
            "latched": self.definition.latched and is_seen,
            "value": value,
            "limit": limit,
        }
        return self._become("cleared", now, changed)

    def _become(
        self, event: Event, now: int, changes: Mapping[str, object], by: str | None = None, reason: str = ""
    ) -> Change:
        """Who did it and why stay with the state, until something else is done by a person, or the state is another."""
        before, record = self.record, replace(self.record, ts=after(self.record.ts, now), **changes)
        self.record = record
        state = self._state()
        if state != before.state:
            record = replace(record, state=state, since=record.ts, by=by, reason=reason)
        elif by is not None:
            record = replace(record, by=by, reason=reason)
        self.record = record
        self._is_seen = self._is_seen or not self.masked
        if state != before.state:
            self._realarm = self._next_realarm(now)
        return Change(self.definition, record, event)

    def _state(self) -> State:
        record = self.record
        if record.out_of_service:
            return "out-of-service"
        if record.suppressed or self.by_design or self.by_loss:
            return "suppressed"
        if record.until is not None:
            return "shelved"
        if record.active:
            return "acknowledged" if record.acknowledged else "unacknowledged"
        if record.latched:
            return "latched"
        return "normal" if record.acknowledged else "returned"

    def _next_realarm(self, since: int) -> int | None:
        if self.definition.realarm is None or self.record.state != "acknowledged":
            return None
        return since + int(1000 * self.definition.realarm)


@dataclass(frozen=True, slots=True)
class _Asked:
    event: Event
    is_vain: Callable[[Record], bool]
    refusal: str
    changes: Mapping[str, object]


_ASKED: Mapping[Action, _Asked] = {
    "acknowledge": _Asked(
        "acknowledged", lambda now: now.acknowledged, "there is nothing to acknowledge", {"acknowledged": True}
    ),
    "reset": _Asked(
        "reset",
        lambda now: not (now.latched and now.acknowledged),
        "only an alarm that is latched, and acknowledged, can be reset",
        {"latched": False},
    ),
    "shelve": _Asked("shelved", lambda _: False, "", {}),
    "unshelve": _Asked("unshelved", lambda now: now.until is None, "it is not shelved", {"until": None}),
    "suppress": _Asked("suppressed", lambda now: now.suppressed, "it is suppressed already", {"suppressed": True}),
    "unsuppress": _Asked(
        "unsuppressed", lambda now: not now.suppressed, "nobody has suppressed it", {"suppressed": False}
    ),
    "out-of-service": _Asked(
        "out-of-service", lambda now: now.out_of_service, "it is out of service already", {"out_of_service": True}
    ),
    "in-service": _Asked(
        "in-service", lambda now: not now.out_of_service, "it is in service already", {"out_of_service": False}
    ),
    "comment": _Asked("comment", lambda _: False, "", {}),
}

_HIDING: frozenset[Action] = frozenset({"shelve", "suppress", "out-of-service"})


def _check(request: Request) -> None:
    if not request.by:
        raise RequestError("say who asks: `by`")
    if request.action == "comment" and not request.reason:
        raise RequestError("a comment is its `reason`, which is empty")
    if request.action != "shelve":
        return
    if request.seconds is None or not 0 < request.seconds <= LONGEST_SHELVING:
        raise RequestError("say how long to shelve it for, in `seconds`: 7 days at most; for longer, out of service")


def after(last: int, now: int) -> int:
    """The time of the next event, in epoch ms: rising, unless the last was said by a clock that was far ahead."""
    return last + 1 if now <= last and (last <= now + AHEAD_MS or now < EARLIEST_MS) else now
