"""Sets what a simulated Modbus device holds, as a program beside the gateway would."""

import socket
import struct


class ModbusWriter:
    """Writes 16-bit holding registers, one request a call."""

    def __init__(self, port: int, unit: int = 1) -> None:
        self._port, self._unit = port, unit

    def set(self, register: int, value: int) -> None:
        with socket.create_connection(("127.0.0.1", self._port), 5) as stream:
            stream.sendall(struct.pack(">HHHBBHH", 1, 0, 6, self._unit, 6, register, value))
            answer = b""
            while len(answer) < 12:
                some = stream.recv(12 - len(answer))
                assert some, "the simulator hung up"
                answer += some
        assert answer[7] == 6, "the simulator refuses the write"
