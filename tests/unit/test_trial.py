"""Alarms over a history: what they would have raised."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.config import devices
from gateway.tools.trial import Trial
from gateway.tools.trial_report import length, line, summary
from nexus.cli.alarm_history import moment
from nexus.contract.reading import Reading, Value

T = 1_703_289_600_000
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def trial(tmp_path: Path, alarms: str, tags: str = "", own: str = "") -> Trial:
    file = tmp_path / "plant.yaml"
    file.write_text(
        f"""
devices:
  - name: plc
    path: plant/plc
    protocol: modbus-tcp
    host: 127.0.0.1
    {own}
    tags:
      - {{name: t, address: "holding:40001:float32", alarms: [{alarms}]}}
      - {{name: u, address: "holding:40003:float32"}}
      {tags}
"""
    )
    [configured] = devices.load(file)
    return Trial(configured)


def replayed(one: Trial, seconds: int, **values: list[Value]) -> list[str]:
    """A value a second; the time that follows has none."""
    history = [
        Reading(tag, T + second * 1000, value)
        for second in range(max(map(len, values.values())))
        for tag, given in values.items()
        for value in given[second : second + 1]
    ]
    found = one.replay(history, T + seconds * 1000)
    return [line("plant/plc", occurrence).partition("  ")[2] for occurrence in found]


def test_each_occurrence_is_told_with_its_length(tmp_path: Path) -> None:
    one = trial(tmp_path, "{name: high, above: 80, deadband: 2, priority: high}")

    assert replayed(one, 60, t=[50, 81.5, 79, 70, 90, 60]) == [
        "plant/plc/t/high (high): 81.5, limit 80, for 2 s",
        "plant/plc/t/high (high): 90, limit 80, for 1 s",
    ]
    assert one.readings == 6


def test_a_delay_ends_between_readings(tmp_path: Path) -> None:
    one = trial(tmp_path, "{name: high, above: 80, on_delay: 500ms}")

    assert replayed(one, 60, t=[90, 90, 50]) == ["plant/plc/t/high (medium): 90, limit 80, for 1.5 s"]


def test_what_stands_at_the_end_is_told_last(tmp_path: Path) -> None:
    one = trial(tmp_path, "{name: high, above: 80}, {name: very high, above: 90}")

    assert replayed(one, 3600, t=[85, 95, 85]) == [
        "plant/plc/t/very high (medium): 95, limit 90, for 1 s",
        "plant/plc/t/high (medium): 85, limit 80, still stands",
    ]
    assert one.sums["t", "high"].longest == 3_600_000


def test_what_is_suppressed_all_the_time_calls_nobody(tmp_path: Path) -> None:
    one = trial(tmp_path, "{name: high, above: 80, suppressed_by: u > 0}")

    assert replayed(one, 60, t=[90, 50, 90, 90, 50], u=[1, 1, 1, 0, 0]) == [
        "plant/plc/t/high (medium): 90, limit 80, for 2 s"
    ]
    assert (one.sums["t", "high"].raised, one.sums["t", "high"].hidden) == (1, 1)


def test_an_alarm_that_latches_or_calls_again_is_answered_at_once(tmp_path: Path) -> None:
    one = trial(tmp_path, "{name: high, above: 80, latched: true, realarm: 1s}")

    assert len(replayed(one, 60, t=[90, 90, 90, 50, 90, 50])) == 2


def test_chattering_is_counted_and_shelved(tmp_path: Path) -> None:
    one = trial(tmp_path, "{name: high, above: 80, auto_shelve: 1h}")

    assert len(replayed(one, 60, t=[90, 50] * 20)) == 3
    assert (one.sums["t", "high"].raised, one.sums["t", "high"].hidden) == (3, 17)
    assert one.alarms.chattering["t", "high"] > 0


def test_the_numbers_of_a_database_are_true_and_false_again(tmp_path: Path) -> None:
    one = trial(tmp_path, "", '- {name: trip, address: "coil:1:bool", alarms: [{name: tripped, equals: true}]}')

    assert replayed(one, 60, trip=[0.0, 1.0, None, 0.0]) == ["plant/plc/trip/tripped (medium): true, for 2 s"]


def test_derived_tags_are_calculated_anew(tmp_path: Path) -> None:
    one = trial(tmp_path, "", '- {name: sum, expression: "t + u", alarms: [{name: high, above: 10}]}')

    assert one.tags == {"t", "u"}
    assert replayed(one, 60, t=[1, 9], u=[2, 3]) == ["plant/plc/sum/high (medium): 12, limit 10, still stands"]


def test_only_the_tags_that_alarms_look_at_are_needed(tmp_path: Path) -> None:
    assert trial(tmp_path, "{name: high, above: 80}").tags == {"t"}
    assert trial(tmp_path, "{name: high, above: u}").tags == {"t", "u"}


def test_whether_a_device_was_lost_is_not_told(tmp_path: Path) -> None:
    one = trial(tmp_path, "{name: high, above: 80}", own="alarms: [{name: lost, lost: true}]")

    assert one.sums.keys() == {("t", "high")}


def summed(one: Trial, history: timedelta, asked: timedelta) -> list[str]:
    """The summary of 12 high alarms and a low one at the beginning of a history."""
    values = [5, *[90, 50] * 12]
    readings = [Reading("t", T + second * 1000, value) for second, value in enumerate(values)]
    last = Reading("t", T + round(history.total_seconds() * 1000), 50)
    end = datetime.fromtimestamp(T / 1000, UTC) + history
    list(one.replay([*readings, last], round(end.timestamp() * 1000)))
    return summary([one], end - asked, end)


def test_the_summary_has_the_most_frequent_first_and_the_load(tmp_path: Path) -> None:
    one = trial(tmp_path, "{name: high, above: 80}, {name: low, below: 10}, {name: never, above: 1000}")

    lines = summed(one, timedelta(days=1), timedelta(days=1))

    assert [row.split()[-1] for row in lines[1:5]] == [
        "alarm",
        "plant/plc/t/high",
        "plant/plc/t/low",
        "plant/plc/t/never",
    ]
    assert lines[2].split()[:3] == ["12", "12.0", "1"]
    assert "13 alarms, from 26 readings of 1 d" in lines
    assert any("0.09 (manageable)" in one for one in lines)
    assert any("at most: 13 (a flood" in one for one in lines)


def test_rates_are_by_the_history_that_there_is(tmp_path: Path) -> None:
    one = trial(tmp_path, "{name: high, above: 80}, {name: low, below: 10}")

    lines = summed(one, timedelta(days=2), timedelta(days=30))

    assert lines[2].split()[:2] == ["12", "6.0"]
    assert "13 alarms, from 26 readings of 2 d, not of the 30 d asked for" in lines
    assert any("0.05 (manageable)" in one for one in lines)


def test_less_than_a_day_is_too_short_to_judge(tmp_path: Path) -> None:
    one = trial(tmp_path, "{name: high, above: 80}, {name: low, below: 10}")

    lines = summed(one, timedelta(minutes=4), timedelta(days=30))

    assert lines[2].split()[:2] == ["12", "–"]
    assert "5.0%" in lines[2], "12 s of 4 min"
    assert "13 alarms, from 26 readings of 4 min, not of the 30 d asked for" in lines
    assert any("too short to judge" in one for one in lines)
    assert not any("manageable" in one for one in lines)


def test_what_stands_after_the_last_reading_has_no_share_of_the_time(tmp_path: Path) -> None:
    one = trial(tmp_path, "{name: high, above: 80}")
    replayed(one, 86_400, t=[50, 50, 90, 90, 90])
    start = datetime.fromtimestamp(T / 1000, UTC)

    assert "50.0%" in summary([one], start, start + timedelta(days=1))[2]


def test_a_history_without_readings_is_no_proof(tmp_path: Path) -> None:
    lines = summary([trial(tmp_path, "{name: high, above: 80}")], NOW, NOW + timedelta(days=1))

    assert "no readings" in lines[-1]


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (850, "850 ms"),
        (12_500, "12.5 s"),
        (60_000, "1 min"),
        (250_000, "4 min 10 s"),
        (11_100_000, "3 h 5 min"),
        (187_200_000, "2 d 4 h"),
    ],
)
def test_lengths_read_well(ms: int, text: str) -> None:
    assert length(ms) == text


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("7d", NOW - timedelta(days=7)),
        ("0s", NOW),
        ("2026-11-20T06:30Z", datetime(2026, 11, 20, 6, 30, tzinfo=UTC)),
        ("2026-11-20T06:30+01:00", datetime(2026, 11, 20, 5, 30, tzinfo=UTC)),
    ],
)
def test_a_moment_is_a_time_or_an_age(text: str, time: datetime) -> None:
    assert moment(text, NOW) == time


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "7", "9999-12-31T23:59:59-23:00"])
def test_what_is_no_time_is_refused_with_what_would_be(text: str) -> None:
    with pytest.raises(ValueError, match="2026-11-20"):
        moment(text, NOW)
