"""Alarms and derived tags in device files: what is accepted, and what is said of the rest."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.cluster.catalogue import definition
from gateway.config import devices as config
from gateway.config.description import describe
from gateway.config.devices import ConfiguredDevice
from nexus.alarms.definition import (
    Above,
    AlarmDefinition,
    Bad,
    Changed,
    Equals,
    Lost,
    Outside,
    Rate,
    Stale,
    Unchanged,
    When,
)
from nexus.alarms.expression import parse
from nexus.config.alarm_keys import AlarmKeys
from nexus.config.diagnostics import Diagnostics
from nexus.config.keys import DerivedKeys
from nexus.contract.reading import Value
from nexus.process.errors import ConfigError
from tests.unit.test_config import load

HEAD = """devices:
  - name: plc
    protocol: modbus-tcp
    host: plc
    interval: 2s
"""
TAGS = """    tags:
      - {name: temperature, address: "holding:40001:float32"}
      - {name: limit, address: "holding:40003:float32", interval: 10s}
      - {name: running, address: "coil:1"}
      - {name: state, address: "holding:40005:string(8)"}
      - {name: pump 1, address: "coil:2"}
"""


def only(tmp_path: Path, text: str) -> ConfiguredDevice:
    [device] = load(tmp_path, text)
    return device


def alarmed(alarms: str, tag: str = "temperature") -> str:
    return HEAD + TAGS.replace(f"name: {tag},", f"name: {tag}, alarms: [{alarms}],")


def faults(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    return str(caught.value).replace(f"{tmp_path}/", "")


def test_an_alarm_with_all_of_its_keys_is_read(tmp_path: Path) -> None:
    text = alarmed(
        "{name: high, above: 80, deadband: 2, on_delay: 5s, off_delay: 10s, priority: high, text: Bearing hot, "
        "response: Reduce speed, suppressed_by: not running, latched: true, realarm: 30m, auto_shelve: 1h}"
    )
    assert only(tmp_path, text).alarms == (
        AlarmDefinition(
            "high", "temperature", Above(80.0), 2.0, 5.0, 10.0, "high", "Bearing hot", "Reduce speed",
            parse("not running"), True, 1800.0, 3600.0,
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "condition"),
    [
        ("above: limit", Above("limit")),
        ("outside: [10, limit]", Outside(10.0, "limit")),
        ("equals: 3", Equals(3)),
        ("changed: true", Changed()),
        ("rate: 5, over: 10s", Rate(5.0, 10.0)),
        ("unchanged: 5m", Unchanged(300.0)),
        ("stale: 30s", Stale(30.0)),
        ("bad: true, changed: false", Bad()),
        ("when: 'temperature > limit and state == \"RUN\"'", When(parse('temperature > limit and state == "RUN"'))),
    ],
)
def test_each_condition_is_read(tmp_path: Path, keys: str, condition: object) -> None:
    [alarm] = only(tmp_path, alarmed(f"{{name: a, {keys}}}")).alarms
    assert alarm.condition == condition


def test_a_device_has_alarms_of_its_own(tmp_path: Path) -> None:
    text = HEAD + "    alarms: [{name: lost, lost: true, on_delay: 30s}, {name: odd, when: running}]\n" + TAGS
    assert only(tmp_path, text).alarms == (
        AlarmDefinition("lost", "", Lost(), on_delay=30.0),
        AlarmDefinition("odd", "", When(parse("running"))),
    )


def test_alarms_and_derived_tags_come_with_a_template_and_are_shared(tmp_path: Path) -> None:
    tags = "[{name: v, address: 'holding:40001:int16', alarms: [{name: high, above: w}]}, {name: w, expression: v / 2}]"
    text = f"templates:\n  m: {{protocol: modbus-tcp, alarms: [{{name: lost, lost: true}}], tags: {tags}}}\ndevices:\n"
    one, two = load(tmp_path, text + "".join(f"  - {{name: {name}, template: m, host: {name}}}\n" for name in "ab"))
    assert [alarm.name for alarm in one.alarms] == ["lost", "high"]
    assert [mine is others for mine, others in zip(one.alarms, two.alarms, strict=True)] == [True, True]
    assert one.derived[0] is two.derived[0]


@pytest.mark.parametrize(
    ("alarm", "said"),
    [
        ("{name: a, abvoe: 3}", "alarm a: unknown key 'abvoe'; did you mean 'above'?"),
        ("{name: a}", "alarm a: has no condition: write one of above, below, outside"),
        ("{name: a, above: 3, below: 2}", "alarm a: has the conditions above and below: write an alarm for each"),
        ("{name: a, bad: false}", "alarm a: has no condition"),
        ("{name: a, lost: true}", "lost is a condition for alarms of a device, beside its tags: write it there"),
        ("{name: a/b, bad: true}", "the alarm's name contains '/'"),
        ("{name: a, bad: true}, {name: a, above: 3}", "name already used by another alarm here: rename one"),
        ("{above: 3}", "key 'name' is missing"),
        ("high", "'high' is not an alarm: write it like {name: high, above: 80}"),
        ("{name: a, above: limti}", "there is no tag 'limti' here; did you mean 'limit'?"),
        ("{name: a, above: '80'}", "a number has no quotes: write above: 80"),
        ("{name: a, above: true}", "True is not a limit: write a number, or the name of a tag of this device"),
        ("{name: a, above: .inf}", "inf is not a limit"),
        ("{name: a, above: }", "key 'above' has no value"),
        ("{name: a, above: temperature}", "the tag cannot be its own limit"),
        ("{name: a, below: state}", "a limit is a number, and tag state is a text"),
        ("{name: a, outside: [running, 3]}", "a limit is a number, and tag running is a boolean"),
        ("{name: a, outside: 3}", "write the two limits like [10, 80]"),
        ("{name: a, outside: [3, 3]}", "the first limit must be less than the second"),
        (
            "{name: a, outside: [1, 3], deadband: 2}",
            "with more than half of what is between the limits it never clears",
        ),
        ("{name: a, equals: RUN}", "'RUN' can never be: this tag is a number"),
        ("{name: a, equals: [1]}", "a list is not a value"),
        ("{name: a, rate: 3}", "rate needs `over`, like 10s"),
        ("{name: a, above: 3, over: 10s}", "over is for rate: leave it out"),
        ("{name: a, rate: -3, over: 10s}", "rate must be greater than 0"),
        ("{name: a, stale: 2s}", "must be longer than the tag's interval, 2 s"),
        ("{name: a, above: 3, on_delay: -5s}", "'-5s' is not a duration"),
        ("{name: a, above: 3, off_delay: 5}", "5 is not a duration: write it with its unit"),
        ("{name: a, changed: true, on_delay: 5s}", "with on_delay it never calls: leave it out"),
        ("{name: a, above: 3, deadband: -1}", "deadband must be 0.0 or greater"),
        ("{name: a, bad: true, deadband: 1}", "deadband means nothing to bad: leave it out"),
        ("{name: a, above: 3, priority: urgent}", "priority must be 'low', 'medium', 'high' or 'critical'"),
        (f"{{name: a, above: 3, text: {'x' * 501}}}", "text must not be longer than 500 characters"),
        ("{name: a, above: 3, auto_shelve: 8d}", "auto_shelve must not be longer than 7d"),
        ("{name: a, when: 'temperature / 0 > 1'}", "when: this is a division by zero"),
        ("{name: a, when: 'temprature > 1'}", "there is no tag 'temprature' here; did you mean 'temperature'?"),
        (
            "{name: a, when: 'state > 1'}",
            "when: tag state is a text, and a number is needed: compare it, as in state ==",
        ),
        ("{name: a, when: \"limit == 'RUN'\"}", "when: tag limit is a number, and is compared with a text"),
        ("{name: a, when: max(limit, 3) > 2}", "an expression with a comma must be in quotes here, between { and }"),
        ("{name: a, when: state}", "when: this is a text, which is neither true nor false: compare it"),
        ("{name: a, when: 1 > 2}", "when: this names no tag, and so never changes"),
        ("{name: a, above: 3, suppressed_by: stopped}", "suppressed_by: there is no tag 'stopped' here; known: limit"),
    ],
)
def test_what_is_wrong_with_an_alarm_is_said(tmp_path: Path, alarm: str, said: str) -> None:
    found = faults(tmp_path, alarmed(alarm))
    assert found.startswith("plant.yaml:7: device plc, tag temperature")
    assert said in found


@pytest.mark.parametrize(
    ("tag", "alarm", "said"),
    [
        ("running", "above: 3", "above is for numbers, and this tag is a boolean: write it like `equals: true`"),
        ("state", "rate: 3, over: 1s", 'rate is for numbers, and this tag is a text: write it like `equals: "RUN"`'),
        ("running", "equals: 3", "3 can never be: this tag is a boolean"),
        ("state", "equals: 3", "3 can never be: this tag is a text"),
    ],
)
def test_conditions_that_no_value_of_the_tag_can_meet_are_refused(
    tmp_path: Path, tag: str, alarm: str, said: str
) -> None:
    assert said in faults(tmp_path, alarmed(f"{{name: a, {alarm}}}", tag))


@pytest.mark.parametrize(("tag", "value"), [("running", False), ("running", True), ("temperature", 0), ("state", "")])
def test_a_value_that_counts_as_nothing_is_a_condition_too(tmp_path: Path, tag: str, value: Value) -> None:
    [alarm] = only(tmp_path, alarmed(f"{{name: a, equals: {json.dumps(value)}}}", tag)).alarms
    assert alarm.condition == Equals(value)


def test_an_error_in_an_expression_has_a_caret_and_the_line_of_its_key(tmp_path: Path) -> None:
    text = HEAD + "    alarms:\n      - name: odd\n        when: running and temprature > 80\n" + TAGS
    assert faults(tmp_path, text).splitlines() == [
        "plant.yaml:8: device plc, alarm odd: when: there is no tag 'temprature' here; did you mean 'temperature'?",
        "  running and temprature > 80",
        "              ^",
    ]


@pytest.mark.parametrize("alarm", ["above: 3", "stale: 10s"])
def test_conditions_of_tags_are_refused_for_a_device(tmp_path: Path, alarm: str) -> None:
    text = HEAD + f"    alarms: [{{name: a, {alarm}}}]\n" + TAGS
    assert "is a condition for alarms of a tag: write it there" in faults(tmp_path, text)


def test_a_device_has_a_thousand_alarms_at_most(tmp_path: Path) -> None:
    many = ", ".join(f"{{name: a{number}, above: {number}}}" for number in range(1_001))
    assert "device plc: has more than 1,000 alarms: nobody could answer them" in faults(tmp_path, alarmed(many))
    assert len(only(tmp_path, alarmed(many.rpartition(", {")[0])).alarms) == 1_000


DERIVED = """      - {name: half, expression: double / 4, unit: K}
      - {name: double, expression: temperature * 2, deadband: 0.5}
      - {name: volume, total: limit, per: h, unit: m³, alarms: [{name: full, above: 100}]}
      - {name: hours, runtime: running}
      - {name: starts, count: tag("pump 1") and running}
      - {name: mode, expression: state}
