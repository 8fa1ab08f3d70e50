"""A shared line, half of whose units are silent: the living go on (`tests.benchmarks.half_dead` at its real size)."""

import asyncio

import pytest

from tests.benchmarks.half_dead import share_of_readings


@pytest.mark.parametrize("gives_up", [0.0, 0.2])
def test_the_living_get_their_readings(gives_up: float) -> None:
    found = asyncio.run(share_of_readings(8, 4.0, warm_up=4.0, interval=0.2, timeout=0.6, gives_up=gives_up))
    assert found["living_share_least"] >= 0.9
    assert found["living_share_mean"] >= 0.95
