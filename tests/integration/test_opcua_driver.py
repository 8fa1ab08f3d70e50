"""The OPC UA driver against servers on real sockets."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncua
import pytest
from asyncua import ua
from asyncua.server.internal_subscription import InternalSubscription
from asyncua.server.uaprocessor import UaProcessor
from asyncua.ua import ua_binary
from cryptography import x509

from gateway.config.devices import ConfiguredDevice
from gateway.config.schema import BreakerKeys
from gateway.delivery.publish_options import PublishOptions
from gateway.drivers.driver import Device, DeviceError, DeviceSession, Tag, WriteError
from gateway.drivers.opcua import client as opcua_client
from gateway.drivers.opcua import driver as opcua
from gateway.drivers.opcua import limits as opcua_limits
from gateway.drivers.opcua import security as opcua_security
from gateway.drivers.opcua import session as opcua_session
from gateway.drivers.opcua import subscription as opcua_subscription
from gateway.drivers.opcua import values as opcua_values
from gateway.drivers.opcua.address import Address
from gateway.drivers.opcua.settings import Settings
from gateway.polling.intake import Intake
from gateway.polling.poller import Poller
from gateway.polling.slots import Slots
from gateway.polling.tally import Tally
from gateway.tools import browse
from nexus.contract.codec import encode_tag
from nexus.contract.reading import Quality, Reading
from nexus.readings.report import Report
from simulators import opcua as simulator
from simulators.fault import Fault, Faults
from tests.parts import PATIENCE, free_port
from tests.peer import listening

WAIT = 10.0 * PATIENCE


@pytest.fixture(autouse=True)
def own_pki(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEXUS_PKI_DIR", str(tmp_path / "pki"))
    return tmp_path / "pki"


POINTS: list[dict[str, Any]] = [
    {"node": "Force", "signal": {"kind": "constant", "value": 84.5}},
    {"node": "Count", "type": "int64", "signal": {"kind": "counter"}},
    {"node": "On", "type": "bool", "signal": {"kind": "constant", "value": 1}},
    {"node": "Name", "type": "string", "signal": {"kind": "constant", "value": "°C"}},
]


def simulated(**keys: object) -> simulator.Device:
    return simulator.Device.model_validate(
        {"name": "plc", "protocol": "opcua", "port": 0, "interval": "50ms", "points": POINTS, **keys}
    )


def device(port: int, tags: dict[str, Any], timeout: float = 2.0, **keys: Any) -> Device[Settings, Address]:
    settings = Settings.model_validate({"endpoint": f"opc.tcp://127.0.0.1:{port}", **keys})
    made = []
    for name, address in tags.items():
        keys = {"address": address} if isinstance(address, str) else dict(address)
        made.append(Tag(name, opcua.parse_address(keys.pop("address"), settings), interval=0.1, **keys))
    return Device("plc", "plc", "opcua", timeout, settings, tuple(made))


TAGS = {"force": "ns=2;s=Force", "count": "nsu=urn:nexus:simulator;s=Count", "on": "ns=2;s=On", "name": "ns=2;s=Name"}


@asynccontextmanager
async def connected(
    tags: dict[str, Any], faults: Faults | None = None, **keys: Any
) -> AsyncIterator[tuple[Device[Settings, Address], DeviceSession[Address]]]:
    server = {name: keys.pop(name) for name in ("secure", "users", "points") if name in keys}
    async with simulator.serve([simulated(**server)], faults) as servers:
        plc = device(next(iter(servers)), tags, **keys)
        async with opcua.connect(plc) as link:
            yield plc, link


async def heard(link: DeviceSession[Address], enough: Callable[[list[Reading]], bool]) -> list[Reading]:
    assert link.next_changes is not None
    found: list[Reading] = []
    async with asyncio.timeout(WAIT):
        while not enough(found):
            found += await link.next_changes()
    return found


def values(readings: list[Reading]) -> dict[str, Any]:
    return {r.tag: r.value if r.quality == Quality.GOOD else Quality(r.quality) for r in readings}


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(work())  # type: ignore[arg-type]


def test_all_is_heard_and_a_counter_without_a_gap() -> None:
    async def scenario() -> None:
        async with connected(TAGS) as (_, link):
            found = await heard(link, lambda found: sum(r.tag == "count" for r in found) > 20)
            assert {tag: value for tag, value in values(found).items() if tag != "count"} == {
                "force": 84.5,
                "on": True,
                "name": "°C",
            }
            counts: list[Any] = [r.value for r in found if r.tag == "count"][1:]
            assert counts == list(range(counts[0], counts[0] + len(counts)))
            times = [r.time for r in found if r.tag == "count"]
            assert times == sorted(set(times))

    run(scenario)


def test_poll_reads_all_and_each_reading_has_a_time_of_its_own() -> None:
    async def scenario() -> None:
        async with connected(TAGS, mode="poll") as (plc, link):
            assert link.next_changes is None
            first, second = await link.compile(plc.tags)(), await link.compile(plc.tags)()
            assert {**values(first), "count": 0} == {"force": 84.5, "on": True, "name": "°C", "count": 0}
            assert all(a.time < b.time for a, b in zip(first, second, strict=True) if a.tag != "count")

    run(scenario)


@pytest.mark.parametrize("mode", ["subscribe", "poll"])
def test_a_node_that_is_not_there_is_bad_and_alone(mode: str) -> None:
    async def scenario() -> None:
        tags = {**TAGS, "none": "ns=2;s=None", "elsewhere": "nsu=urn:nobody;s=X"}
        async with connected(tags, mode=mode) as (plc, link):
            found = (
                await heard(link, lambda found: len(values(found)) == 6)
                if link.next_changes
                else await link.compile(plc.tags)()
            )
            assert values(found)["none"] == values(found)["elsewhere"] == Quality.BAD
            assert values(found)["force"] == 84.5
            assert link.tag_errors["none"] == "BadNodeIdUnknown"
            assert "no namespace urn:nobody" in link.tag_errors["elsewhere"]

    run(scenario)


def test_a_bad_status_is_a_bad_quality() -> None:
    async def scenario() -> None:
        faults = Faults({"plc"})
        async with connected({"count": "ns=2;s=Count"}, faults) as (_, link):
            await heard(link, lambda found: values(found).get("count") not in (None, Quality.BAD))
            faults.set("plc", Fault(kind="bad"))
            found = await heard(link, lambda found: values(found).get("count") == Quality.BAD)
            assert found[-1].value is None
            assert link.tag_errors["count"] == "BadSensorFailure"

    run(scenario)


def test_a_deadband_is_kept_by_the_server() -> None:
    async def scenario() -> None:
        tags = {
            "all": "ns=2;s=Count",
            "some": {"address": "ns=2;s=Twin", "report": Report(deadband=9)},
        }
        points = [*POINTS, {"node": "Twin", "type": "double", "signal": {"kind": "counter"}}]
        async with connected(tags, points=points) as (_, link):
            found = await heard(link, lambda found: sum(r.tag == "all" for r in found) > 40)
            some: list[Any] = [r.value for r in found if r.tag == "some"][1:]
            assert len(some) <= 5
            assert all(b - a == 10 for a, b in itertools.pairwise(some))

    run(scenario)


def test_what_is_written_is_read_back() -> None:
    async def scenario() -> None:
        async with connected(TAGS, mode="poll") as (plc, link):
            tags = {tag.name: tag for tag in plc.tags}
            await link.write(tags["force"], 12)
            await link.write(tags["on"], False)
            await link.write(tags["name"], "neu")
            assert {**values(await link.compile(plc.tags)()), "count": 0} == {
                "force": 12.0,
                "on": False,
                "name": "neu",
                "count": 0,
            }
            with pytest.raises(WriteError, match="Double takes nothing else"):
                await link.write(tags["force"], "text")

    run(scenario)


def test_a_node_that_may_not_be_written_says_what_to_do() -> None:
    async def scenario() -> None:
        async with connected({"state": "i=2259"}, mode="poll") as (plc, link):
            with pytest.raises(WriteError, match="or leave `writable` out"):
                await link.write(plc.tags[0], 1)

    run(scenario)


def test_two_thousand_nodes_are_all_heard_at_once() -> None:
    async def scenario() -> None:
        points = [{"node": f"N{n}", "signal": {"kind": "constant", "value": n}} for n in range(2000)]
        async with connected({f"n{n}": f"ns=2;s=N{n}" for n in range(2000)}, points=points, timeout=WAIT) as (_, link):
            found = await heard(link, lambda found: len(found) >= 2000)
            assert values(found) == {f"n{n}": n for n in range(2000)}

    run(scenario)


@pytest.mark.parametrize("kind", ["hang", "drop", "half", "garbage", "refuse"])
@pytest.mark.parametrize("mode", ["subscribe", "poll"])
def test_a_fault_is_a_lost_device_and_ends_with_its_cause(
    kind: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opcua_subscription, "_KEEP_ALIVE_SECONDS", 0.2)

    async def scenario() -> None:
        faults = Faults({"plc"})
        async with simulator.serve([simulated()], faults) as servers:
            port, server = next(iter(servers.items()))
            plc = device(port, {"force": "ns=2;s=Force"}, mode=mode, timeout=0.5)
            with pytest.raises(DeviceError):
                async with asyncio.timeout(WAIT), opcua.connect(plc) as link:
                    assert values(await (link.next_changes() if link.next_changes else link.compile(plc.tags)())) == {
                        "force": 84.5
                    }
                    faults.set("plc", Fault(kind=kind))
                    if kind == "refuse":
                        for writer in server.connections:
                            writer.transport.abort()
                    while True:
                        await (link.next_changes() if link.next_changes else link.compile(plc.tags)())
            faults.set("plc", None)
            async with opcua.connect(replace(plc, timeout=WAIT)) as link:
                assert values(await (link.next_changes() if link.next_changes else link.compile(plc.tags)())) == {
                    "force": 84.5
                }
            async with asyncio.timeout(WAIT):
                while server.connections:
                    await asyncio.sleep(0.01)

    run(scenario)


@pytest.mark.parametrize("policy", ["Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss"])
def test_with_security_both_sides_must_trust(policy: str, own_pki: Path) -> None:
    async def scenario() -> None:
        async with simulator.serve([simulated(secure=True)]) as servers:
            port = next(iter(servers))
            plc = device(port, {"force": "ns=2;s=Force"}, security={"policy": policy}, timeout=5)
            with pytest.raises(DeviceError, match=r"we do not trust the server's certificate.*nexus opcua trust"):
                async with opcua.connect(plc):
                    pass
            [endpoint, *_] = [
                one for one in await opcua_client.endpoints(f"opc.tcp://127.0.0.1:{port}", 5) if one.ServerCertificate
            ]
            server = x509.load_der_x509_certificate(endpoint.ServerCertificate)
            await browse.trust(f"opc.tcp://127.0.0.1:{port}", 5, opcua_security.fingerprint(server))
            async with opcua.connect(plc) as link:
                assert values(await link.compile(plc.tags)()) == {"force": 84.5}
        own = opcua_security.load(own_pki / "own" / "certificate.der")
        assert opcua_security.application_uri(own).startswith("urn:")
        assert 1000 < opcua_security.days_left(own) < 2000
        assert (own_pki / "own" / "key.pem").stat().st_mode & 0o077 == 0

    run(scenario)


def test_a_policy_that_is_not_offered_is_said_with_those_that_are() -> None:
    async def scenario() -> None:
        async with connected(TAGS, security={"policy": "Basic256Sha256", "trust": "any"}):
            pass

    with pytest.raises(DeviceError, match="does not offer Basic256Sha256/SignAndEncrypt, but None"):
        run(scenario)


def test_a_server_that_wants_security_says_which(own_pki: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        port = free_port()
        opcua_security.create(tmp_path / "certificate.der", tmp_path / "key.pem", "press")
        server = asyncua.Server()
        await server.init()
        server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
        server.set_security_policy([ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt])
        await server.load_certificate(str(tmp_path / "certificate.der"))
        await server.load_private_key(str(tmp_path / "key.pem"))
        async with server, opcua.connect(device(port, TAGS)):
            pass

    said = "does not offer connections without security, but .*Basic256Sha256/SignAndEncrypt.*: choose one of these"
    with pytest.raises(DeviceError, match=said):
        run(scenario)


@pytest.mark.parametrize(
    ("keys", "fails"),
    [
        ({"username": "operator", "password": "secret", "insecure_password": True}, False),
        ({"username": "operator", "password": "wrong", "insecure_password": True}, True),
        ({}, True),
    ],
)
def test_a_login_is_accepted_or_its_refusal_said(keys: dict[str, Any], fails: bool) -> None:
    async def scenario() -> None:
        async with connected(TAGS, users={"operator": "secret"}, **keys) as (plc, link):
            assert values(await link.compile(plc.tags)())["force"] == 84.5

    if fails:
        with pytest.raises(DeviceError, match="the server refuses the login"):
            run(scenario)
    else:
        run(scenario)


def test_nothing_listening_is_a_lost_device() -> None:
    async def scenario() -> None:
        async with opcua.connect(device(1, TAGS)):
            pass

    with pytest.raises(DeviceError, match="nothing listens on that port"):
        run(scenario)


def test_our_own_certificate_is_made_once(own_pki: Path) -> None:
    first, second = opcua_security.own(), opcua_security.own()
    assert first == second
    assert isinstance(opcua_security.load(first[0]), x509.Certificate)


def test_a_small_plc_is_recognised_and_treated_so() -> None:
    async def scenario() -> None:
        from asyncua import Server  # noqa: PLC0415

        server = Server()
        await server.init()
        server.set_endpoint("opc.tcp://127.0.0.1:0")
        now = datetime.now(UTC)
        await server.set_build_info("https://www.siemens.com/s7-1200", "Siemens", "SIMATIC.S7-1200", "1", "1", now)
        async with server:
            tags = {f"n{n}": f"ns=2;s=N{n}" for n in range(1001)}
            port = server.bserver.port
            with pytest.raises(DeviceError, match="monitors at most 1000 items, not 1001: use `mode: poll`"):
                async with opcua.connect(device(port, tags)):
                    pass
            async with opcua.connect(device(port, tags, mode="poll")) as link:
                assert len(await link.compile(device(port, tags).tags)()) == 1001
            async with opcua.connect(device(port, tags, profile="standard")):
                pass

    run(scenario)


@asynccontextmanager
async def own_server():  # type: ignore[no-untyped-def]
    """A server whose nodes the test writes itself; gives it, its port and its objects folder."""
    from asyncua import Server  # noqa: PLC0415

    server = Server()
    await server.init()
    server.set_endpoint("opc.tcp://127.0.0.1:0")
    async with server:
        yield server, server.bserver.port, server.nodes.objects


@pytest.mark.parametrize("mode", ["subscribe", "poll"])
def test_a_text_in_latin_1_is_read_and_can_be_published(mode: str) -> None:
    async def scenario() -> None:
        async with own_server() as (_, port, objects):
            node = await objects.add_variable("ns=1;s=Unit", "Unit", b"\xb0C".decode("utf-8", "surrogateescape"))
            plc = device(port, {"unit": node.nodeid.to_string()}, mode=mode)
            async with opcua.connect(plc) as link:
                [found] = await heard(link, bool) if link.next_changes else await link.compile(plc.tags)()
            assert found.value == "°C"
            assert "°C".encode() in encode_tag(found)

    run(scenario)


def test_changes_within_one_tick_of_a_coarse_clock_are_all_kept() -> None:
    async def scenario() -> None:
        async with own_server() as (server, port, objects):
            node = await objects.add_variable(ua.NodeId("Part", 1), "Part", 0)
            async with opcua.connect(device(port, {"part": "ns=1;s=Part"}, sampling="0s")) as link:
                found = await heard(link, bool)
                second = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
                for number in range(1, 8):
                    data = ua.DataValue(ua.Variant(number, ua.VariantType.Int64), SourceTimestamp=second)
                    await server.write_attribute_value(node.nodeid, data)
                found += await heard(link, lambda more: more[-1:] != [] and more[-1].value == 7)
            assert [r.value for r in found] == list(range(8))
            assert len({r.time for r in found}) == 8

    run(scenario)


def test_a_value_before_which_others_were_lost_is_uncertain() -> None:
    async def scenario() -> None:
        async with own_server() as (server, port, objects):
            node = await objects.add_variable(ua.NodeId("Part", 1), "Part", 0)
            async with opcua.connect(device(port, {"part": "ns=1;s=Part"})) as link:
                await heard(link, bool)
                status = ua.StatusCode(ua.StatusCodes.Good | 0x0400 | 0x0080)
                data = ua.DataValue(ua.Variant(5, ua.VariantType.Int64), status, SourceTimestamp=datetime.now(UTC))
                await server.write_attribute_value(node.nodeid, data)
                [reading] = await heard(link, bool)
            assert (reading.value, reading.quality) == (5, Quality.UNCERTAIN)
            assert "raise `queue`" in link.tag_errors["part"]

    run(scenario)


@pytest.mark.parametrize("year", [1601, 1970, 2100, 9999])
def test_a_time_that_cannot_be_right_is_not_called_good(year: int) -> None:
    async def scenario() -> None:
        async with own_server() as (server, port, objects):
            node = await objects.add_variable(ua.NodeId("Part", 1), "Part", 0)
            async with opcua.connect(device(port, {"part": "ns=1;s=Part"})) as link:
                await heard(link, bool)
                data = ua.DataValue(
                    ua.Variant(5, ua.VariantType.Int64), SourceTimestamp=datetime(year, 1, 2, tzinfo=UTC)
                )
                await server.write_attribute_value(node.nodeid, data)
                [reading] = await heard(link, bool)
            assert (reading.value, reading.quality) == (5, Quality.UNCERTAIN)
            assert abs(reading.time - datetime.now(UTC).timestamp() * 1000) < 60_000

    run(scenario)


@pytest.mark.parametrize("mode", ["subscribe", "poll"])
def test_a_node_that_comes_later_is_read_then(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (opcua_session, opcua_subscription):
        monkeypatch.setattr(module, "ASK_AGAIN_SECONDS", 0.2)

    async def scenario() -> None:
        async with own_server() as (server, port, objects):
            tags = {"late": "ns=1;s=Late", "other": "nsu=urn:later;s=Other"}
            plc = device(port, tags, mode=mode)
            async with opcua.connect(plc) as link:
                take = link.next_changes or link.compile(plc.tags)

                async def until(quality: Quality) -> list[Reading]:
                    found: list[Reading] = []
                    async with asyncio.timeout(WAIT):
                        while {r.tag for r in found if r.quality == quality} != {"late", "other"}:
                            found += await take()
                    return found

                await until(Quality.BAD)
                index = await server.register_namespace("urn:later")
                await objects.add_variable(ua.NodeId("Late", 1), "Late", 1.5)
                await objects.add_variable(ua.NodeId("Other", index), "Other", 1.5)
                found = await until(Quality.GOOD)
            assert {r.value for r in found if r.quality == Quality.GOOD} == {1.5}

    run(scenario)


def test_a_value_from_long_ago_is_what_the_node_holds_now() -> None:
    async def scenario() -> None:
        async with own_server() as (server, port, objects):
            node = await objects.add_variable(ua.NodeId("Part", 1), "Part", 0)
            long_ago = datetime.now(UTC) - timedelta(days=100)
            data = ua.DataValue(ua.Variant(5, ua.VariantType.Int64), SourceTimestamp=long_ago)
            await server.write_attribute_value(node.nodeid, data)
            before = datetime.now(UTC).timestamp() * 1000
            async with opcua.connect(device(port, {"part": "ns=1;s=Part"})) as link:
                [reading] = await heard(link, bool)
            assert (reading.value, reading.quality) == (5, Quality.GOOD)
            assert reading.time >= int(before)

    run(scenario)


@pytest.mark.parametrize("value", [2.5, -1, 256, True, float("inf"), float("nan"), 1e308, 10**400, "5", None])
def test_only_what_fits_is_written(value: Any) -> None:
    with pytest.raises(WriteError, match="Byte"):
        opcua_values.variant(value, ua.VariantType.Byte)


@pytest.mark.parametrize("value", [0, 1, 0.3, "off", "false", "0", -1])
def test_a_boolean_takes_booleans_only(value: Any) -> None:
    with pytest.raises(WriteError, match="Boolean"):
        opcua_values.variant(value, ua.VariantType.Boolean)


def test_a_float_takes_what_is_finite_and_fits() -> None:
    assert opcua_values.variant(2, ua.VariantType.Float).Value == 2.0
    for value, kind in (
        (1e39, ua.VariantType.Float),
        (float("inf"), ua.VariantType.Double),
        (True, ua.VariantType.Float),
    ):
        with pytest.raises(WriteError, match=kind.name):
            opcua_values.variant(value, kind)


def test_a_lost_subscription_leaves_a_gap_that_shows() -> None:
    async def scenario() -> None:
        faults = Faults({"plc"})
        async with simulator.serve([simulated()], faults) as servers:
            port, server = next(iter(servers.items()))
            plc = device(port, {"count": "ns=2;s=Count", "force": "ns=2;s=Force"}, timeout=1.0)
            scans: list[Reading] = []
            states: list[str] = []
            publish_options = PublishOptions("plc", "device", {})
            one = ConfiguredDevice(plc, opcua, BreakerKeys(), publish_options)  # type: ignore[arg-type]
            intake = Intake(one, lambda _, readings: scans.extend(readings), tally=Tally())
            poller = Poller(one, intake, lambda _, status: states.append(status.state), lambda: True, Slots())
            running = asyncio.create_task(poller.run())

            async def until(condition: Callable[[], bool]) -> None:
                async with asyncio.timeout(WAIT):
                    while not condition():
                        await asyncio.sleep(0.02)

            def good(tag: str) -> list[int]:
                return [r.time for r in scans if r.tag == tag and r.quality == Quality.GOOD]

            await until(lambda: len(good("count")) > 5 and good("force") != [])
            seen = len(good("force"))
            for writer in server.connections:
                writer.transport.abort()
            await until(lambda: len(good("force")) > seen)
            running.cancel()
        for tag in ("count", "force"):
            [gap] = [r for r in scans if r.tag == tag and r.quality == Quality.BAD]
            at = [r for r in scans if r.tag == tag].index(gap)
            ordered = [r.time for r in scans if r.tag == tag]
            assert ordered == sorted(set(ordered))
            assert 0 < at < len(ordered) - 1
        assert states == ["online", "degraded", "online"]

    run(scenario)


def test_a_message_without_an_end_is_not_kept() -> None:
    sent = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.read(1000)
        writer.write(b"ACKF" + (2**31).to_bytes(4, "little"))
        while sent < 200_000_000:
            writer.write(bytes(100_000))
            sent += 100_000
            await writer.drain()

    async def scenario() -> None:
        async with listening(talk) as port:
            with pytest.raises(DeviceError):
                async with opcua.connect(device(port, TAGS, timeout=WAIT)):
                    pass

    run(scenario)
    assert sent < 60_000_000


def test_a_report_of_more_changes_than_were_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding it would keep all other devices waiting."""

    def flood(_: object, result: ua.PublishResult) -> None:
        item = ua.MonitoredItemNotification(ClientHandle=0, Value=ua.DataValue(ua.Variant(1.5)))
        changes = ua.DataChangeNotification(MonitoredItems=[item] * 20_000)
        result.NotificationMessage.NotificationData.append(changes)

    async def scenario() -> None:
        async with own_server() as (_, port, objects):
            await objects.add_variable(ua.NodeId("Part", 1), "Part", 0)
            monkeypatch.setattr(InternalSubscription, "_pop_triggered_datachanges", flood)
            async with opcua.connect(device(port, {"part": "ns=1;s=Part"})) as link:
                with pytest.raises(DeviceError, match="more in it than was asked for"):
                    await heard(link, lambda _: False)

    run(scenario)


