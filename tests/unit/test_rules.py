"""Rules across devices: their files, what follows from inputs and from time, and what is said until it has arrived."""

from pathlib import Path

import pytest

from ingestion.rules.definition import Rule
from ingestion.rules.engine import Engine
from ingestion.rules.evaluation import Evaluation, Outcome, RuleState, decode_state, encode_state
from ingestion.rules.files import load
from ingestion.rules.outbox import AGAIN_SECONDS, Outbox
from ingestion.rules.store import Row
from nexus.alarms.machine import RequestError
from nexus.contract import alarm
from nexus.contract.ack import Request
from nexus.contract.alarm import Record
from nexus.contract.codec import decode, encode_device, encode_tag
from nexus.contract.reading import Quality, Reading, Value
from nexus.process.errors import ConfigError
from nexus.readings.calculation import Calculation

LATE = 60_000
T0 = 1_700_000_000_000
PLANT = """
rules:
  - name: line1
    path: plant/rules
    inputs:
      a: plant/plc1/power
      b: {topic: plant/plc2/power, stale: 30s}
    tags:
      - {name: sum, expression: "a + b", unit: kW, alarms: [{name: high, above: 100}]}
      - {name: energy, total: sum, per: s}
    alarms:
      - {name: uneven, when: "a > b", on_delay: 10s}
"""


def rules(folder: Path, text: str = PLANT) -> tuple[Rule, ...]:
    (folder / "rules.yaml").write_text(text)
    return load(folder / "rules.yaml")


@pytest.fixture
def rule(tmp_path: Path) -> Rule:
    return rules(tmp_path)[0]


def begun(
    rule: Rule, kept: RuleState | None = None, records: dict[tuple[str, str], Record] | None = None
) -> Evaluation:
    made = Evaluation(rule, LATE, kept or RuleState(), records or {})
    made.begin(T0)
    return made


def take(one: Evaluation, at: int, quality: int = Quality.GOOD, now: int | None = None, **values: Value) -> Outcome:
    """Inputs of this moment, in ms after T0; they come at once unless `now` says otherwise."""
    readings = [Reading(name, T0 + at, value, quality) for name, value in values.items()]
    return one.take(readings, T0 + (at if now is None else now))


def take_message(engine: Engine, name: str, payload: bytes, now: int) -> None:
    for part in engine.parts(name, payload):
        engine.take(part, now)


def made(outcome: Outcome, tag: str = "sum") -> list[tuple[int, Value, int]]:
    return [(one.time - T0, one.value, one.quality) for one in outcome.readings if one.tag == tag]


