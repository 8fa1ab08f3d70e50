"""The state of a device, and of which kind its trouble is."""

import pytest
from pydantic import BaseModel

from gateway.drivers.driver import Device, Tag
from gateway.polling.status import DeviceStatus
from nexus.contract.reading import Reading
from nexus.contract.status import Status, TroubleKind


class Settings(BaseModel):
    """A device without any."""


@pytest.fixture
def said() -> list[Status]:
    return []


@pytest.fixture
def status(said: list[Status]) -> DeviceStatus:
    tags: tuple[Tag[object], ...] = (Tag("a", ""), Tag("b", ""), Tag("c", ""))
    device: Device[BaseModel, object] = Device("plc", "line/plc", "modbus-tcp", 3.0, Settings(), tags)
    return DeviceStatus(device, lambda _, one: said.append(one))


@pytest.mark.parametrize(
    ("kinds", "told"),
    [
        ({"a": "address", "b": "address"}, "address"),
        ({"a": "address", "b": "put-get"}, "tags"),
        ({"a": "address"}, "tags"),
        ({}, "tags"),
    ],
)
def test_tags_that_cannot_be_read_give_their_kind_if_it_is_the_same(
    status: DeviceStatus, said: list[Status], kinds: dict[str, TroubleKind], told: str
) -> None:
    status.read([Reading("c", 1, 1.0)], ["a", "b"], {}, kinds)
    assert [(one.state, one.kind) for one in said] == [("degraded", told)]


def test_a_lost_device_gives_the_kind_of_its_error_and_one_that_is_back_none(
    status: DeviceStatus, said: list[Status]
) -> None:
    status.failed("nothing listens", "refused", resting=True)
    status.read([Reading("a", 1, 1.0)], [], {}, {})
    assert [(one.state, one.kind) for one in said] == [("offline", "refused"), ("online", "")]
