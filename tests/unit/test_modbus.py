"""Modbus addresses, and the four orders in which devices put their bytes."""

import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from gateway.drivers.driver import Tag
from gateway.drivers.modbus.address import Address, Order, decoder, encode
from gateway.drivers.modbus.driver import parse_address
from gateway.drivers.modbus.plan import blocks, job
from gateway.drivers.modbus.settings import RtuTcpSettings
from gateway.drivers.modbus.settings import TcpSettings as Settings
from gateway.drivers.s7.settings import Settings as S7Settings


def settings(**keys: object) -> Settings:
    return Settings.model_validate({"host": "plc", **keys})


@pytest.mark.parametrize(
    ("text", "addressing", "expected"),
    [
        ("holding:40001:float32", "modicon", Address("holding", 0, 2, "float32")),
        ("holding:400001:float32", "modicon", Address("holding", 0, 2, "float32")),
        ("holding:465535:float32", "modicon", Address("holding", 65534, 2, "float32")),
        ("holding:49999:uint16", "modicon", Address("holding", 9998, 1, "uint16")),
        ("input:30001:int64", "modicon", Address("input", 0, 4, "int64")),
        ("input:30010:string(9)", "modicon", Address("input", 9, 5, "string", length=9)),
        ("coil:1:bool", "modicon", Address("coil", 0, 1, "bool")),
        ("coil:00001", "modicon", Address("coil", 0, 1, "bool")),
        ("discrete:10001:bool", "modicon", Address("discrete", 0, 1, "bool")),
        ("holding:40020.3:bool", "modicon", Address("holding", 19, 1, "bool", 3)),
        ("holding:0:uint16", "zero", Address("holding", 0, 1, "uint16")),
        ("holding:65535:uint16", "zero", Address("holding", 65535, 1, "uint16")),
        ("holding:1:uint16", "one", Address("holding", 0, 1, "uint16")),
        ("coil:65536:bool", "one", Address("coil", 65535, 1, "bool")),
    ],
)
def test_addresses_are_read(text: str, addressing: str, expected: Address) -> None:
    assert parse_address(text, settings(addressing=addressing)) == expected


@pytest.mark.parametrize(
    ("text", "addressing", "remedy"),
    [
        ("40001", "modicon", "write it like holding:40001:float32"),
        ("holdng:40001:int16", "modicon", "use holding, input, coil or discrete"),
        ("holding:30001:int16", "modicon", "40001 to 49999, or 400001 to 465536"),
        ("holding:1:int16", "modicon", "addressing: zero"),
        ("holding:0:int16", "one", "1 to 65536"),
        ("holding:65536:int16", "zero", "0 to 65535"),
        ("holding:65535:float32", "zero", "beyond the last one"),
        ("holding:40001", "modicon", "the type is missing"),
        ("holding:40001:float16", "modicon", "use int16, uint16"),
        ("holding:40001:bool", "modicon", "needs its bit"),
        ("holding:40001.3:int16", "modicon", "other types have none"),
        ("holding:40001.16:bool", "modicon", "bits 0 to 15"),
        ("holding:40001:string", "modicon", "needs its length"),
        ("holding:40001:string(0)", "modicon", "1 to 250"),
        ("holding:40001:int16(2)", "modicon", "only a string has one"),
        ("coil:1:int16", "modicon", "its type is bool"),
        ("coil:1.2:bool", "modicon", "no bit number"),
    ],
)
def test_an_address_that_cannot_be_says_what_would_be_right(text: str, addressing: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=re.escape(remedy)):
        parse_address(text, settings(addressing=addressing))


@pytest.mark.parametrize(
    ("words", "word_order", "byte_order"),
    [
        ([0x42A9, 0x0000], "big", "big"),  # ABCD
        ([0x0000, 0x42A9], "little", "big"),  # CDAB
        ([0xA942, 0x0000], "big", "little"),  # BADC
        ([0x0000, 0xA942], "little", "little"),  # DCBA
    ],
)
def test_float32_in_all_four_orders(words: list[int], word_order: Order, byte_order: Order) -> None:
    decode = decoder([Address("holding", 8, 2, "float32", word_order=word_order, byte_order=byte_order)], 7)
    assert decode([9, *words, 9])[0] == 84.5


FORMATS = {"int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q", "float64": "d"}