"""


def test_derived_tags_are_read_in_the_order_in_which_they_are_calculated(tmp_path: Path) -> None:
    device = only(tmp_path, HEAD + TAGS + DERIVED)
    derived = {tag.name: tag for tag in device.derived}
    assert list(derived).index("double") < list(derived).index("half")
    assert [
        (tag.kind, tag.per, tag.interval, tag.unit) for tag in map(derived.get, ("half", "volume", "hours")) if tag
    ] == [
        ("expression", 1.0, 2.0, "K"),
        ("total", 3600.0, 10.0, "m³"),
        ("runtime", 3600.0, 2.0, "h"),
    ]
    assert derived["double"].report is not None
    assert device.publish_options.units == {"half": "K", "volume": "m³", "hours": "h"}
    assert [(alarm.tag, alarm.name) for alarm in device.alarms] == [("volume", "full")]
    assert device.tag_names[:5] == ["temperature", "limit", "running", "state", "pump 1"]
    assert set(device.tag_names[5:]) == derived.keys()


def test_derived_tags_are_described_like_others(tmp_path: Path) -> None:
    described = describe(only(tmp_path, HEAD + TAGS + DERIVED), "line1", "gw", 0).tags
    assert {tag.name: tag.address for tag in described}["starts"] == 'count: tag("pump 1") and running'


def test_gateways_agree_on_a_device_only_with_the_same_alarms_and_derived_tags(tmp_path: Path) -> None:
    plain, alarm, derived = (
        definition(only(tmp_path, text))
        for text in (HEAD + TAGS, alarmed("{name: a, when: running and limit > 3}"), HEAD + TAGS + DERIVED)
    )
    assert len({plain, alarm, derived}) == 3
    assert "running and limit > 3" in alarm
    assert "frozenset" not in alarm, "its order is another in each process"


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("{name: x, expression: x + 1}", "is derived from itself: x ← x"),
        ("{name: x, expression: y + 1}\n      - {name: y, total: x, per: h}", "is derived from itself: "),
        ("{name: x, expression: temprature * 2}", "did you mean 'temperature'?"),
        ("{name: x, expression: state * 2}", "tag state is a text, and a number is needed"),
        ("{name: x, expression: 3}", "must be a text: put it in quotes"),
        ("{name: x, expression: min(limit, 3)}", "an expression with a comma must be in quotes here"),
        ("{name: x, expression: '3'}", "this names no tag, and so never changes"),
        ("{name: x, expression: limit, address: 'coil:1'}", "address is for tags that are read from the device"),
        ("{name: x, expression: limit, writable: true}", "writable is for tags that are read from the device"),
        ("{name: x, expression: limit, total: limit}", "is derived by expression and total: write a tag for each"),
        ("{name: x, total: limit}", "total needs `per`, the time that its rate is given for: s, min or h"),
        ("{name: x, runtime: running, per: h}", "total needs `per`"),
        ("{name: x, total: limit, per: day}", "per must be 's', 'min' or 'h'"),
        ("{name: x, total: running, per: h}", "this is true or false, and no rate: write `runtime`"),
        ("{name: x, count: state}", "this is a text, which is neither true nor false"),
        ("{name: x, expression: limit, unti: K}", "unknown key 'unti'; did you mean 'unit'?"),
        ("{name: limit, expression: temperature}", "two tags are on the topic dev/plc/limit: rename one"),
        ("{name: x, expression: limit, max_silence: 1m}", "max_silence needs on_change or deadband"),
    ],
)
def test_what_is_wrong_with_a_derived_tag_is_said(tmp_path: Path, tag: str, said: str) -> None:
    assert said in faults(tmp_path, f"{HEAD}{TAGS}      - {tag}\n")


def test_what_is_wrong_with_one_tag_is_not_said_of_those_derived_from_it(tmp_path: Path) -> None:
    wrong = HEAD + TAGS.replace("40003:float32", "40003:float33") + "      - {name: x, expression: limit * 2}\n"
    assert len(faults(tmp_path, wrong).splitlines()) == 1


def test_a_device_needs_a_tag_of_its_own(tmp_path: Path) -> None:
    text = HEAD + "    tags: [{name: a, expression: b}, {name: b, expression: a}]\n"
    assert "all of them are derived: at least one must have an address" in faults(tmp_path, text)


def test_a_derived_tag_has_not_the_topic_of_another_device(tmp_path: Path) -> None:
    other = "  - {name: x, path: plc/x, protocol: modbus-tcp, host: h, tags: [{name: a, address: 'coil:1'}]}\n"
    text = HEAD + TAGS + "      - {name: x, expression: limit}\n" + other
    assert "tag x has the topic of device x: rename the tag or that path" in faults(tmp_path, text)


SCALARS = st.sampled_from(
    ["temperature", "state", "half", "x", "", "80", "5s", "a > 1", "bit(running, 3)", "min(", "#", "h"]
)
ANYTHING = st.recursive(
    SCALARS | st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3),
    max_leaves=6,
)
KEYS = [*AlarmKeys.model_fields, *DerivedKeys.model_fields, "address", "scale"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    alarm=st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=6) | ANYTHING,
    derived=st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=6),
    own=ANYTHING,
)
def test_whatever_an_alarm_or_a_derived_tag_holds_it_is_accepted_or_refused(
    tmp_path: Path, alarm: object, derived: object, own: object
) -> None:
    tags = [
        {"name": "temperature", "address": "holding:40001:float32", "alarms": [alarm, {"name": "b", "when": "x > 1"}]},
        {"name": "state", "address": "holding:40010:string(8)", "alarms": own},
        {"name": "half", "expression": "temperature / 2"},
        derived,
    ]
    device = {"name": "plc", "protocol": "modbus-tcp", "host": "h", "tags": tags, "alarms": own}
    (tmp_path / "plant.yaml").write_text(json.dumps({"devices": [device]}))
    diagnostics = Diagnostics()
    with suppress(ConfigError):
        config.read(tmp_path / "plant.yaml", {}, diagnostics=diagnostics)
    assert "this is a fault of" not in str(diagnostics)
