"""A shared line, half of whose units are silent: the living go on (`tests.benchmarks.half_dead` at its real size)."""

import asyncio
from typing import Any

import pytest

from tests.benchmarks.half_dead import share_of_readings


@pytest.mark.alone
def test_the_living_get_their_readings() -> None:
    async def both() -> list[dict[str, Any]]:
        return await asyncio.gather(
            *(
                share_of_readings(8, 4.0, gives_up=gives_up, warm_up=4.0, interval=0.2, timeout=0.6)
                for gives_up in (0.0, 0.2)
            )
        )

    for found in asyncio.run(both()):
        assert found["living_share_least"] >= 0.9
        assert found["living_share_mean"] >= 0.95
