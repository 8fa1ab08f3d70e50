"""Whatever a record says that came from elsewhere, the alarms go on from it, and say only what receivers take."""

from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from nexus.alarms.definition import Above, AlarmDefinition, Below, Changed, Lost, Outside, Stale, When
from nexus.alarms.device import DeviceAlarms
from nexus.alarms.expression import parse
from nexus.alarms.machine import Change, RequestError
from nexus.contract import alarm
from nexus.contract.ack import Action, Request
from nexus.contract.alarm import AlarmMessage, Record, State
from nexus.contract.reading import Reading, Value

NOW = 1_700_000_000_000
ALARMS = [
    AlarmDefinition("high", "t", Above(5.0), deadband=1.0, on_delay=1.0, off_delay=1.0, realarm=5.0),
    AlarmDefinition("low", "t", Below("u"), latched=True),
    AlarmDefinition("range", "t", Outside(1.0, 9.0), auto_shelve=10.0),
    AlarmDefinition("moved", "t", Changed()),
    AlarmDefinition("old", "t", Stale(5.0)),
    AlarmDefinition("when", "", When(parse("t > u")), suppressed_by=parse("t > 8")),
    AlarmDefinition("lost", "", Lost(), on_delay=1.0),
]

times = st.integers(0, NOW + 60_000)
values: st.SearchStrategy[Value] = (
    st.none() | st.floats() | st.integers(-9, 2**64) | st.booleans() | st.text(max_size=3)
)
records = st.builds(
    Record,
    state=st.sampled_from(get_args(State)),
    occurrence=times,
    since=times,
    ts=times,
    active=st.booleans(),
    acknowledged=st.booleans(),
    latched=st.booleans(),
    suppressed=st.booleans(),
    out_of_service=st.booleans(),
    until=st.none() | times | st.just(253_402_214_399_999),
    value=values,
    limit=st.none() | st.floats(),
)
steps = st.one_of(
    st.tuples(st.just("read"), values, st.sampled_from([0, 64, 192])),
    st.tuples(st.sampled_from(["lost", "found", "tick"]), st.integers(-5000, 100_000), st.just(0)),
    st.tuples(st.sampled_from(get_args(Action)), st.sampled_from(ALARMS), st.just(0)),
)


def take(alarms: DeviceAlarms, step: tuple[Any, ...], now: int) -> list[Change]:
    match step:
        case "read", value, int(quality):
            return alarms.read([Reading(tag, now, value, quality) for tag in "tu"], now)
        case "lost", *_:
            return alarms.lost(now, "no answer")
        case "found", *_:
            return alarms.found(now)
        case "tick", int(later), _:
            return alarms.tick(now + later)
        case action, AlarmDefinition() as one, _:
            seconds = 5.0 if action == "shelve" else None
            try:
                return [alarms.ask(one.tag, one.name, Request(action, by="anna", seconds=seconds), now)]
            except RequestError:
                return []
    raise AssertionError(step)


@settings(max_examples=50)
@given(st.lists(records, min_size=len(ALARMS), max_size=len(ALARMS)), st.lists(steps, max_size=10))
def test_alarms_go_on_from_any_record(before: list[Record], todo: list[tuple[Any, ...]]) -> None:
    keys = [(one.tag, one.name) for one in ALARMS]
    alarms = DeviceAlarms(ALARMS, dict(zip(keys, before, strict=True)))
    for number, step in enumerate(todo):
        for change in take(alarms, step, NOW + 500 * number):
            message = AlarmMessage("plc", change.definition.tag, change.definition.name, change.record, change.event)
            alarm.decode(message.topic, alarm.encode(message))
