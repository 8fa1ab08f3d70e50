"""What may be written: values are taken strictly, and nothing but WriteError is raised."""

from math import inf, nan

import pytest
from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st

from gateway.commands.encoding import truth
from gateway.drivers.driver import Tag, WriteError
from gateway.drivers.modbus import address as modbus_address
from gateway.drivers.modbus.address import NUMBERS, Address
from gateway.drivers.opcua import values as opcua_values
from gateway.drivers.s7 import address as s7_address
from nexus.contract.reading import Value

HUGE = 10**400
INTEGER_TYPES = [kind for kind in NUMBERS if "float" not in kind]


def registers(kind: str, value: Value) -> list[int]:
    address = Address("holding", 0, 4 if kind.endswith("64") else 2 if kind.endswith("32") else 1, kind)
    return modbus_address.encode(address, value)


def string(value: Value, length: int = 4) -> list[int]:
    return modbus_address.encode(Address("holding", 0, 2, "string", length=length), value)


@pytest.mark.parametrize("value", ["off", "false", "0", 0.3, -1, 0, 1, 1.0, None, inf, HUGE])
def test_only_booleans_switch(value: Value) -> None:
    with pytest.raises(WriteError, match="takes true or false"):
        truth(value, "coil")
    with pytest.raises(WriteError, match="takes true or false"):
        s7_address.encode(s7_address.parse("M0.0"), value)
    with pytest.raises(WriteError, match="takes true or false"):
        opcua_values.variant(value, ua.VariantType.Boolean)


@pytest.mark.parametrize("kind", INTEGER_TYPES)
@pytest.mark.parametrize("value", [2.5, True, inf, -inf, nan, "7", None, HUGE, -HUGE, 1e308, 2**64, -(2**63) - 1])
def test_integers_take_whole_numbers_of_their_range(kind: str, value: Value) -> None:
    with pytest.raises(WriteError, match=f"{kind} takes whole numbers from "):
        registers(kind, value)


def test_the_refusal_names_the_range() -> None:
    with pytest.raises(WriteError, match="40000 does not fit: INT takes whole numbers from -32768 to 32767"):
        s7_address.encode(s7_address.parse("DB1.DBW0:INT"), 40_000)
    with pytest.raises(WriteError, match=r"300 does not fit: Byte takes whole numbers from 0 to 255"):
        opcua_values.variant(300, ua.VariantType.Byte)


def test_whole_floats_are_integers() -> None:
    assert registers("int16", -2.0) == [0xFFFE]
    assert registers("uint64", 2**64 - 1) == [0xFFFF] * 4


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("value", [True, inf, -inf, nan, "7", None, HUGE])
def test_floats_take_numbers_that_are_finite(kind: str, value: Value) -> None:
    with pytest.raises(WriteError, match=kind):
        registers(kind, value)


def test_a_float32_takes_no_more_than_it_holds() -> None:
    with pytest.raises(WriteError, match=r"float32 takes numbers from -3\.4e38 to 3\.4e38"):
        registers("float32", 1e39)


@pytest.mark.parametrize("value", ["abcde", "ab°d", "a\0b", "\ud800", 7, True, None])
def test_a_string_takes_text_that_fits(value: Value) -> None:
    with pytest.raises(WriteError):
        string(value)


def test_a_string_of_odd_length_leaves_the_last_byte_alone_when_read() -> None:
    address = Address("holding", 0, 2, "string", length=3)
    assert modbus_address.decoder([address], 0)([0x4142, 0x4399])[0] == "ABC"
    with pytest.raises(WriteError, match=r"the text has 4 bytes, and string\(3\) holds 3"):
        string("abcd", length=3)


@pytest.mark.parametrize(
    ("scale", "offset", "value", "raw"),
    [
        (0.1, 0.0, 82.3, 823.0),
        (0.1, 0.0, 0.3, 3.0),
        (0.01, -40.0, -39.99, 1.0),
        (0.001, 1e6, 1_000_000.1, 100.0),
        (0.3, 0.0, 0.9, 3.0),
        (2.0, 1.0, 11, 5.0),
        (0.1, 0.0, 82.34, 823.4000000000001),
        (0.1, 0.0, 0.31, 3.1),
    ],
)
def test_scaling_backwards_rounds_within_noise_only(scale: float, offset: float, value: float, raw: float) -> None:
    assert Tag("t", None, scale=scale, offset=offset).raw(value) == raw


@pytest.mark.parametrize("value", [1e308, -1e308, HUGE, -HUGE, inf, nan])
def test_scaling_backwards_never_leaves_the_finite(value: float) -> None:
    with pytest.raises(WriteError, match="finite"):
        Tag("t", None, scale=0.1, offset=1.0).raw(value)


VALUES = st.one_of(
    st.booleans(),
    st.integers(),
    st.integers().map(lambda n: n**9),
    st.floats(),
    st.text(max_size=12),
    st.text("\ud800\udfff\0é", max_size=3),
    st.none(),
)
SCALES = st.floats(allow_nan=False, allow_infinity=False).filter(lambda scale: scale != 0)


@given(st.sampled_from([*NUMBERS, "string"]), VALUES, SCALES, st.floats(allow_nan=False, allow_infinity=False))
def test_nothing_but_a_write_error_is_raised(kind: str, value: Value, scale: float, offset: float) -> None:
    try:
        raw = Tag("t", None, scale=scale, offset=offset).raw(value)
        words = string(raw) if kind == "string" else registers(kind, raw)
    except WriteError:
        return
    assert all(0 <= word <= 0xFFFF for word in words)


@given(VALUES, st.sampled_from(["DB1.DBW0:INT", "DB1.DBD0:REAL", "DB1:0:LREAL", "DB1.DBB0:STRING(4)", "DB1.DBB0:CHAR"]))
def test_s7_raises_nothing_else_either(value: Value, address: str) -> None:
    try:
        s7_address.encode(s7_address.parse(address), value)
    except WriteError:
        return


@given(VALUES, st.sampled_from(list(ua.VariantType)))
def test_opc_ua_raises_nothing_else_either(value: Value, kind: ua.VariantType) -> None:
    try:
        opcua_values.variant(value, kind)
    except WriteError:
        return
