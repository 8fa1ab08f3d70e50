"""Gateways of one group as processes, with a real broker and a stand-in of Kubernetes' API server."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lease_api import LeaseApi
from tests.parts import Mosquitto, Nexus, free_port, until

Start = Callable[..., Nexus]
COUNT = 6


class Plant:
    """Devices, each on a port of its own, so that the simulator tells who is connected to which."""

    def __init__(self, folder: Path, nexus: Start) -> None:
        self.ports = {f"d{number}": free_port() for number in range(COUNT)}
        points = "[{table: holding, offset: 0, type: uint16, signal: {kind: counter}}]"
        simulation = folder / "plant.yaml"
        simulation.write_text(
            "devices:\n"
            + "".join(
                f"  - {{name: {name}, protocol: modbus-tcp, port: {port}, points: {points}}}\n"
                for name, port in self.ports.items()
            )
        )
        self.devices = self.write(folder / "devices")
        self.simulator = nexus("simulate", str(simulation)).until_ready()

    def write(self, folder: Path, interval: str = "100ms") -> Path:
        folder.mkdir()
        (folder / "all.yaml").write_text(
            "devices:\n"
            + "".join(
                f"  - {{name: {name}, protocol: modbus-tcp, host: 127.0.0.1, port: {port}, interval: {interval}, "
                'tags: [{name: count, address: "holding:40001:uint16"}]}\n'
                for name, port in self.ports.items()
            )
        )
        return folder

    def connections(self) -> dict[str, int]:
        connections: dict[str, int] = json.loads(self.simulator.get("/connections")[1])
        return connections

    def once(self) -> bool:
        """Whether each device is polled by one gateway; that two poll one is a failure."""
        found = self.connections()
        if max(found.values()) > 1:  # the simulator may hear of the new connection before the end of the last one
            time.sleep(0.1)
            found = self.connections()
            assert max(found.values()) <= 1, found
        return sum(found.values()) == COUNT


@pytest.fixture
def plant(tmp_path: Path, nexus: Start) -> Plant:
    return Plant(tmp_path, nexus)


def polled(gateway: Nexus) -> float:
    return gateway.metric("nexus_gateway_devices_polled")


def problems(gateway: Nexus) -> str:
    return " ".join(json.loads(gateway.get("/health")[1])["problems"])


def goes_on(gateways: list[Nexus], plant: Plant, seconds: float) -> None:
    """Nothing moves, and all go on polling."""
    before = [polled(one) for one in gateways]
    taken = [one.metric("nexus_gateway_readings_total") for one in gateways]
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert plant.once()
        assert [polled(one) for one in gateways] == before
        time.sleep(0.2)
    after = [one.metric("nexus_gateway_readings_total") for one in gateways]
    assert all(new > old + 10 * seconds / 4 for new, old in zip(after, taken, strict=True))


def test_in_a_cluster_either_witness_may_be_away(
    api: LeaseApi, nexus: Start, plant: Plant, mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    keys = {"mqtt_url": broker.url, "group": "g", "lease": "2s", "leases": "kubernetes"}
    keys |= {"service_account": str(api.account)}
    gateways = [nexus("gateway", "--devices", str(plant.devices), **keys, member=name) for name in "ab"]
    until(lambda: all(polled(one) > 0 for one in gateways) and plant.once(), "they share", 40)
    until(lambda: len(api.leases) == 2, "each has a Lease")
    spoilt = next(iter(api.leases))

    def is_said() -> bool:
        api.spoil(spoilt)  # again and again: its owner renews it, maybe before the other has looked
        return "the Kubernetes Lease of " in problems(gateways[0])

    until(is_said, "nonsense is said, and where it stands")
    until(lambda: not problems(gateways[0]), "and that it is over")

    broker.stop()
    goes_on(gateways, plant, 8)  # longer than both leases
    gateways[0].stop(signal.SIGKILL)
    until(lambda: polled(gateways[1]) == COUNT and plant.once(), "the dead one is relieved without the broker", 30)
    gateways[0].restart()
    until(lambda: polled(gateways[0]) > 0 and plant.once(), "and comes back by its Lease alone", 40)
    broker.start()
    until(lambda: all(one.metric("nexus_gateway_broker_connected") == 1 for one in gateways), "the broker is back", 30)

    api.is_up = False
    until(lambda: "Lease cannot be renewed" in problems(gateways[0]), "it says that the API server is away")
    goes_on(gateways, plant, 8)
    api.is_up = True
    until(lambda: not problems(gateways[0]), "and that it is back")
    assert gateways[0].stop() == 0
    until(lambda: polled(gateways[1]) == COUNT and plant.once(), "a clean stop is no wait", 5)
    until(lambda: len(api.leases) == 1, "and leaves no Lease")


def test_outside_a_cluster_a_broker_that_restarts_stops_no_polling(
    nexus: Start, plant: Plant, mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    keys = {"mqtt_url": broker.url, "group": "g", "lease": "3s"}
    gateways = [nexus("gateway", "--devices", str(plant.devices), **keys, member=name) for name in "ab"]
    until(lambda: all(polled(one) > 0 for one in gateways) and plant.once(), "they share", 40)
    broker.stop()
    goes_on(gateways, plant, 5)
    broker.start()
    goes_on(gateways, plant, 8)


def test_a_stopped_gateway_does_not_poll_beside_its_successor(
    nexus: Start, plant: Plant, mosquitto: Callable[..., Mosquitto]
) -> None:
    keys = {"mqtt_url": mosquitto().url, "group": "g", "lease": "2s"}
    gateways = [nexus("gateway", "--devices", str(plant.devices), **keys, member=name) for name in "ab"]
    until(lambda: all(polled(one) > 0 for one in gateways) and plant.once(), "they share", 40)
    os.kill(gateways[0].process.pid, signal.SIGSTOP)
    until(lambda: polled(gateways[1]) == COUNT, "it is relieved", 30)
    os.kill(gateways[0].process.pid, signal.SIGCONT)
    until(lambda: polled(gateways[0]) < COUNT and set(plant.connections().values()) == {1}, "one client a device", 30)
    until(lambda: polled(gateways[0]) > 0 and plant.once(), "it takes its share again, from nobody's hands", 30)


def test_another_definition_is_refused_and_said_aloud(
    nexus: Start, plant: Plant, mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    url = mosquitto().url
    first = nexus("gateway", "--devices", str(plant.devices), mqtt_url=url, member="plant")
    until(lambda: polled(first) == COUNT and plant.once(), "the plant's gateway polls", 30)
    laptop = nexus("gateway", "--devices", str(plant.write(tmp_path / "trial", "1s")), mqtt_url=url, member="laptop")
    until(lambda: laptop.metric("nexus_gateway_devices_contested") == COUNT, "the trial is refused", 30)
    until(lambda: "defined differently" in problems(laptop) and "defined differently" in problems(first), "both say so")
    assert polled(first) == COUNT
    assert polled(laptop) == 0
    assert plant.once()


def test_of_two_with_one_name_the_later_one_polls_nothing_and_says_so(
    nexus: Start, plant: Plant, mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    keys = {"mqtt_url": mosquitto().url, "member": "same"}
    first = nexus("gateway", "--devices", str(plant.devices), **keys, spool_dir=str(tmp_path / "one"))
    until(lambda: polled(first) == COUNT and plant.once(), "it polls", 30)
    second = nexus("gateway", "--devices", str(plant.devices), **keys, spool_dir=str(tmp_path / "two"))
    until(lambda: second.metric("nexus_gateway_name_taken") == 1, "the later one notices", 30)
    assert "set NEXUS_MEMBER" in problems(second)
    assert (polled(first), polled(second)) == (COUNT, 0)
    assert plant.once()
    first.stop(signal.SIGKILL)
    until(lambda: polled(second) == COUNT, "it takes over when the name is free", 40)
