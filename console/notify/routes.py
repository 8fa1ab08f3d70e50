"""Who is told what of an event. Pure: `now` is an argument."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from console.notify.event import Told, is_firing, moment, told_as
from console.notify.windows import Window
from nexus.contract.alarm import AlarmMessage, Priority

LATE = timedelta(minutes=10)


@dataclass(frozen=True)
class Step:
    """Others who are told if nobody has acknowledged the alarm so long after it was raised."""

    after: timedelta
    to: tuple[str, ...]


@dataclass(frozen=True)
class Route:
    """Which alarms, when, and who is told. Empty means any; `devices` are filters of paths, `alarms` are names."""

    name: str
    to: tuple[str, ...]
    priorities: frozenset[Priority] = frozenset()
    devices: tuple[str, ...] = ()
    alarms: frozenset[str] = frozenset()
    window: Window = field(default_factory=Window)
    tell: frozenset[Told] = frozenset({"raised"})
    steps: tuple[Step, ...] = ()

    def takes(self, word: AlarmMessage) -> bool:
        """Whether it is for this alarm, at whatever time."""
        return (
            (not self.priorities or word.priority in self.priorities)
            and (not self.alarms or word.name in self.alarms)
            and (not self.devices or any(matches(one, word.device) for one in self.devices))
        )


@dataclass(frozen=True)
class Order:
    """One receiver is to be told, because of a route."""

    receiver: str
    route: str
    is_late: bool


@dataclass(frozen=True)
class Wait:
    """An escalation that begins, and whom it tells."""

    route: str
    step: int
    to: tuple[str, ...]
    due: datetime


@dataclass(frozen=True)
class Routes:
    """All of them, in the file's order; each that takes an event counts. `states` are receivers that hold alarms
    themselves, and so are told whether each is there: Alertmanagers."""

    routes: tuple[Route, ...]
    zone: ZoneInfo
    states: frozenset[str] = frozenset()

    def orders(self, word: AlarmMessage, now: datetime, stored: datetime) -> list[Order]:
        """Who is told now of an event that was `stored` then, each once, because of the first route that says so."""
        told, found = told_as(word), dict[str, Order]()
        is_late = stored - moment(word.record.ts) > LATE
        for route in self._taking(word):
            is_on = route.window.holds(now, self.zone)
            for receiver in route.to:
                if self._is_told(receiver, route, told, word, is_on=is_on):
                    found.setdefault(receiver, Order(receiver, route.name, is_late))
        return list(found.values())

    def waits(self, word: AlarmMessage, now: datetime, stored: datetime) -> list[Wait]:
        """The escalations that begin with an event, from when it was `stored`: the gateway's clock may be wrong."""
        if told_as(word) != "raised":
            return []
        return [
            Wait(route.name, number, step.to, stored + step.after)
            for route in self._taking(word)
            if route.window.holds(now, self.zone)
            for number, step in enumerate(route.steps)
        ]

    def firing(self, words: Iterable[AlarmMessage], receiver: str, now: datetime) -> list[AlarmMessage]:
        """Those of the standing alarms that a receiver of states is to hold."""
        return [
            word
            for word in words
            if is_firing(word)
            and any(receiver in route.to and route.window.holds(now, self.zone) for route in self._taking(word))
        ]

    def _taking(self, word: AlarmMessage) -> Iterator[Route]:
        return (route for route in self.routes if route.takes(word))

    def _is_told(self, receiver: str, route: Route, told: Told | None, word: AlarmMessage, *, is_on: bool) -> bool:
        if receiver in self.states:
            # The end of an alarm is always told: it may have been told before the hours of this route ended.
            return not is_firing(word) or (told == "raised" and is_on)
        return told in route.tell and is_on


def matches(pattern: str, path: str) -> bool:
    """Whether a filter as MQTT has it, with + and #, takes a device's path."""
    wanted, given = pattern.split("/"), path.split("/")
    for number, level in enumerate(wanted):
        if level == "#":
            return True
        if number >= len(given) or level not in ("+", given[number]):
            return False
    return len(wanted) == len(given)