def test_full_queues_of_many_items_are_heard_whole() -> None:
    """In one report: this server knows no limit of notifications."""

    async def scenario() -> None:
        async with own_server() as (server, port, objects):
            nodes = [await objects.add_variable(ua.NodeId(f"N{n}", 1), f"N{n}", 0) for n in range(500)]
            tags = {f"n{n}": f"ns=1;s=N{n}" for n in range(500)}
            async with opcua.connect(device(port, tags, timeout=WAIT)) as link:
                found = await heard(link, lambda found: len(found) == 500)
                for change in range(1, 11):
                    for node in nodes:
                        data = ua.DataValue(ua.Variant(change, ua.VariantType.Int64), SourceTimestamp=datetime.now(UTC))
                        await server.write_attribute_value(node.nodeid, data)
                found += await heard(link, lambda found: len(found) == 5000)
        for tag in ("n7", "n499"):
            assert [r.value for r in found if r.tag == tag] == list(range(11))

    run(scenario)


@pytest.mark.parametrize("mode", ["subscribe", "poll"])
def test_an_array_with_a_value_in_each_byte_is_not_decoded(mode: str) -> None:
    async def scenario() -> None:
        async with own_server() as (_, port, objects):
            array, kind = ua.Variant([ua.Variant()] * 100_000), ua.NodeId(ua.ObjectIds.BaseDataType)
            await objects.add_variable(ua.NodeId("Part", 1), "Part", array, datatype=kind)
            plc = device(port, {"part": "ns=1;s=Part"}, mode=mode, timeout=WAIT)
            async with opcua.connect(plc) as link:
                found = await (link.next_changes() if link.next_changes else link.compile(plc.tags)())
                assert values(found) == {"part": Quality.BAD}
                assert "too large" in link.tag_errors["part"]

    run(scenario)


