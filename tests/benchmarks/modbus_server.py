"""Modbus TCP devices that answer every read with the same registers, for next to nothing: what is measured is the client."""

import asyncio
import struct
import sys

_REQUEST = struct.Struct(">HHHBBHH")  # transaction, protocol, length, unit, function, start, count
_HEAD = struct.Struct(">HHHBBB")  # the same up to the unit, function, bytes


class _Device(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for number, _, _, unit, function, _, count in _REQUEST.iter_unpack(data):
            self._transport.write(_HEAD.pack(number, 0, 3 + 2 * count, unit, function, 2 * count) + b"\x42\xa9" * count)


async def main(port: int, devices: int) -> None:
    """Serves on so many ports from `port` on until it is ended; says when all listen."""
    loop = asyncio.get_running_loop()
    for number in range(devices):
        await loop.create_server(_Device, "127.0.0.1", port + number)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
