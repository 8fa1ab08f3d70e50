"""Bytes to packets. Pure: `mqtt5` parses them; packets that it accepts although no broker may send them are refused."""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct

from mqtt5 import DisconnectReasonCode, Packet, read

from nexus.mqtt import reasons, text
from nexus.mqtt.errors import PacketError

LARGEST = 2 * 1024 * 1024  # bytes; announced to the broker, which then sends no larger packets
_CODES = DisconnectReasonCode
_PUBLISH, _PUBACK = 3, 0x40
_ACK, _CODED_ACK = Struct(">HH"), Struct(">HHB")  # first byte and length, packet id, reason code
# Kind and flags: CONNACK, PUBLISH of QoS 0 and 1, PUBACK, SUBACK, UNSUBACK, PINGRESP, DISCONNECT.
_FROM_A_BROKER = frozenset((0x20, 0x30, 0x31, 0x32, 0x33, 0x3A, 0x3B, 0x40, 0x90, 0xB0, 0xD0, 0xE0))
_PUBACK_CODES = frozenset(reasons.TITLES)
_OF_A_CLIENT = frozenset((1, 5, 6, 7, 8, 10, 12, 15))  # or of QoS 2, or of an authentication


@dataclass(frozen=True, slots=True)
class Acks:
    """Consecutive PUBACKs with the same reason code, and without properties."""

    packet_ids: list[int]
    code: int = 0


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A complete PUBLISH whose text is not valid UTF-8; `packet_id` is None for QoS 0."""

    packet_id: int | None
    reason: str


class PacketReader:
    """Cuts a stream of bytes into packets, however it was divided. Of no use after a PacketError."""

    def __init__(self) -> None:
        self._begun = bytearray()  # an incomplete packet
        self._wanted = 0  # bytes needed before it can be complete

    def feed(self, data: bytes) -> Iterator[Acks | Packet | Unreadable]:
        """The packets that are whole with `data`, each once. Raises PacketError.

        PUBACKs come together, at a tenth of the cost: a gateway reads little else.
        """
        if self._begun:
            self._begun += data
            if len(self._begun) < self._wanted:
                return
            data = bytes(self._begun)
            self._begun.clear()
        view, at, end, is_ascii = memoryview(data), 0, len(data), data.isascii()
        while at < end:
            first = data[at]
            if first == _PUBACK and (acks := _acks(view[at:])) is not None:
                at += len(acks.packet_ids) * (2 + data[at + 1])
                yield acks
                continue
            if first not in _FROM_A_BROKER:
                raise _forbidden(first)
            if not is_ascii and first >> 4 == _PUBLISH and (found := text.unreadable(data, at)) is not None:
                packet_id, at, reason = found
                yield Unreadable(packet_id, reason)
                continue
            try:
                packet, size = read(view[at:])
            except IndexError:
                self._keep(data, at)
                return
            except BaseException as error:
                raise _malformed(error, first) from None
            if size > LARGEST:
                raise _too_large(size)
            at += size
            yield packet

    def _keep(self, data: bytes, at: int) -> None:
        """Keeps the rest until its packet can be complete."""
        size = _size(data, at)
        if size is not None and size > LARGEST:
            raise _too_large(size)
        self._begun += data[at:]
        self._wanted = size or 0


def _acks(data: memoryview) -> Acks | None:
    """None for one that is longer, incomplete, or has an invalid reason code: the parser decides."""
    packet_ids: list[int] = []
    if len(data) >= 4 and data[1] == 2:
        for head, packet_id in _ACK.iter_unpack(data[: len(data) & ~3]):
            if head != 0x4002:
                break
            packet_ids.append(packet_id)
        return Acks(packet_ids)
    if len(data) >= 5 and data[1] == 3 and (code := data[4]) in _PUBACK_CODES:
        for head, packet_id, other in _CODED_ACK.iter_unpack(data[: len(data) // 5 * 5]):
            if head != 0x4003 or other != code:
                break
            packet_ids.append(packet_id)
        return Acks(packet_ids, code)
    return None


def _malformed(error: BaseException, first: int) -> BaseException:
    """The error for what the parser raised. For invalid UTF-8 that is a Rust panic, which is not an Exception."""
    if isinstance(error, ValueError):
        return PacketError(_CODES.MALFORMED_PACKET, f"one that begins with {first:#04x}: {error}")
    if type(error).__name__ == "PanicException":
        return PacketError(_CODES.MALFORMED_PACKET, f"one that begins with {first:#04x}: text that is not UTF-8")
    return error


def _forbidden(first: int) -> PacketError:
    """The error for a first byte that no broker may send to us, who subscribe with QoS 1 and never re-authenticate."""
    what = f"one that begins with {first:#04x}"
    kind, flags = first >> 4, first & 15
    ours = kind in _OF_A_CLIENT or (kind == _PUBLISH and flags & 6 == 4)
    return PacketError(_CODES.PROTOCOL_ERROR if ours else _CODES.MALFORMED_PACKET, what)


def _size(data: bytes, at: int) -> int | None:
    """The size of the packet at `at`; None while even that is incomplete."""
    found = text.variable(data, at + 1)
    return None if found is None else found[1] - at + found[0]


def _too_large(size: int) -> PacketError:
    return PacketError(_CODES.PACKET_TOO_LARGE, f"one of {size} bytes; {LARGEST} are the most")
