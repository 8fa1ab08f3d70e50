"""The keys of Modbus devices, and where they lead."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from gateway.config.host import Host
from gateway.drivers.modbus.address import Order
from gateway.drivers.modbus.wire import Serial, Tcp
from nexus.process.duration import Seconds


def _port(text: str) -> str:
    """A URL would have the serial library connect to hosts, or write files."""
    if not text.startswith("/dev/") or ".." in text.split("/"):
        raise ValueError(f"{text!r} is not a serial port: write its path, like /dev/ttyUSB0")
    return text


class _Common(BaseModel):
    """What all Modbus devices can be told."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    unit: int = Field(1, ge=0, le=255)
    addressing: Literal["modicon", "zero", "one"] = "modicon"
    word_order: Order = "big"
    byte_order: Order = "big"
    request_delay: Annotated[Seconds, Field(ge=0)] = 0.0
    max_registers: int = Field(125, ge=1, le=125)
    max_bits: int = Field(2000, ge=1, le=2000)
    gap: int = Field(8, ge=0, le=124)


class TcpSettings(_Common):
    """`modbus-tcp`."""

    host: Host
    port: int = Field(502, ge=1, le=65535)
    transaction_ids: Literal["echoed", "zero"] = "echoed"

    @property
    def where(self) -> Tcp | Serial:
        return Tcp(self.host, self.port, numbered=self.transaction_ids == "echoed")


class RtuTcpSettings(_Common):
    """`modbus-rtu-tcp`: a converter that passes serial frames through."""

    host: Host
    port: int = Field(ge=1, le=65535)

    @property
    def where(self) -> Tcp | Serial:
        return Tcp(self.host, self.port, rtu=True, numbered=False)


class RtuSettings(_Common):
    """`modbus-rtu`: a serial port of this machine."""

    unit: int = Field(1, ge=0, le=247)
    serial: Annotated[str, AfterValidator(_port)]
    baudrate: int = Field(9600, ge=300, le=4_000_000)
    data_bits: Literal[7, 8] = 8
    parity: Literal["none", "even", "odd"] = "even"
    stop_bits: Literal[1, 2] = 1

    @property
    def where(self) -> Tcp | Serial:
        return self._port

    @property
    def silence(self) -> float:
        """Seconds between two frames."""
        return self._port.silence

    @property
    def _port(self) -> Serial:
        return Serial(self.serial, self.baudrate, self.data_bits, self.parity, self.stop_bits)


Settings = TcpSettings | RtuTcpSettings | RtuSettings