@asynccontextmanager
async def with_lists(count: int, length: int, **keys: Any) -> AsyncIterator[tuple[Any, Any, DeviceSession[Address]]]:
    """A server with numbers, and lists of texts among them; gives it, the device and a session."""
    async with own_server() as (server, port, objects):
        tags = {f"n{n}": f"ns=1;s=N{n}" for n in range(10)} | {f"list{n}": f"ns=1;s=List{n}" for n in range(count)}
        texts = ua.Variant([f"alarm {n}" for n in range(length)], ua.VariantType.String)
        for n in range(10):
            await objects.add_variable(ua.NodeId(f"N{n}", 1), f"N{n}", n)
        for n in range(count):
            await objects.add_variable(ua.NodeId(f"List{n}", 1), f"List{n}", texts)
        plc = device(port, dict(sorted(tags.items(), key=lambda item: item[0][::-1])), timeout=WAIT, **keys)
        async with opcua.connect(plc) as link:
            yield server, plc, link


@pytest.mark.parametrize(
    ("count", "length", "why"),
    [(1, 12_000, "too large"), (3, 12_000, "too large"), (6, 3_000, "an array")],
    ids=["one", "several", "together"],
)
@pytest.mark.parametrize("mode", ["subscribe", "poll"])
def test_tags_whose_values_are_too_large_are_bad_and_alone(mode: str, count: int, length: int, why: str) -> None:
    async def scenario() -> None:
        async with with_lists(count, length, mode=mode) as (server, plc, link):
            good: dict[str, Any] = {f"n{n}": n for n in range(10)}
            bad = {f"list{n}": Quality.BAD for n in range(count)}
            found = (
                await heard(link, lambda found: values(found) == good | bad)
                if link.next_changes
                else await link.compile(plc.tags)()
            )
            assert values(found) == good | bad
            for tag in bad:
                assert why in link.tag_errors[tag]
                assert "name one element's own node" in link.tag_errors[tag]
            await server.get_node("ns=1;s=N3").write_value(33)
            if link.next_changes:
                assert values(await heard(link, bool)) == {"n3": 33}
            else:
                assert values(await link.compile(plc.tags)())["n3"] == 33

    run(scenario)