def events(outcome: Outcome) -> list[tuple[str, str, int]]:
    return [(change.definition.name, change.event, change.record.ts - T0) for change in outcome.changes]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rules: [{name: x, inputs: {a: dev/p/t}, tags: [{name: y, expression: a}]}]", "begins with `dev/`"),
        ("rules: [{name: x, inputs: {a: t}, tags: [{name: y, expression: a}]}]", "has no device"),
        ("rules: [{name: x, inputs: {a: {topic: p/t, stal: 3s}}}]", "unknown key 'stal'; did you mean 'stale'?"),
        ("rules: [{name: x, inputs: {}, tags: [{name: y, expression: a}]}]", "inputs must not be empty"),
        ("rules: [{name: x, inputs: {a: p/t}}]", "says nothing: give it `tags`, `alarms` or both"),
        ("rules: [{name: x, inputs: {a: p/t}, tags: [{name: y, expression: c}]}]", "there is no tag 'c' here"),
        ("rules: [{name: x, inputs: {a: p/t}, tags: [{name: a, expression: a}]}]", "name already used by an input"),
        ("rules: [{name: x, inputs: {a: p/t}, tags: [{name: y, address: a}]}]", "give it one of expression, total"),
        ("rules: [{name: x, inputs: {a: p/t}, alarms: [{name: l, lost: true}]}]", "lost is for devices"),
        ("rules: [{name: x, inputs: {a: x/t}, alarms: [{name: l, when: a}]}]", "which is the rule's own"),
        (
            PLANT
            + PLANT.replace("rules:\n", "")
            .replace("line1", "two")
            .replace("plant/rules", "z")
            .replace("plc1", "rules"),
            "input a is what rule line1 says",
        ),
        ("rules: [{name: x, inputs: {a: '${HOME}/t'}, alarms: [{name: l, when: a}]}]", "have no variables"),
        (PLANT + PLANT.replace("rules:\n", "").replace("line1", "line2"), "path 'plant/rules' is also that of rule"),
        (PLANT + PLANT.replace("rules:\n", "").replace("plant/rules", "z"), "name already used at"),
        (
            PLANT + PLANT.replace("rules:\n", "").replace("plant/rules", "plant/rules/b").replace("line1", "two"),
            "path 'plant/rules/b' lies below that of rule line1",
        ),
        (
            f"rules: [{{name: x, path: {'p' * 1000}, inputs: {{a: p/t}}, tags: [{{name: {'t' * 1000}, expression: a}}]}}]",
            "have more than 2,000 bytes",
        ),
        (
            f"rules: [{{name: {'x' * 900}, inputs: {{a: p/t}}, alarms: [{{name: {'l' * 1100}, when: a}}]}}]",
            "have more than 2,000 bytes",
        ),
        ('rules: [{name: x, inputs: {a: p/t}, tags: [{name: "y\\uFFFF", expression: a}]}]', "on which brokers hang up"),
        ('rules: [{name: "x\\uFFFF", inputs: {a: p/t}, tags: [{name: y, expression: a}]}]', "on which brokers hang up"),
        ('rules: [{name: x, inputs: {a: "p/t\\uFFFF"}, tags: [{name: y, expression: a}]}]', "on which brokers hang up"),
        (
            "rules: [{name: x, inputs: {a: p/t}, tags: [{name: y, expression: a, on_change: true, max_silence: 500ms}]}]",
            "tag y: max_silence of 500ms is too short for the tag of a rule: write 1s, the least, or more",
        ),
        ("rules: []", "no rule is described here"),
        ("devices: []", "unknown key 'devices'"),
    ],
)
def test_a_wrong_file_is_refused_with_line_and_remedy(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        rules(tmp_path, text)
    assert said in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "rules.yaml"))


DEVICES = {"plant/plc1": {"power", "run"}, "plant/plc2": {"power"}, "plant/rules": {"x"}}
STRANGE = """
rules:
  - name: line1
    path: plant/rules
    inputs:
      a: plant/plc1/powr
      b: plant/plc3/power
      c: plant/rules/x
      d: {topic: plant/plc1/power, stale: 30}
    tags:
      - {name: sum, expression: "a + b + d + e"}
"""


