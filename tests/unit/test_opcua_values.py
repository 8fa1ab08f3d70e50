"""What is taken of what a server says: the clock that is believed for a value that holds on, and the value."""

import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua import ua_binary

from gateway.drivers.driver import Tag
from gateway.drivers.opcua import driver as opcua
from gateway.drivers.opcua import values as opcua_values
from gateway.drivers.opcua.address import Address
from gateway.drivers.opcua.values import Clock, server_time
from nexus.contract.reading import Quality, Reading

assert opcua.DRIVER  # with it come the limits that the library lacks

NOW = datetime(2026, 7, 1, tzinfo=UTC)


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


@pytest.mark.parametrize(
    ("clock", "said", "expected"),
    [
        ("source", NOW - timedelta(seconds=9), NOW - timedelta(seconds=9)),
        ("server", (NOW - timedelta(seconds=9)).replace(tzinfo=None), NOW - timedelta(seconds=9)),
        ("source", NOW + timedelta(days=5000), NOW),
        ("server", datetime(1970, 1, 1, tzinfo=UTC), NOW),
        ("source", None, NOW),
        ("gateway", NOW - timedelta(seconds=9), NOW),
    ],
)
def test_a_server_whose_clock_cannot_be_right_is_not_asked_for_the_time(
    clock: Clock, said: datetime | None, expected: datetime
) -> None:
    data = ua.DataValue(ua.Variant(1.0), ServerTimestamp=said)
    assert server_time(data, clock, ms(NOW)) == ms(expected)


def read(value: Any) -> tuple[Reading, list[str]]:
    why: list[str] = []
    return opcua_values.reading(Tag("t", Address("s=t")), ua.DataValue(ua.Variant(value)), "gateway", why.append), why


@pytest.mark.parametrize("value", ["x" * 65_537, b"x" * 32_769, ua.LocalizedText("x" * 65_537)])
def test_a_text_that_no_message_should_carry_is_bad(value: Any) -> None:
    reading, [why] = read(value)
    assert (reading.value, reading.quality) == (None, Quality.BAD)
    assert "at most 65,536 are published" in why


def test_texts_of_every_kind_are_read() -> None:
    values = ["x" * 65_536, b"\1\2", ua.LocalizedText("neu"), ua.LocalizedText(None)]
    assert [read(value)[0].value for value in values] == ["x" * 65_536, "0102", "neu", None]


@pytest.mark.parametrize("make", [str, ua.LocalizedText, lambda text: ua.QualifiedName(text, 1)])
def test_a_text_of_a_server_that_knows_no_utf_8_is_latin_1(make: Callable[[str], Any]) -> None:
    """The library gives each byte that is no UTF-8 as half a surrogate pair, which no message can carry."""
    for sent, text in ((b"\xb0C", "°C"), ("°C µ".encode(), "°C µ"), (b"\xed\xa0\x80", "í\xa0\x80")):
        value = read(make(sent.decode("utf-8", "surrogateescape")))[0].value
        assert value in (text, f"1:{text}")


def test_an_array_of_nothing_takes_no_time_and_no_memory() -> None:
    """Twenty bytes that would become two thousand million elements."""
    hostile = bytes([0x80]) + struct.pack("<i", 2**31 - 1)
    with pytest.raises(ua.UaError, match="nulls"):
        ua_binary.variant_from_binary(ua.utils.Buffer(hostile))
    assert ua_binary.variant_from_binary(ua.utils.Buffer(bytes([0x80]) + struct.pack("<i", 0))).Value == []


def test_an_array_is_not_filled_up_to_its_dimensions() -> None:
    """Thirty bytes that would become a million lists, in each value of a message."""
    hostile = struct.pack("<BiBii", 0xC0 | ua.VariantType.Byte.value, 1, 7, 1, 1_000_000)
    assert ua_binary.variant_from_binary(ua.utils.Buffer(hostile)).Value == [7]
