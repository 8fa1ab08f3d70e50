"""Tags that are found while people type."""

from datetime import UTC, datetime

import pytest

from console.database import Database
from console.historian.catalogue import Catalogue, page
from nexus.contract.description import TagDescription

STORED = ["dev/Plant/line1/flow", "dev/Plant/line1/level", "dev/Plant/line2/flow"]
DESCRIBED = {
    "dev/Plant/line1/level": TagDescription("level", "holding:1", unit="m³"),
    "dev/Plant/line3/speed": TagDescription("speed", "holding:2", unit="rpm"),
}


@pytest.fixture
async def catalogue() -> Catalogue:
    one = Catalogue(Database("postgresql://127.0.0.1:1/nowhere", 1, 1))
    one.take(dict.fromkeys(STORED, datetime(2026, 11, 26, tzinfo=UTC)))
    return one


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("FLOW plant", [STORED[0], STORED[2]]),
        ("line1 m³", [STORED[1]]),
        ("speed", ["dev/Plant/line3/speed"]),
        ("line3 RPM", ["dev/Plant/line3/speed"]),
        ("line3 flow", []),
        ("", [*STORED, "dev/Plant/line3/speed"]),
    ],
)
async def test_all_words_are_in_the_topic_or_its_unit(catalogue: Catalogue, words: str, found: list[str]) -> None:
    assert catalogue.search(words.split(), "", DESCRIBED) == found


async def test_of_a_device_are_those_below_its_path(catalogue: Catalogue) -> None:
    assert catalogue.search([], "dev/Plant/line1/", DESCRIBED) == STORED[:2]


def test_pages_follow_each_other_until_the_end() -> None:
    assert page(STORED, "", 2) == (STORED[:2], STORED[1])
    assert page(STORED, STORED[1], 2) == (STORED[2:], None)
    assert page(STORED, "dev/Plant/line1/g", 2) == (STORED[1:], None)
