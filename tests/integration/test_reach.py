"""Every driver says why a device cannot be reached."""

import asyncio
from typing import Any

import pytest

from gateway.drivers.driver import Device, DeviceError
from gateway.drivers.modbus import driver as modbus
from gateway.drivers.modbus.settings import TcpSettings
from gateway.drivers.opcua import driver as opcua
from gateway.drivers.opcua.settings import Settings as OpcuaSettings
from gateway.drivers.s7 import driver as s7
from gateway.drivers.s7.settings import Settings as S7Settings
from tests.parts import free_port


@pytest.mark.parametrize(("host", "said"), [("127.0.0.1", "refused: "), ("no-such-host.invalid", "unknown host: ")])
def test_drivers_say_it(host: str, said: str) -> None:
    port = free_port()
    keys: dict[str, object] = {"host": host, "port": port}
    plc = Device("plc", "plc", "s7", 2.0, S7Settings.model_validate(keys), ())
    press = Device("press", "press", "opcua", 2.0, OpcuaSettings(endpoint=f"opc.tcp://{host}:{port}"), ())

    async def connect(device: Any, driver: Any) -> None:
        async with driver.connect(device):
            pass

    meter = Device("meter", "meter", "modbus-tcp", 2.0, TcpSettings.model_validate(keys), ())
    for device, driver in ((plc, s7), (press, opcua), (meter, modbus)):
        with pytest.raises(DeviceError) as caught:
            asyncio.run(connect(device, driver))
        assert said in str(caught.value)
        assert "Errno" not in str(caught.value)
