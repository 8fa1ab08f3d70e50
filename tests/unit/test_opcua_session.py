"""What an OPC UA session keeps is bounded, for however long it lasts."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from weakref import ref

import pytest
from asyncua import ua
from pydantic import ValidationError

from gateway.config import devices as config
from gateway.drivers.opcua.session import Session
from gateway.drivers.opcua.settings import Settings

TAGS = ", ".join(f"{{name: t{number}, address: 'ns=2;i={number}'}}" for number in range(200))
DEVICE = f"devices: [{{name: a, protocol: opcua, endpoint: 'opc.tcp://127.0.0.1:4840', tags: [{TAGS}]}}]"


async def test_reads_of_ever_other_tags_do_not_pile_up(tmp_path: Path) -> None:
    """As a subscription asks for whatever has been silent for too long."""

    async def read(parameters: ua.ReadParameters) -> list[ua.DataValue]:
        return [ua.DataValue(ua.Variant(one.NodeId.Identifier)) for one in parameters.NodesToRead]

    client: Any = SimpleNamespace(uaclient=SimpleNamespace(session=SimpleNamespace(read=read)))
    (tmp_path / "a.yaml").write_text(DEVICE)
    device: Any = config.load(tmp_path)[0].device
    session = Session(client, device, device.settings.clock)
    await session.find_nodes()
    for number in range(1, 100):
        tags = device.tags[number : number + 3]
        scan = session.compile(tags)
        assert [reading.value for reading in await scan()] == [number, number + 1, number + 2]
        kept = ref(scan)
        del scan
        assert kept() is None


@pytest.mark.parametrize("endpoint", ["opc.tcp://[::1]", "opc.tcp://[2001:db8::7]:4840/press"])
def test_an_endpoint_may_have_an_ipv6_address(endpoint: str) -> None:
    assert Settings(endpoint=endpoint).endpoint == endpoint


@pytest.mark.parametrize(
    "endpoint", ["opc.tcp://[::1]:70000", "opc.tcp://[plc]", "opc.tcp://::1:4840", "opc.tcp://[::1"]
)
def test_an_endpoint_that_cannot_be_is_refused(endpoint: str) -> None:
    with pytest.raises(ValidationError):
        Settings(endpoint=endpoint)