@pytest.mark.parametrize(("count", "length"), [(1, 12_000), (6, 3_000)])
def test_what_was_found_too_large_costs_the_next_scans_nothing(
    count: int, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[int] = []
    read = opcua_session.Session._values

    async def counted(self: opcua_session.Session, parameters: ua.ReadParameters) -> list[ua.DataValue] | None:
        if (found := await read(self, parameters)) is None:
            refused.append(len(parameters.NodesToRead))
        return found

    monkeypatch.setattr(opcua_session.Session, "_values", counted)

    async def scenario() -> None:
        async with with_lists(count, length, mode="poll") as (_, plc, link):
            scan = link.compile(plc.tags)
            first = await scan()
            assert refused[0] == 10 + count
            refused.clear()
            assert values(await scan()) == values(first)
            assert refused == []

    run(scenario)


@pytest.fixture(params=["sends it nevertheless", "answers with a fault", "breaks it off"])
def long_answers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a server does with an answer that is longer than we said that we take."""
    respond, manner = UaProcessor.send_response, request.param

    def send(self: UaProcessor, handle: int, head: ua.SequenceHeader, response: Any, *args: Any) -> None:
        limit, too_large = self._limits.max_message_size, ua.StatusCode(ua.StatusCodes.BadResponseTooLarge)
        if manner == "sends it nevertheless" or len(ua_binary.struct_to_binary(response)) <= limit:
            respond(self, handle, head, response, *args)
        elif manner == "answers with a fault":
            fault = ua.ServiceFault()
            fault.ResponseHeader.ServiceResult = too_large
            respond(self, handle, head, fault, *args)
        else:
            end = ua_binary.struct_to_binary(ua.ErrorMessage(too_large, "too large"))
            chunk = bytearray(self._connection.message_to_binary(end, request_id=head.RequestId))
            assert chunk[:4] == b"MSGF"
            chunk[3:4] = b"A"
            self._transport.write(bytes(chunk))

    monkeypatch.setattr(UaProcessor, "send_response", send)


@pytest.mark.usefixtures("long_answers")
@pytest.mark.parametrize("mode", ["subscribe", "poll"])
def test_a_value_that_is_longer_than_any_message_we_take_is_bad_and_alone(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opcua_limits, "MOST_BYTES", 400_000)

    async def scenario() -> None:
        async with own_server() as (server, port, objects):
            await objects.add_variable(ua.NodeId("Image", 1), "Image", bytes(1_000_000))
            for n in range(10):
                await objects.add_variable(ua.NodeId(f"N{n}", 1), f"N{n}", n)
            tags = {"image": "ns=1;s=Image"} | {f"n{n}": f"ns=1;s=N{n}" for n in range(10)}
            good: dict[str, Any] = {f"n{n}": n for n in range(10)}
            plc = device(port, tags, mode=mode, timeout=WAIT)
            async with opcua.connect(plc) as link:
                if link.next_changes:
                    found = await heard(link, lambda found: values(found) == good | {"image": Quality.BAD})
                else:
                    found = await link.compile(plc.tags)()
                assert values(found) == good | {"image": Quality.BAD}
                assert "too large" in link.tag_errors["image"]
                await server.get_node("ns=1;s=N3").write_value(33)
                found = await (heard(link, bool) if link.next_changes else link.compile(plc.tags[1:])())
                assert values(found)["n3"] == 33

    run(scenario)


def test_a_list_that_grows_leaves_a_gap_in_what_is_heard() -> None:
    async def scenario() -> None:
        async with with_lists(1, 3, mode="subscribe") as (server, _, link):
            found = await heard(link, lambda found: len(values(found)) == 11)
            texts = ua.Variant(["alarm"] * 12_000, ua.VariantType.String)
            await server.get_node("ns=1;s=List0").write_value(texts)
            found += await heard(link, lambda more: values(more).get("n3") == 3)
            assert [r.quality for r in found if r.tag == "n3"] == [Quality.GOOD, Quality.BAD, Quality.GOOD]
            times = [r.time for r in found if r.tag == "n3"]
            assert times == sorted(set(times))
            assert "too large" in link.tag_errors["list0"]

    run(scenario)


def test_a_list_cannot_be_written_and_the_device_is_not_lost() -> None:
    async def scenario() -> None:
        async with with_lists(1, 12_000, mode="poll") as (_, plc, link):
            tags = {tag.name: tag for tag in plc.tags}
            with pytest.raises(WriteError, match="too large"):
                await link.write(tags["list0"], 1)
            assert values(await link.compile(plc.tags)())["n3"] == 3

    run(scenario)


def test_what_the_server_tells_and_cannot_be_read_is_a_lost_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library drops it without a word, and the last value would pass for the present one."""

    def fail(*_: object) -> Reading:
        raise OverflowError("hostile")

    async def scenario() -> None:
        async with connected(TAGS) as (_, link):
            monkeypatch.setattr(opcua_values, "reading", fail)
            with pytest.raises(DeviceError, match="cannot be decoded"):
                await heard(link, lambda _: False)

    run(scenario)


@pytest.mark.parametrize("interval", [float("nan"), float("inf"), -1.0, 1e300])
def test_a_server_that_wants_to_be_silent_for_ever_is_not_waited_for_as_long(interval: float) -> None:
    async def scenario() -> None:
        async with connected(TAGS, mode="poll") as (plc, _):
            made = SimpleNamespace(RevisedPublishingInterval=interval, RevisedMaxKeepAliveCount=10, SubscriptionId=1)

            async def create(*_: object) -> Any:
                return made

            async def monitor(parameters: ua.CreateMonitoredItemsParameters) -> list[ua.MonitoredItemCreateResult]:
                return [ua.MonitoredItemCreateResult() for _ in parameters.ItemsToCreate]

            services = SimpleNamespace(create_subscription=create, create_monitored_items=monitor)
            session: Any = SimpleNamespace(
                services=services,
                device=plc,
                nodes={tag.name: ua.NodeId(1) for tag in plc.tags},
                limits=opcua_session.Limits(),
                client=SimpleNamespace(),
                tag_errors={},
            )
            subscription = opcua_subscription.Subscription(session)
            await subscription.subscribe(None, 10)
            assert 0 < subscription._stale_after <= 1300

    run(scenario)
