"""Every transition of an alarm against a model that counts seconds: no deadlines, no records, no bands."""

from dataclasses import replace
from math import isnan
from typing import Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nexus.alarms.definition import Above, AlarmDefinition, Lost
from nexus.alarms.device import DeviceAlarms
from nexus.alarms.expression import parse
from nexus.alarms.machine import Change, RequestError
from nexus.contract.ack import Action, Request
from nexus.contract.alarm import Event, State
from nexus.contract.reading import Quality, Reading

T = 1_703_289_600_000
LIMIT, DEADBAND = 80.0, 5.0
FAR = 1_500_000  # ms that the clock is wrong by at most

SECONDS = st.sampled_from([0, 1, 3, 10])
DEFINITIONS = st.builds(
    AlarmDefinition,
    name=st.just("high"),
    tag=st.just("t"),
    condition=st.just(Above(LIMIT)),
    deadband=st.just(DEADBAND),
    on_delay=SECONDS,
    off_delay=SECONDS,
    latched=st.booleans(),
    realarm=st.sampled_from([None, 20]),
    auto_shelve=st.sampled_from([None, 30]),
    suppressed_by=st.sampled_from([None, parse("stopped")]),
)
ACTIONS: list[Action] = [
    "acknowledge", "reset", "shelve", "unshelve", "suppress", "unsuppress", "out-of-service", "in-service", "comment",
]  # fmt: skip
Mask = Literal["out-of-service", "person", "design", "loss", "shelved"]


class Model:
    """What an operator would expect of the alarm, second by second."""

    def __init__(self, definition: AlarmDefinition) -> None:
        self.definition = definition
        self.second = 0
        self.events: list[Event] = []
        self.number = 0  # of the occurrence
        self.active = self.latched = self.is_known = self.differs = self.lost = False
        self.acknowledged = self.seen = True
        self.masks: set[Mask] = set()
        self.differs_for = self.shelved_for = self.stands_for = 0
        self.began = self.changed = 0  # events until the occurrence, and the state, began
        self.since = 0
        self.raises: list[int] = []

    @property
    def state(self) -> State:
        if "out-of-service" in self.masks:
            return "out-of-service"
        if self.masks & {"person", "design", "loss"}:
            return "suppressed"
        if "shelved" in self.masks:
            return "shelved"
        below: dict[tuple[bool, bool], State] = {
            (True, True): "acknowledged",
            (True, False): "unacknowledged",
            (False, True): "latched" if self.latched else "normal",
            (False, False): "latched" if self.latched else "returned",
        }
        return below[self.active, self.acknowledged]

    def say(self, event: Event, before: State) -> None:
        self.events.append(event)
        self.seen = self.seen or not self.masks
        if self.state != before:
            self.since, self.changed, self.stands_for = self.second, len(self.events), 0

    def mask(self, mask: Mask, on: bool, event: Event) -> None:
        before = self.state
        self.masks = self.masks | {mask} if on else self.masks - {mask}
        self.say(event, before)

    def suppress(self, mask: Mask, on: bool) -> None:
        """By an expression or a loss: only the first says so, and only the last takes it back."""
        others = self.masks & {"design", "loss"} - {mask}
        if others or (mask in self.masks) == on:
            self.masks = self.masks | {mask} if on else self.masks - {mask}
        else:
            self.mask(mask, on, "suppressed" if on else "unsuppressed")

    def pass_second(self) -> None:
        self.second += 1
        if "shelved" in self.masks:
            self.shelved_for -= 1
            if not self.shelved_for:
                self.mask("shelved", False, "unshelved")
        if self.state == "acknowledged" and self.second > self.since:
            self.stands_for += 1
            if self.stands_for == self.definition.realarm:
                self.acknowledged = False
                self.say("realarmed", "acknowledged")
        self.differs_for += 1
        self.flip_if_due()

    def flip_if_due(self) -> None:
        delay = self.definition.off_delay if self.active else self.definition.on_delay
        if self.differs and self.is_known and self.differs_for >= delay:
            self.differs = False
            self.clear() if self.active else self.start()

    def start(self) -> None:
        before = self.state
        if self.acknowledged and not self.latched:
            self.number, self.seen, self.began = self.number + 1, False, len(self.events) + 1
        self.active, self.acknowledged, self.latched = True, False, False
        self.say("raised", before)
        self.raises = [*self.raises, self.second][-3:]
        if len(self.raises) == 3 and self.second - self.raises[0] <= 60:
            self.raises = []
            if self.definition.auto_shelve is not None and not self.masks:
                self.shelved_for = int(self.definition.auto_shelve)
                self.mask("shelved", True, "shelved")

    def clear(self) -> None:
        before = self.state
        self.active = False
        if self.seen:
            self.latched = self.definition.latched
        else:
            self.acknowledged = True
        self.say("cleared", before)

    def read(self, value: float | None) -> None:
        if value is None:
            self.is_known = False
            return
        self.is_known = True
        holds = value > (LIMIT - DEADBAND if self.active else LIMIT)
        if holds == self.active:
            self.differs = False
            return
        if not self.differs:
            self.differs, self.differs_for = True, 0
        self.flip_if_due()

    def lose(self) -> None:
        self.lost, self.is_known, self.differs = True, False, False
        if self.active or not self.acknowledged or self.latched:
            self.suppress("loss", True)

    def find(self) -> None:
        self.lost = False
        self.suppress("loss", False)

    def can(self, action: Action) -> bool:
        return {
            "acknowledge": not self.acknowledged,
            "reset": self.latched and self.acknowledged,
            "unshelve": "shelved" in self.masks,
            "suppress": "person" not in self.masks,
            "unsuppress": "person" in self.masks,
            "out-of-service": "out-of-service" not in self.masks,
            "in-service": "out-of-service" in self.masks,
        }.get(action, True)

    def ask(self, action: Action, seconds: int) -> None:
        before = self.state
        if action == "acknowledge":
            self.acknowledged = True
            self.say("acknowledged", before)
        elif action == "reset":
            self.latched = False
            self.say("reset", before)
        elif action == "shelve":
            self.shelved_for = seconds
            self.mask("shelved", True, "shelved")
        elif action == "unshelve":
            self.mask("shelved", False, "unshelved")
        elif action in {"suppress", "unsuppress"}:
            self.mask("person", action == "suppress", "suppressed" if action == "suppress" else "unsuppressed")
        elif action in {"out-of-service", "in-service"}:
            self.mask("out-of-service", action == "out-of-service", action)
        else:
            self.say("comment", before)

    def restart(self) -> None:
        self.is_known = self.differs = False
        self.raises = []
        self.seen = self.seen or self.began < self.changed


