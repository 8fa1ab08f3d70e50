"""Topics on which only gateways may speak."""

import pytest

from console.live.standing_in import standing_in

PATHS = ["plant/line1/plc"]
TAGS = {"dev/plant/line1/plc/count", "dev/well/7/level"}


@pytest.mark.parametrize(
    "topic",
    [
        "dev/plant/line1/plc/count",
        "dev/plant/line1/plc/other",
        "dev/plant/line1/plc/count/x",
        "dev/plant/line1/plc/count/x/y",
        "dev/plant/line1/plc",
        "dev/plant/line1",
        "dev/plant",
        "dev/well/7/level",
        "dev/well/7/level/x",
    ],
)
def test_at_above_and_below_a_device_or_a_tag_gateways_speak(topic: str) -> None:
    assert standing_in([topic], PATHS, TAGS) == [topic]


@pytest.mark.parametrize("topic", ["dev/plant/line1/plc2/count", "dev/plant/weather", "dev/well/7/pump", "dev/a"])
def test_beside_them_others_may(topic: str) -> None:
    assert standing_in([topic], PATHS, TAGS) == []