def test_inputs_that_no_device_has_are_told_with_their_lines_and_all_else(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(STRANGE)
    with pytest.raises(ConfigError) as error:
        load(file, devices=DEVICES)
    said = [line for line in str(error.value).replace(str(file), "").splitlines() if line.startswith(":")]
    assert [line.split(";")[0] if "there is no tag" in line else line for line in said] == [
        ":4: rule line1: a device has this path: change one of the two",
        ":6: rule line1: input a: plant/plc1 has no tag 'powr'; did you mean 'power'?",
        ":7: rule line1: input b: there is no device 'plant/plc3'; did you mean 'plant/plc2'?",
        ":9: rule line1, input d: stale: 30 is not a duration: write it with its unit, like 500ms, 1s, 2m, 12h or 7d",
        ":11: rule line1, tag sum: expression: there is no tag 'e' here",
    ]


def test_a_rule_without_inputs_or_with_a_list_as_its_path_is_told_with_devices_as_without(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(
        "rules: [{name: x, path: [p], inputs: {a: plant/plc1/power}, alarms: [{name: l, when: a}]}, {name: y}]"
    )
    said = []
    for devices in (None, DEVICES):
        with pytest.raises(ConfigError) as error:
            load(file, devices=devices)
        said.append(str(error.value))
    assert said[0] == said[1]
    assert "rule x: path" in said[0]
    assert "rule y: key 'inputs' is missing" in said[0]


def test_a_rule_below_whose_path_its_own_inputs_lie_is_told_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        rules(tmp_path, PLANT.replace("path: plant/rules", "path: plant"))
    [said] = str(error.value).splitlines()
    assert said.endswith("inputs a, b are below path 'plant', which is the rule's own: give it another path")


def test_a_tag_follows_from_inputs_of_several_devices_with_the_newest_time_and_the_worst_quality(rule: Rule) -> None:
    one = begun(rule)
    assert made(take(one, 0, a=1.0)) == [], "nothing before each input came once"
    assert made(take(one, 5, b=2.0)) == [(5, 3.0, 192)]
    assert made(take(one, 9, Quality.UNCERTAIN, a=4.0)) == [(9, 6.0, 64)]
    assert made(take(one, 12, Quality.BAD, a=4.0)) == [(12, None, 0)]


def test_what_comes_late_rewrites_nothing(rule: Rule) -> None:
    one = begun(rule)
    take(one, 0, a=1.0, b=1.0)
    take(one, 100_000, a=2.0)
    assert made(take(one, 50_000, now=100_000, a=9.0)) == [], "older than the last one of its topic"
    assert made(take(one, 100_000, a=9.0)) == [], "the same again"
    assert made(take(one, 39_999, now=100_000, b=9.0)) == [], "later than the lateness"
    within = take(one, 40_000, now=100_000, b=3.0)
    assert made(within) == [(100_001, 5.0, 192)], "as if it came now, after what was said"
    assert made(take(one, 160_002, now=100_000, a=9.0)) == [], "of a clock that is ahead"
    assert one.ignored == {"older": 2, "late": 1, "ahead": 1, "circle": 0}


def test_a_delay_ends_without_an_input_and_at_its_own_time(rule: Rule) -> None:
    one = begun(rule)
    assert events(take(one, 0, b=1.0)) == []
    assert events(take(one, 10, a=2.0)) == []
    assert one.due == T0 + 10_010
    assert events(one.tick(T0 + 10_009)) == []
    assert events(one.tick(T0 + 14_000)) == [("uneven", "raised", 10_010)]


def test_a_backlog_is_evaluated_by_its_own_times(rule: Rule) -> None:
    """Ten minutes of messages that waited at the broker: a condition that ended within its delay calls nobody."""
    one = begun(rule)
    now = 600_000
    take(one, 0, now=now, a=2.0, b=1.0)
    assert events(take(one, 9_000, now=now, a=0.0)) == []
    take(one, 20_000, now=now, a=2.0)
    assert events(take(one, 40_000, now=now, a=2.5, b=2.0)) == [("uneven", "raised", 30_000)]


def test_a_silent_input_is_bad_and_neither_raises_nor_clears(rule: Rule) -> None:
    one = begun(rule)
    assert events(take(one, 0, a=99.0, b=99.0)) == [("high", "raised", 0)]
    outcome = one.tick(T0 + 31_000)
    assert made(outcome) == [(30_000, None, 0)]
    assert events(outcome) == [], "still raised"
    back = take(one, 40_000, b=0.0)
    assert made(back) == [(40_000, 99.0, 192)]
    assert events(back) == [("high", "cleared", 40_000)]


def test_it_goes_on_where_it_was_left(rule: Rule) -> None:
    one = begun(rule)
    take(one, 0, a=60.0, b=60.0)
    take(one, 1_000, a=60.0)
    kept = decode_state(encode_state(one.kept))
    other = begun(rule, kept, dict(one.records))
    assert events(take(other, 1_000, a=60.0)) == [], "the same input again, as after a crash"
    outcome = take(other, 2_000, a=10.0)
    assert made(outcome) == [(2_000, 70.0, 192)]
    assert events(outcome) == [("high", "cleared", 2_000)], "it was known to be raised"
    assert made(take(other, 3_000, a=10.0), "energy")[0][1] == pytest.approx(120.0 + 95.0 + 70.0), (
        "and what passed between"
    )


def test_a_clock_that_was_set_back_stops_nothing(rule: Rule) -> None:
    one = begun(rule)
    take(one, 10_000_000, a=1.0, b=1.0)
    take(one, 5_000, a=2.0)
    assert made(take(one, 6_000, b=2.0)) == [(6_000, 4.0, 192)]


def test_a_person_acknowledges_what_was_raised(rule: Rule) -> None:
    one = begun(rule)
    take(one, 0, a=99.0, b=99.0)
    change = one.ask("sum", "high", Request("acknowledge", by="anna"), T0 + 500)
    assert (change.record.state, change.record.by, change.record.ts) == ("acknowledged", "anna", T0 + 500)
    with pytest.raises(RequestError, match="there is no such alarm"):
        one.ask("sum", "low", Request("acknowledge", by="anna"), T0 + 600)


def test_the_engine_says_readings_and_alarms_and_keeps_states(rule: Rule) -> None:
    engine = Engine([rule], LATE, {}, [])
    engine.begin(T0)
    assert "dev/plant/plc1/power" in engine.filters
    assert "dev/plant/plc1" in engine.filters
    take_message(engine, "dev/plant/plc1/power", encode_tag(Reading("power", T0, 90.0)), T0)
    device = [Reading("power", T0 + 1, 20.0), Reading("other", T0 + 1, 5.0)]
    take_message(engine, "dev/plant/plc2", encode_device(device, T0 + 1), T0 + 1)
    update = engine.drain()
    assert list(update.states) == ["plant/rules"]
    assert [one.topic for one in update.said] == [
        "dev/plant/rules/sum",
        "dev/plant/rules/energy",
        "alarm/plant/rules/sum/high",
    ]
    assert list(update.alarms) == ["alarm/plant/rules/sum/high"]
    assert not engine.drain(), "only what has changed"


def test_an_alarm_that_has_left_the_files_ends(rule: Rule) -> None:
    engine = Engine([rule], LATE, {}, [])
    engine.begin(T0)
    take_message(engine, "dev/plant/plc1/power", encode_tag(Reading("power", T0, 90.0)), T0)
    take_message(engine, "dev/plant/plc2/power", encode_tag(Reading("power", T0, 90.0)), T0)
    alarms = engine.alarms
    engine = Engine([Rule("other", "plant/other", rule.inputs, rule.derived)], LATE, {}, alarms)
    engine.begin(T0 + 5)
    update = engine.drain()
    removed, cleared = (one for one in update.said if one.topic == "alarm/plant/rules/sum/high")
    assert alarm.decode(removed.topic, removed.payload).event == "removed"
    assert (cleared.payload, cleared.retain) == (b"", True)
    assert update.alarms == {"alarm/plant/rules/sum/high": None}


def test_a_circle_of_two_groups_ends_and_is_told(tmp_path: Path) -> None:
    text = "rules: [{name: %s, path: p/%s, inputs: {d: p/%s/d, x: p/%s/t}, tags: [{name: t, expression: x + d}]}]"
    groups = [Engine(rules(tmp_path, text % (own, own, own * 2, other)), LATE, {}, []) for own, other in ("ab", "ba")]
    for engine in groups:
        engine.begin(T0)
        for name in ("aa/d", "bb/d", "a/t", "b/t"):
            take_message(engine, f"dev/p/{name}", encode_tag(Reading(name[-1], T0, 1.0)), T0)
        engine.drain()
    waiting = [("dev/p/aa/d", encode_tag(Reading("d", T0 + 1, 2.0)))]
    said = 0
    while waiting and said < 100:
        name, payload = waiting.pop(0)
        for engine in groups:
            if engine.is_input(name):
                said += 1
                take_message(engine, name, payload, T0 + said)
            waiting += [(one.topic, one.payload) for one in engine.drain().said]
    assert said == 5, "the reading, and four values that follow, of which the last is ignored"
    [told] = groups[0].refused("p/a")
    assert told.startswith("input x came round in a circle: what publishes dev/p/b/t takes what follows from it")
    assert groups[0].ignored["circle"] == 1


def test_what_is_said_again_in_silence_does_not_begin_a_circle_anew(tmp_path: Path) -> None:
    text = "rules: [{name: a, path: p/a, inputs: {x: p/b/t}, tags: [{name: t, expression: x + 1, on_change: true, max_silence: 1s}]}]"
    engine = Engine(rules(tmp_path, text), LATE, {}, [])
    engine.begin(T0)
    take_message(engine, "dev/p/b/t", encode_tag(Reading("t", T0, 1.0), hops=3), T0)
    engine.tick("p/a", T0 + 60_000)
    assert [decode(one.topic, one.payload).hops for one in engine.drain().said] == [4, 4]


def test_a_number_that_no_float_holds_loses_no_event_of_others(rule: Rule, tmp_path: Path) -> None:
    other = rules(tmp_path, PLANT.replace("line1", "line2").replace("plant/rules", "plant/others"))[0]
    engine = Engine([rule, other], LATE, {}, [])
    engine.begin(T0)
    take_message(engine, "dev/plant/plc1/power", encode_tag(Reading("power", T0, 5.0)), T0)
    take_message(engine, "dev/plant/plc2/power", encode_tag(Reading("power", T0, 1.0)), T0)
    engine.drain()
    take_message(engine, "dev/plant/plc2/power", b'{"v":1%s,"ts":%d}' % (b"0" * 400, T0 + 20_000), T0 + 20_000)
    update = engine.drain()
    assert {"alarm/plant/rules/uneven", "alarm/plant/others/uneven"} <= {one.topic for one in update.said}
    assert decode_state(update.states["plant/rules"]).inputs["b"] == (T0 + 20_000, None, Quality.BAD)


def test_a_fault_keeps_what_came_before_it(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine([rule], LATE, {}, [])
    engine.begin(T0)
    take_message(engine, "dev/plant/plc1/power", encode_tag(Reading("power", T0, 5.0)), T0)
    take_message(engine, "dev/plant/plc2/power", encode_tag(Reading("power", T0, 1.0)), T0)

    def fail(*_: object) -> None:
        raise ValueError("a fault")

    monkeypatch.setattr(Calculation, "after", fail)
    take_message(engine, "dev/plant/plc1/power", encode_tag(Reading("power", T0 + 20_000, 5.0)), T0 + 20_000)
    assert [one.topic for one in engine.drain().said][-1:] == ["alarm/plant/rules/uneven"]


def test_a_rule_that_comes_back_knows_nothing_but_its_totals(rule: Rule) -> None:
    one = begun(rule)
    take(one, 0, a=60.0, b=60.0)
    take(one, 1_000, a=60.0)
    engine = Engine([Rule("other", "plant/other", rule.inputs, rule.derived)], LATE, {"plant/rules": one.kept}, [])
    engine.begin(T0 + 5_000)
    left = decode_state(engine.drain().states["plant/rules"])
    assert (left.clock, left.inputs, left.made) == (0, {}, {})
    assert left.totals["energy"].value == pytest.approx(120.0)


def row(number: int, topic: str = "dev/p/t", *, retain: bool = False, payload: bytes = b"{}") -> Row:
    return Row(number, topic, payload, retain)


def sent(outbox: Outbox, now: float) -> list[tuple[int, bool]]:
    found = []
    while (one := outbox.next(now)) is not None:
        found.append((one[0].number, one[1]))
    return found


def test_a_message_stays_until_its_receipt_and_is_sent_again_without_one() -> None:
    outbox = Outbox([row(4), row(5)], 5)
    outbox.add([row(6)])
    assert sent(outbox, 0.0) == [(4, False), (5, False), (6, False)]
    outbox.taken(5)
    assert outbox.committed([(4, 4)])
    assert outbox.take_done() == [4]
    assert sent(outbox, AGAIN_SECONDS - 1) == []
    assert sent(outbox, AGAIN_SECONDS) == [(5, False), (6, False)]
    outbox.reconnected()
    assert sent(outbox, AGAIN_SECONDS) == [(5, False), (6, False)]
    assert outbox.committed([(1, 6)])
    assert len(outbox) == 0


def test_without_any_receipt_it_is_sent_again_less_and_less_often() -> None:
    """A broker keeps every copy for an ingester that is away."""
    outbox = Outbox([row(1), row(2)], 2)
    times = [now for now in range(1_000) if sent(outbox, float(now))]
    assert times == [0, 15, 30, 60, 120, 240, 480, 960]
    assert outbox.committed([(1, 1)])
    sent(outbox, 1_000.0)
    assert [now for now in range(1_000, 1_040) if sent(outbox, float(now))] == [1_015]


def test_nothing_is_sent_again_while_no_ingester_offers_receipts() -> None:
    outbox = Outbox([row(1)], 1)
    sent(outbox, 0.0)
    outbox.offers(some=True, now=1.0)
    outbox.offers(some=False, now=2.0)
    assert sent(outbox, 10_000.0) == []
    outbox.offers(some=True, now=10_000.0)
    assert sent(outbox, 10_000.0 + AGAIN_SECONDS - 1) == [], "the broker may have kept it"
    assert sent(outbox, 10_000.0 + AGAIN_SECONDS) == [(1, False)]


def test_a_receipt_for_what_was_never_sent_counts_for_nothing() -> None:
    outbox = Outbox([row(4)], 4)
    assert not outbox.committed([(4, 2**53 - 1)])
    assert len(outbox) == 1


def test_without_receipts_the_brokers_acknowledgement_is_enough() -> None:
    outbox = Outbox([row(1), row(2, payload=b"", retain=True)], 2)
    sent(outbox, 0.0)
    outbox.taken(2)
    assert outbox.take_done() == [2], "what clears a topic has no receipt"
    outbox.awaits_receipts = False
    outbox.taken(1)
    assert outbox.take_done() == [1]


def test_only_the_newest_message_of_an_alarm_is_retained() -> None:
    outbox = Outbox([row(1, "alarm/p/x", retain=True), row(2, "alarm/p/x", retain=True), row(3)], 3)
    assert sent(outbox, 0.0) == [(1, False), (2, True), (3, False)]
    assert outbox.has("alarm/p/x")
    outbox.committed([(2, 2)])
    outbox.reconnected()
    assert sent(outbox, 1.0) == [(1, False), (3, False)]
    assert not outbox.has("alarm/p/x")


TOTALS = """
rules:
  - name: r
    path: p/r
    inputs: {a: p/d/a, run: p/d/run%s}
    tags: [{name: energy, total: a, per: s}, {name: hours, runtime: run}, {name: starts, count: run}]
"""
HOUR = 3_600_000


def tick(one: Evaluation, begin: int, end: int) -> list[Outcome]:
    """The clock goes on without inputs, as the worker has it."""
    return [one.tick(T0 + at) for at in range(begin, end, 250)]


def test_totals_go_on_where_inputs_come_rarely(tmp_path: Path) -> None:
    one = begun(rules(tmp_path, TOTALS % "")[0])
    for at in range(0, HOUR, 90_000):
        take(one, at, a=10.0, run=True)
        tick(one, at, at + 90_000)
    take(one, HOUR, a=10.0, run=False)
    assert one.kept.totals["energy"].value == pytest.approx(36_000)
    assert one.kept.totals["hours"].value == pytest.approx(1)


def test_totals_go_on_where_an_input_comes_when_it_changes(tmp_path: Path) -> None:
    one = begun(rules(tmp_path, TOTALS % "")[0])
    take(one, 0, a=10.0, run=True)
    said = [value for outcome in tick(one, 0, HOUR) for value in made(outcome, "energy")]
    assert len(said) == HOUR // 10_000 - 1, "every ten seconds"
    take(one, HOUR, a=0.0, run=False)
    assert one.kept.totals["energy"].value == pytest.approx(36_000, abs=10 * 10)
    assert one.kept.totals["hours"].value == pytest.approx(1)
    assert not any(outcome.readings for outcome in tick(one, HOUR, 2 * HOUR)), "nothing is said that is as it was"


def test_totals_end_when_an_input_is_stale(tmp_path: Path) -> None:
    one = begun(rules(tmp_path, TOTALS.replace("a: p/d/a", "a: {topic: p/d/a, stale: 15s}") % "")[0])
    take(one, 0, a=10.0, run=True)
    tick(one, 0, HOUR)
    assert one.kept.totals["energy"].value == pytest.approx(150)
    take(one, HOUR, a=10.0)
    take(one, HOUR + 1_000, a=10.0)
    assert one.kept.totals["energy"].value == pytest.approx(160), "and the gap is not counted"


def test_totals_go_on_over_restarts(tmp_path: Path) -> None:
    found = rules(tmp_path, TOTALS % "")[0]
    one = begun(found)
    for at in range(0, 1_200_001, 30_000):
        take(one, at, a=10.0, run=True)
        if at % 120_000 == 90_000:
            one = begun(found, decode_state(encode_state(one.kept)), dict(one.records))
    assert one.kept.totals["energy"].value == pytest.approx(12_000)
    assert one.kept.totals["hours"].value == pytest.approx(1 / 3)


@pytest.mark.parametrize(("stale", "counted"), [("", 0.0), (", b: {topic: p/d/b, stale: 10m}", 3_000.0)])
def test_a_gap_of_the_clock_counts_up_to_a_minute_or_the_longest_stale(
    tmp_path: Path, stale: str, counted: float
) -> None:
    """Nobody evaluated for five minutes, and nothing came of what was said meanwhile."""
    one = begun(rules(tmp_path, TOTALS % stale)[0])
    take(one, 0, a=10.0)
    take(one, 300_000, a=10.0)
    assert one.kept.totals["energy"].value == pytest.approx(counted)


def test_a_tag_is_said_again_after_its_max_silence(tmp_path: Path) -> None:
    found = rules(
        tmp_path,
        "rules: [{name: r, path: p/r, inputs: {a: p/d/a},"
        " tags: [{name: t, expression: a, on_change: true, max_silence: 10s}]}]",
    )[0]
    one = begun(found)
    assert made(take(one, 0, a=1.0), "t") == [(0, 1.0, 192)]
    again = [value for outcome in tick(one, 0, 35_000) for value in made(outcome, "t")]
    assert again == [(10_000, 1.0, 192), (20_000, 1.0, 192), (30_000, 1.0, 192)]
    one = begun(found, decode_state(encode_state(one.kept)))
    assert [value for outcome in tick(one, 35_000, 45_000) for value in made(outcome, "t")] == [(40_000, 1.0, 192)]


SILENT = """
rules:
  - name: r
    path: p/r
    inputs: {a: p/d/a}
    tags:
      - {name: energy, total: a, per: h, alarms: [{name: much, above: 1, on_delay: 50s}]}
      - {name: t, expression: a, on_change: true, max_silence: 30s}
      - {name: u, expression: a + 1, alarms: [{name: high, above: 1, on_delay: 50s}]}
"""


def test_what_nobody_evaluated_is_not_made_up(tmp_path: Path) -> None:
    one = begun(rules(tmp_path, SILENT)[0])
    take(one, 0, a=100.0)
    tick(one, 0, 20_000)
    before = one.kept.totals["energy"].value
    outcome = one.tick(T0 + 24 * HOUR)
    assert one.kept.totals["energy"].value == pytest.approx(before)
    assert made(outcome, "t") == [(24 * HOUR, 100.0, 192)], "said again once"
    assert events(outcome) == [("high", "raised", 24 * HOUR)]


def test_an_input_after_a_long_gap_makes_nothing_up_either(tmp_path: Path) -> None:
    one = begun(rules(tmp_path, SILENT)[0])
    take(one, 0, a=100.0)
    outcome = take(one, 24 * HOUR, a=100.0)
    assert one.kept.totals["energy"].value == pytest.approx(0)
    assert len(made(outcome, "t")) == 1


def test_a_value_that_came_from_the_future_is_told_while_it_hides_others(rule: Rule) -> None:
    one = begun(rule)
    take(one, 59_000, now=0, a=9.0)
    take(one, 1_000, now=1_000, a=1.0)
    assert "58.0 s ahead" in one.refused["a"]
    take(one, 60_000, a=1.0)
    assert not one.refused


def test_values_have_times_of_their_own_that_never_go_back(tmp_path: Path) -> None:
    """Another device's clock is 50 s behind, within the lateness."""
    one = begun(rules(tmp_path, PLANT.replace(", stale: 30s", ""))[0])
    take(one, 0, a=0.0, b=0.0)
    take(one, 50_000, a=1.0)
    times = []
    for number in range(1, 2_500):
        at = number * 20
        times += [time for time, _, _ in made(take(one, at, now=50_000 + at, b=float(number)))]
        if number % 100 == 0:
            times += [time for time, _, _ in made(take(one, 50_000 + at, a=float(number)))]
    assert len(times) == 2_499 + 24
    assert times == sorted(set(times))


def test_a_late_input_counts_at_the_rules_clock_for_tags_and_alarms_alike(tmp_path: Path) -> None:
    one = begun(rules(tmp_path, PLANT.replace("b: {", "c: plant/plc3/power\n      b: {"))[0])
    take(one, 0, a=0.0, b=0.0, c=0.0)
    take(one, 20_000, c=1.0)
    outcome = take(one, 10_000, now=20_000, a=200.0)
    assert made(outcome) == [(20_000, 200.0, 192)]
    assert events(outcome) == [("high", "raised", 20_000)]


def test_what_is_refused_for_its_time_is_told_until_a_good_one_comes(rule: Rule) -> None:
    engine = Engine([rule], LATE, {}, [])
    engine.begin(T0)
    take_message(engine, "dev/plant/plc1/power", encode_tag(Reading("power", T0 + 75_000, 5.0)), T0)
    [told] = engine.refused("plant/rules")
    assert told.startswith("input a is ignored, its last value is 75 s ahead of this machine's clock")
    assert "dev/plant/plc1/power" in told
    take_message(engine, "dev/plant/plc1/power", encode_tag(Reading("power", T0 + 100_000, 5.0)), T0 + 100_000)
    assert engine.refused("plant/rules") == []
    take_message(engine, "dev/plant/plc2/power", encode_tag(Reading("power", T0 + 10_000, 5.0)), T0 + 100_000)
    assert "input b is ignored, its last value is 90 s older" in engine.refused("plant/rules")[0]


def test_an_acknowledgement_amid_a_backlog_leaves_its_events_their_times(tmp_path: Path) -> None:
    one = begun(rules(tmp_path, PLANT.replace(", on_delay: 10s", ""))[0])
    take(one, 0, now=600_000, a=5.0, b=1.0)
    one.ask("", "uneven", Request("acknowledge", by="anna"), T0)
    assert events(take(one, 1_000, now=600_000, a=0.0)) == [("uneven", "cleared", 1_000)]
    assert events(take(one, 2_000, now=600_000, a=5.0)) == [("uneven", "raised", 2_000)]


def test_a_long_text_is_bad(tmp_path: Path) -> None:
    one = begun(
        rules(tmp_path, "rules: [{name: r, path: p/r, inputs: {a: p/d/a}, tags: [{name: t, expression: a}]}]")[0]
    )
    assert made(take(one, 0, a="x" * 32_768), "t") == [(0, "x" * 32_768, 192)]
    assert made(take(one, 1, a="x" * 32_769), "t") == [(1, None, 0)]


def test_an_outbox_is_full_by_its_bytes_as_well() -> None:
    outbox = Outbox([row(number, payload=b"x" * 1_000_000) for number in range(1, 65)], 64)
    assert outbox.full
    outbox.committed([(1, 1)])
    assert not outbox.full