class AlarmMachine(RuleBasedStateMachine):
    @initialize(definition=DEFINITIONS)
    def begin(self, definition: AlarmDefinition) -> None:
        self.definitions = [AlarmDefinition("lost", "", Lost()), definition]
        self.model = Model(definition)
        self.alarms = DeviceAlarms(self.definitions)
        self.wrong_by = 0
        self.changes: list[Change] = []
        self.numbers: dict[int, int] = {0: 0}
        self.take(self.alarms.found(self.now))

    @property
    def now(self) -> int:
        return T + 1000 * self.model.second + self.wrong_by

    def take(self, changes: list[Change]) -> None:
        self.changes += [change for change in changes if change.definition.name == "high"]

    @rule(value=st.sampled_from([70.0, 75.0, 76.0, 79, 80.0, 80.5, 81, 90.0, None, float("nan")]))
    def read(self, value: float | None) -> None:
        bad = value is None
        self.take(self.alarms.read([Reading("t", self.now, value, Quality.BAD if bad else Quality.GOOD)], self.now))
        if self.model.lost and not bad:
            self.model.find()
        if not self.model.lost:
            self.model.read(None if value is None or isnan(value) else value)

    @rule(stopped=st.sampled_from([True, False, None]))
    def stop_or_start(self, stopped: bool | None) -> None:
        quality = Quality.BAD if stopped is None else Quality.GOOD
        self.take(self.alarms.read([Reading("stopped", self.now, stopped, quality)], self.now))
        if self.model.definition.suppressed_by is None:
            return
        if self.model.lost and stopped is not None:
            self.model.find()
        if not self.model.lost and stopped is not None:
            self.model.suppress("design", stopped)

    @rule(seconds=st.sampled_from([1, 2, 3, 5, 9, 10, 11, 20, 30, 61]))
    def wait(self, seconds: int) -> None:
        """As the poller does: asleep until something is due."""
        for _ in range(seconds):
            self.model.pass_second()
            if self.alarms.due is not None and self.alarms.due <= self.now:
                self.take(self.alarms.tick(self.now))
            self.stays_as_the_model()

    @rule(action=st.sampled_from(ACTIONS), seconds=st.sampled_from([1, 10, 30]))
    def ask(self, action: Action, seconds: int) -> None:
        request = Request(action, by="anna", reason="why", seconds=seconds if action == "shelve" else None)
        try:
            self.take([self.alarms.ask("t", "high", request, self.now)])
        except RequestError:
            assert not self.model.can(action)
        else:
            assert self.model.can(action)
            self.model.ask(action, seconds)

    @rule()
    def lose(self) -> None:
        self.take(self.alarms.lost(self.now, "timed out"))
        if not self.model.lost:
            self.model.lose()

    @rule()
    def find(self) -> None:
        self.take(self.alarms.found(self.now))
        if self.model.lost:
            self.model.find()

    @rule(wrong_by=st.integers(-FAR, FAR))
    def set_clock(self, wrong_by: int) -> None:
        jump, self.wrong_by = wrong_by - self.wrong_by, wrong_by
        changes = self.alarms.clock_moved(jump)
        self.take(changes)
        if "shelved" in self.model.masks:
            assert [change.event for change in changes] == ["shelved"]  # until another hour on the clock
            self.model.events.append("shelved")
        self.model.raises = []

    @precondition(lambda self: self.can_restart())
    @rule()
    def restart(self) -> None:
        """By the records of the changes, which are all that a disk has."""
        records = dict(self.alarms.records)
        if self.changes:
            assert records["t", "high"] == self.changes[-1].record
        self.alarms = DeviceAlarms(self.definitions, records)
        self.take(self.alarms.tick(self.now))
        self.model.restart()

    def can_restart(self) -> bool:
        """Where all is in the record, and nothing has to be read to be known again."""
        model, by_expression = self.model, self.model.definition.suppressed_by is not None
        if model.state == "acknowledged" and model.definition.realarm is not None:
            return False  # counted by the clock that may have been wrong
        if not model.masks & {"design", "loss"}:
            return True
        return model.masks == ({"loss"} if model.lost else {"design"}) and not (model.lost and by_expression)

    @invariant()
    def stays_as_the_model(self) -> None:
        record, model = self.alarms.records["t", "high"], self.model
        assert [change.event for change in self.changes] == model.events
        assert record.state == model.state
        assert (record.active, record.acknowledged, record.latched) == (
            model.active,
            model.acknowledged,
            model.latched,
        )
        assert record.until == (self.now + 1000 * model.shelved_for if "shelved" in model.masks else None)
        assert self.alarms.due is None or self.alarms.due > self.now

    @invariant()
    def numbers_occurrences(self) -> None:
        """Each has one number, which rises."""
        number = self.alarms.records["t", "high"].occurrence
        assert self.numbers.setdefault(self.model.number, number) == number
        assert list(self.numbers.values()) == sorted(set(self.numbers.values()))

    @invariant()
    def tells_in_order(self) -> None:
        times = [change.record.ts for change in self.changes]
        assert times == sorted(set(times))


AlarmMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAlarmMachine = AlarmMachine.TestCase


def test_the_model_finds_an_alarm_that_is_not_as_it_says() -> None:
    """The model is worth something only if it can fail."""
    definition = AlarmDefinition("high", "t", Above(LIMIT), deadband=DEADBAND, on_delay=3)
    machine = AlarmMachine()
    machine.begin(definition)
    machine.definitions[1] = replace(definition, on_delay=4)
    machine.restart()
    machine.read(90.0)
    try:
        machine.wait(5)
    except AssertionError:
        return
    raise AssertionError("a wrong delay went unnoticed")
