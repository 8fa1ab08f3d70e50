"""S7 addresses and values."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.drivers.driver import Device, Tag, WriteError
from gateway.drivers.s7 import driver as s7
from gateway.drivers.s7 import plan as s7_plan
from gateway.drivers.s7.address import Address, decoder, encode, parse
from gateway.drivers.s7.settings import Settings

DB, M, IN, OUT = 0x84, 0x83, 0x81, 0x82


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("DB1.DBD0:REAL", Address(DB, 1, 0, 4, "REAL")),
        ("db1.dbd0:real", Address(DB, 1, 0, 4, "REAL")),
        ("%DB1.DBX4.0:BOOL", Address(DB, 1, 4, 1, "BOOL", 0)),
        ("DB1.DBX4.7", Address(DB, 1, 4, 1, "BOOL", 7)),
        ("DB20.DBW10:INT", Address(DB, 20, 10, 2, "INT")),
        ("DB1.DBB10:STRING(20)", Address(DB, 1, 10, 22, "STRING", length=20)),
        ("DB1.DBB10:WSTRING[20]", Address(DB, 1, 10, 44, "WSTRING", length=20)),
        ("DB1:10:LREAL", Address(DB, 1, 10, 8, "LREAL")),
        ("DB1,R4", Address(DB, 1, 4, 4, "REAL")),
        ("DB1,X4.3", Address(DB, 1, 4, 1, "BOOL", 3)),
        ("M10.5", Address(M, 0, 10, 1, "BOOL", 5)),
        ("MW20:INT", Address(M, 0, 20, 2, "INT")),
        ("IW64", Address(IN, 0, 64, 2, "WORD")),
        ("Q0.1", Address(OUT, 0, 0, 1, "BOOL", 1)),
        ("E0.1", Address(IN, 0, 0, 1, "BOOL", 1)),
        ("E0.1:BOOL", Address(IN, 0, 0, 1, "BOOL", 1)),
        ("EX0.1", Address(IN, 0, 0, 1, "BOOL", 1)),
        ("A0.1", Address(OUT, 0, 0, 1, "BOOL", 1)),
        ("EB1:BYTE", Address(IN, 0, 1, 1, "BYTE")),
        ("AB1:BYTE", Address(OUT, 0, 1, 1, "BYTE")),
        ("EW4:INT", Address(IN, 0, 4, 2, "INT")),
        ("aw4:int", Address(OUT, 0, 4, 2, "INT")),
        ("ED0:REAL", Address(IN, 0, 0, 4, "REAL")),
        ("%AD0:DINT", Address(OUT, 0, 0, 4, "DINT")),
    ],
)
def test_the_usual_notations_are_read(text: str, expected: Address) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("DB1", "write it like DB1.DBD0:REAL"),
        ("DB1.DBW0:REAL", "W is 2 bytes, but REAL has 4: use D"),
        ("DB1.DBX0.8:BOOL", "bit"),
        ("DB1.DBD0:REAL[5]", "give each element its own tag"),
        ("DB1.DBB0:DTL", "the type DTL is not read"),
        ("DB1:65534:REAL", "at most 65,536 bytes"),
        ("holding:40001", "write it like"),
        ("DB1.DBD-4:REAL", "write it like"),
        ("DB1:-4:REAL", "write it like"),
        ("MW-20:INT", "write it like"),
        ("DB1.DBX-1.0:BOOL", "write it like"),
        ("DB-1.DBD0:REAL", "write it like"),
        ("DB1.DBD+4:REAL", "write it like"),
        ("DB1_0.DBD1_0:REAL", "write it like"),
        ("DB1.DBD0:FLOAT", "the type FLOAT is not read: use REAL"),
        ("DB1.DBB0:DATE", "the type DATE is not read: use one of BOOL, CHAR, BYTE"),
        ("DB1.DBB0:STRING", r"a STRING needs its length, like STRING\(20\)"),
        ("DB1.DBX4:BOOL", "a BOOL is one bit"),
        ("M4:BOOL", "a BOOL is one bit"),
        ("MB4:BOOL", "a BOOL is one bit"),
        ("DB1.DBX4.0:REAL", "the address of a bit, and REAL is none"),
        ("M4.1:INT", "the address of a bit, and INT is none"),
        ("DB1.DBB0:STRING(300)", "a STRING has 1 to 254 characters"),
        ("DB1.DBB0:STRING(0)", "a STRING has 1 to 254 characters"),
        ("DB0.DBW0:INT", "numbers from 1 to 65535, not 0"),
        ("DB0,R4", "numbers from 1 to 65535, not 0"),
        ("DB0:10:REAL", "numbers from 1 to 65535, not 0"),
    ],
)
def test_what_cannot_be_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(text)


@pytest.mark.parametrize(
    ("text", "data", "expected"),
    [
        ("DB1.DBD0:REAL", struct.pack(">f", 84.5), 84.5),
        ("DB1.DBD0:DINT", b"\xff\xff\xff\xfe", -2),
        ("DB1.DBD0:DWORD", b"\xff\xff\xff\xfe", 2**32 - 2),
        ("DB1:0:LINT", b"\x80" + b"\0" * 7, -(2**63)),
        ("DB1.DBB0:SINT", b"\x80", -128),
        ("DB1.DBX0.7", b"\x80", True),
        ("DB1.DBX0.0", b"\x80", False),
        ("DB1.DBB0:STRING(4)", b"\x04\x02\xb0C\0\0", "°C"),
        ("DB1.DBB0:STRING(4)", b"\x00\x00\0\0\0\0", ""),
        ("DB1.DBB0:WSTRING(2)", b"\x00\x02\x00\x01\x20\xac\x00\x00", "€"),
        ("DB1.DBB0:CHAR", b"A", "A"),
    ],
)
def test_values_are_read(text: str, data: bytes, expected: object) -> None:
    assert decoder(parse(text))(b"??" + data, 2) == expected


def test_a_text_that_was_never_set_is_no_value() -> None:
    with pytest.raises(ValueError, match="no text"):
        decoder(parse("DB1.DBB0:STRING(4)"))(b"\x04\xffabcd", 0)


@given(
    st.sampled_from(["BYTE", "SINT", "INT", "WORD", "DINT", "DWORD", "LINT", "LWORD", "REAL", "LREAL"]),
    st.integers(-(2**63), 2**64 - 1),
)
def test_what_is_written_is_read(kind: str, value: int) -> None:
    address = parse(f"DB1:0:{kind}")
    try:
        data = encode(address, value)
    except WriteError:
        return
    assert len(data) == address.count
    assert decoder(address)(data, 0) == (pytest.approx(value) if "REAL" in kind else value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("DB1.DBW0:INT", 40_000), ("DB1.DBB0:STRING(2)", "abc"), ("DB1.DBW0:INT", "a"), ("DB1.DBB0:STRING(4)", "€")],
)
def test_what_does_not_fit_is_refused(text: str, value: object) -> None:
    with pytest.raises(WriteError):
        encode(parse(text), value)  # type: ignore[arg-type]


@given(
    st.lists(
        st.tuples(st.integers(0, 5000), st.sampled_from(["REAL", "BOOL", "INT", "LREAL", "STRING(200)"])),
        min_size=1,
        max_size=60,
    ),
    st.sampled_from([240, 480, 960]),
)
def test_requests_and_answers_fit_into_the_pdu(places: list[tuple[int, str]], pdu: int) -> None:
    settings = Settings(host="plc")
    tags = [Tag(f"t{number}", parse(f"DB1:{at}:{kind}")) for number, (at, kind) in enumerate(places)]
    plan = s7_plan.planned(s7_plan.blocks(tags, settings.gap, pdu), pdu)
    for job in plan.jobs:
        assert len(job.items) <= 20
        assert 10 + len(job.parameters) <= pdu
        assert 14 + sum(4 + count + count % 2 for _, count in job.items) <= pdu
    read = [0] * len(plan.blocks)
    for job in plan.jobs:
        for number, count in job.items:
            read[number] += count
    assert read == [block.count for block in plan.blocks]
    assert sorted(span.item.name for block in plan.blocks for span in block.spans) == sorted(tag.name for tag in tags)


def test_the_plan_is_shown() -> None:
    settings = Settings(host="plc")
    tags = (Tag("a", parse("DB1.DBD0:REAL")), Tag("b", parse("DB1.DBD8:REAL")), Tag("c", parse("MW4:INT")))
    [request] = s7.requests(Device("plc", "plc", "s7", 1.0, settings, tags))
    assert (request.text, request.tags, request.size, request.wasted) == ("M 4..5, DB1 0..11", ("c", "a", "b"), 14, 4)


@pytest.mark.parametrize("text", ["I0.0", "E0.0", "IW22:INT", "IB1:BYTE", "%I0.0", "EW4"])
def test_inputs_are_not_written(text: str) -> None:
    settings = Settings(host="127.0.0.1")
    assert s7.parse_address(text, settings) == parse(text)
    with pytest.raises(ValueError, match="inputs can only be read: leave `writable` out"):
        s7.parse_address(text, settings, writable=True)


@pytest.mark.parametrize("text", ["Q0.0", "A0.0", "MW20:INT", "DB1.DBX4.0"])
def test_what_holds_a_value_is_written(text: str) -> None:
    assert s7.parse_address(text, Settings(host="127.0.0.1"), writable=True) == parse(text)
