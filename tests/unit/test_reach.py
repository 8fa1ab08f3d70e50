"""Refused, unknown, unreachable and silent are told apart, whatever the error came in."""

import asyncio
import errno
import socket
from collections.abc import Callable

import pytest

from gateway.driver import Device, DeviceError
from gateway.drivers import modbus, opcua, reach, s7
from tests.parts import free_port


def caused(error: BaseException) -> BaseException:
    """As libraries wrap it."""
    try:
        try:
            raise error
        except BaseException as inner:
            raise RuntimeError(f"Connection failed: {inner}") from inner
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed"), "refused: "),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1), [Errno 111] …"), "refused: "),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "unknown host: "),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "unreachable: "),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "unreachable: "),
        (TimeoutError(), "no answer in time: "),
        (OSError(errno.ETIMEDOUT, "Connection timed out"), "no answer in time: "),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "it hung up at once: "),
        (OSError(errno.EMFILE, "Too many open files"), "this process has no descriptors left"),
    ],
)
@pytest.mark.parametrize("wrapped", [lambda error: error, caused], ids=["itself", "wrapped"])
def test_each_is_told_apart(error: BaseException, said: str, wrapped: Callable[[BaseException], BaseException]) -> None:
    assert (reach.reason(wrapped(error)) or "").startswith(said)


def test_what_is_something_else_is_left_to_whoever_asks() -> None:
    assert reach.reason(ValueError("no")) is None


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
