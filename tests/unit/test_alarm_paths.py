"""A device path below which no alarm is known."""

import pytest

from nexus.cli.alarm_paths import is_below, unknown

DEVICES = ["plant/line1/press", "plant/line1/oven", "plant/line2/oven", "hall/north/pump"]


@pytest.mark.parametrize(
    ("path", "nearest"),
    [("line1", "plant/line1"), ("plant/line1/pres", "plant/line1/press"), ("plant/hall/pump", "hall/north/pump")],
)
def test_the_nearest_paths_are_named(path: str, nearest: str) -> None:
    said = unknown(path, DEVICES)

    assert repr(path) in said
    assert said.partition(" are ")[2].startswith(nearest)


def test_a_plant_without_alarms_is_said() -> None:
    assert "nor of any other" in unknown("line1", [])


def test_a_path_has_what_is_below_it_but_not_what_only_begins_like_it() -> None:
    assert [is_below(device, "plant/line1") for device in DEVICES] == [True, True, False, False]
    assert is_below("plant/line1", "plant/line1")
    assert not is_below("plant/line10", "plant/line1")