@given(st.sampled_from(sorted(FORMATS)), st.data(), st.booleans(), st.booleans())
def test_every_type_in_every_order(kind: str, data: st.DataObject, swap_words: bool, swap_bytes: bool) -> None:
    size = struct.calcsize(FORMATS[kind])
    raw = data.draw(st.binary(min_size=size, max_size=size))
    value = struct.unpack(f">{FORMATS[kind]}", raw)[0]
    words = [int.from_bytes(raw[at : at + 2], "little" if swap_bytes else "big") for at in range(0, size, 2)]
    words = words[::-1] if swap_words else words
    word_order: Order = "little" if swap_words else "big"
    byte_order: Order = "little" if swap_bytes else "big"
    read = decoder([Address("holding", 0, size // 2, kind, None, 0, word_order, byte_order)], 0)(words)[0]
    assert repr(read) == repr(value)  # as text, so that NaN equals itself


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*sorted(FORMATS), "string", "bool"]),
            st.integers(-2, 3),  # registers between it and the one before
            st.sampled_from([1.0, 0.1]),  # scale
            st.sampled_from(["big"] * 4 + ["little"]),  # word order
            st.sampled_from(["big"] * 4 + ["little"]),  # byte order
        ),
        min_size=1,
        max_size=6,
    ),
    st.data(),
)
def test_a_block_says_what_its_tags_say_one_by_one(
    layout: list[tuple[str, int, float, Order, Order]], data: st.DataObject
) -> None:
    tags, end = [], 8
    for number, (kind, gap, scale, word_order, byte_order) in enumerate(layout):
        count = {"string": 2, "bool": 1}.get(kind) or struct.calcsize(FORMATS[kind]) // 2
        length, bit = (3, None) if kind == "string" else (0, 5 if kind == "bool" else None)
        start = max(0, end + gap)
        end = start + count
        tags.append(
            Tag(f"t{number}", Address("holding", start, count, kind, bit, length, word_order, byte_order), scale=scale)
        )
    for block in blocks(tags, 2000, 125, 8):
        words = data.draw(st.lists(st.integers(0, 0xFFFF), min_size=block.count, max_size=block.count))
        one = job(block)
        answer = bytes((3, block.count * 2)) + struct.pack(f">{block.count}H", *words)
        alone = [tag.reading(decoder([tag.address], block.start)(words)[0], 7) for tag in one.tags]
        assert repr(one.readings(one.request.words(answer), 7)) == repr(alone)


def test_bits_of_a_register() -> None:
    bits = [decoder([Address("holding", 0, 1, "bool", bit)], 0)([0x8001])[0] for bit in range(16)]
    assert bits == [True, *[False] * 14, True]


@pytest.mark.parametrize(
    ("words", "byte_order", "text"),
    [
        ([0x4142, 0x4300], "big", "ABC"),
        ([0x4241, 0x0043], "little", "ABC"),
        ([0x4142, 0x2020], "big", "AB"),
        ([0x4100, 0x4242], "big", "A"),
        ([0x3235, 0xC2B0], "big", "25°"),
        ([0x3235, 0xB043], "big", "25°C"),  # Latin-1
        ([0, 0], "big", ""),
    ],
)
def test_strings(words: list[int], byte_order: Order, text: str) -> None:
    assert decoder([Address("holding", 0, 2, "string", length=4, byte_order=byte_order)], 0)(words)[0] == text


@pytest.mark.parametrize(
    ("raw", "scale", "offset", "value"),
    [(823, 0.1, 0.0, 82.3), (3, 0.1, 0.0, 0.3), (5, 2.0, 1.0, 11.0), (100, 0.01, -40.0, -39.0), (7, 1.0, 0.0, 7)],
)
def test_scaling_leaves_no_noise(raw: int, scale: float, offset: float, value: float) -> None:
    assert Tag("t", None, scale=scale, offset=offset).reading(raw, 0).value == value


def test_scaling_leaves_booleans_and_texts_alone() -> None:
    tag = Tag("t", None, scale=10.0)
    assert tag.reading(True, 0).value is True
    assert tag.reading("on", 0).value == "on"


@pytest.mark.parametrize("orders", [(a, b) for a in ("big", "little") for b in ("big", "little")])
def test_a_tag_has_its_own_order_beside_others(orders: tuple[str, str]) -> None:
    word_order, byte_order = orders
    own = settings(word_order=word_order, byte_order=byte_order)
    plain = [parse_address(f"holding:4000{at}:float32", settings()) for at in (1, 5)]
    odd = parse_address("holding:40003:float32", own)
    words = encode(plain[0], 1.5) + encode(odd, 84.5) + encode(plain[1], -2.5)
    assert list(decoder([plain[0], odd, plain[1]], 0)(words)) == [1.5, 84.5, -2.5]


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("input:30001:int16", "input can only be read: leave `writable` out, or is it a holding"),
        ("discrete:10001", "discrete can only be read: leave `writable` out, or is it a coil"),
        ("holding:40001:string(250)", "at most 123 registers"),
    ],
)
def test_what_cannot_be_written_is_not_writable(text: str, remedy: str) -> None:
    parse_address(text, settings())
    with pytest.raises(ValueError, match=re.escape(remedy)):
        parse_address(text, settings(), writable=True)


@pytest.mark.parametrize(
    ("host", "remedy"),
    [
        ("http://192.168.1.10", "is a URL"),
        ("127.0.0.1:15502", "write `host: 127.0.0.1` and `port: 15502`"),
        ("192.168.1.999", "is not an IP address"),
        ("[::1]", "without brackets"),
        ("192.168.1", "is not an IP address"),
        ("plc 1", "is not a host"),
        ("", "is not a host"),
        ("plc..lan", "is not a host"),
        ("-plc", "is not a host"),
    ],
)
@pytest.mark.parametrize("model", [Settings, RtuTcpSettings, S7Settings])
def test_a_host_is_a_name_or_an_address(model: type[BaseModel], host: str, remedy: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(remedy)):
        model.model_validate({"host": host, "port": 502})


@pytest.mark.parametrize("host", ["plc", "plc_1", "plc1.plant.lan", "plc.", "192.168.1.10", "::1", "fe80::1%eth0"])
def test_hosts_that_are_right(host: str) -> None:
    assert settings(host=host).host == host
