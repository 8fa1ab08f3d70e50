"""The gateway's pages, while device files change."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

from gateway.config.devices import ConfiguredDevice
from gateway.config.schema import BreakerKeys
from gateway.delivery.message import Outlet
from gateway.drivers.driver import Device
from gateway.http import Board


def test_who_waits_for_the_page_of_a_device_that_goes_gets_it() -> None:
    one = ConfiguredDevice(
        Device("plc", "plc", "test", 1.0, None, ()),
        cast(Any, SimpleNamespace()),
        BreakerKeys(),
        Outlet("plc", "tag", {}),
    )

    async def scenario() -> None:
        board = Board((one,))
        waiting = asyncio.create_task(board._pages["plc"].body())
        board.reload(())
        assert json.loads(await waiting)["name"] == "plc"

    asyncio.run(scenario())
