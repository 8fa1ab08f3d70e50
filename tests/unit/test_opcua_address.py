"""OPC UA addresses: what a device file may say, and nothing that could not be sent."""

from pathlib import Path

import pytest
from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import devices as config
from gateway.drivers.opcua import address as opcua_address
from gateway.drivers.opcua.address import Address
from nexus.process.errors import ConfigError

FORM, RANGE, ONE_NAMESPACE = "write it like", "0 to 65535, and a numeric", "one namespace, given once"
NUMBERS = st.one_of(st.integers(-1, 5), st.sampled_from([65_535, 65_536, 2**32 - 1, 2**32]), st.integers()).map(str)
PARTS = st.builds("{}={};".format, st.sampled_from(["ns", "nsu", "srv", "i", "s", "g", "b", " s"]), NUMBERS | st.text())


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ns=2;s=Press.Force", Address("ns=2;s=Press.Force")),
        (" i=2258 ", Address("i=2258")),
        ("ns=65535;i=4294967295", Address("ns=65535;i=4294967295")),
        ("ns=2; s=Force", Address("ns=2;s=Force")),
        ("ns=2;s=a;ns=3;i=5", Address("ns=2;s=a;ns=3;i=5")),
        ('ns=3;s="Press"."Force"[0]', Address('ns=3;s="Press"."Force"[0]')),
        ("ns=2;g=09087e75-8e5e-499b-954f-f2a9603db28a", Address("ns=2;g=09087e75-8e5e-499b-954f-f2a9603db28a")),
        ("ns=2;b=TTU=", Address("ns=2;b=TTU=")),
        ("nsu=urn:vendor;s=Force", Address("s=Force", "urn:vendor")),
    ],
)
def test_a_node_is_read(text: str, address: Address) -> None:
    assert opcua_address.parse(text) == address


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ns=99999;i=5", RANGE),
        ("ns=65536;s=Force", RANGE),
        ("ns=-1;i=5", RANGE),
        ("ns=2;i=-1", RANGE),
        ("ns=2;i=4294967296", RANGE),
        ("ns=2;ns=3;i=5", ONE_NAMESPACE),
        ("nsu=urn:vendor;ns=3;i=5", ONE_NAMESPACE),
        ("ns=3;nsu=urn:vendor;i=5", ONE_NAMESPACE),
        ("ns=2;i=1;s=2", FORM),
        ("i=1;ns=2", FORM),
        ("nsu=;s=Force", FORM),
        ("srv=3;ns=2;s=Force", FORM),
        ("ns=2;s=", FORM),
        ("ns=2;g=zz", FORM),
        ("ns=2", FORM),
        ("s=\ud800", FORM),
    ],
)
def test_what_is_no_node_or_cannot_be_sent_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        opcua_address.parse(text)
    if not text.isprintable():
        return
    (tmp_path / "a.yaml").write_text(
        f"devices:\n- {{name: a, protocol: opcua, endpoint: 'opc.tcp://h', tags: [{{name: x, address: '{text}'}}]}}\n"
    )
    with pytest.raises(ConfigError) as fault:
        config.load(tmp_path)
    assert "a.yaml:2" in str(fault.value)
    assert "tag x" in str(fault.value)
    assert said in str(fault.value)


@given(st.lists(PARTS, max_size=4).map("".join))
def test_whatever_is_taken_can_be_sent(text: str) -> None:
    for written in (text, text.removesuffix(";")):
        try:
            address = opcua_address.parse(written)
        except ValueError:
            continue
        node = ua.NodeId.from_string(address.node)
        assert node.to_binary()
        assert address.uri is None or address.uri.strip()
