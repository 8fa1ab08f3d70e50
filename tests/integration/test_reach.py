"""Every driver says why a device cannot be reached."""

import asyncio

import pytest

from gateway.drivers.driver import Device, DeviceError
from gateway.drivers.modbus import driver as modbus
from gateway.drivers.opcua import driver as opcua
from gateway.drivers.s7 import driver as s7
from tests.parts import free_port


@pytest.mark.parametrize(("host", "said"), [("127.0.0.1", "refused: "), ("no-such-host.invalid", "unknown host: ")])
def test_drivers_say_it(host: str, said: str) -> None:
    port = free_port()
    keys: dict[str, object] = {"host": host, "port": port}
    plc = Device("plc", "plc", "s7", 2.0, s7.Settings.model_validate(keys), ())
    press = Device("press", "press", "opcua", 2.0, opcua.Settings(endpoint=f"opc.tcp://{host}:{port}"), ())

    async def connect(device: Device, driver: object) -> None:
        async with driver.connect(device):  # type: ignore[attr-defined]
            pass

    meter = Device("meter", "meter", "modbus-tcp", 2.0, modbus.TcpSettings.model_validate(keys), ())
    for device, driver in ((plc, s7), (press, opcua), (meter, modbus)):
        with pytest.raises(DeviceError) as caught:
            asyncio.run(connect(device, driver))
        assert said in str(caught.value)
        assert "Errno" not in str(caught.value)
