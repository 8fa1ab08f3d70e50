"""The console's live values: what is counted, what is conflated, and who is sent what."""

import asyncio
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from psycopg_pool import PoolTimeout

from console.live import frames, numbered, stored, subscriptions
from console.live import hub as hubs
from console.live.alarms import Alarms
from console.live.client import MOST_BUFFERED, MOST_DEVICES, MOST_OF_A_FRAME, Client
from console.live.device_rows import DeviceRows
from console.live.devices import device_state
from console.live.hub import Hub
from console.live.last_known import LastKnown
from console.live.numbered import Given, Numbers
from console.live.retained import Retained
from console.live.shares import NAMES_A_SECOND, Share
from console.live.subscriptions import LINGER_SECONDS, Subscriptions, filters
from console.live.values import Values
from console.live.wheel import TICKS, Wheel
from ingestion.rules.description import describe
from ingestion.rules.files import load
from nexus.contract import codec
from nexus.contract.codec import DecodeError, Message
from nexus.contract.description import Description, TagDescription, decode_description, encode_description
from nexus.contract.presence import Presence, encode_presence
from nexus.contract.reading import Reading
from nexus.contract.status import Status, encode_status

NOW = 1_767_225_600_000
TOPIC = "dev/plant/plc/t"


class Wire:
    """A transport: what was written, and how much of it nobody has taken."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.buffered = 0

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def is_closing(self) -> bool:
        return False

    def taken(self) -> list[Any]:
        """The messages that were written since the last look."""
        data, self.written = b"".join(self.written), []
        found = []
        while data:
            size, start = data[1], 2
            if size > 125:
                start = 4 if size == 126 else 10
                size = int.from_bytes(data[2:start], "big")
            found.append(json.loads(data[start : start + size]))
            data = data[start + size :]
        return found


def send(client: Client, values: Values, retained: Retained | None = None) -> bool:
    rows = DeviceRows(retained or Retained(), lambda path: json.dumps(path).encode())
    return client.send(values.last_change, rows, Alarms(), NOW)


def message(time: int, value: Any, topic: str = TOPIC) -> Message:
    return codec.decode(
        topic, json.dumps({"v": value, "ts": time, "q": {} if isinstance(value, dict) else "good"}).encode()
    )


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_frame_says_how_long_it_is(size: int) -> None:
    frame = frames.text(b"x" * size)
    assert frame.endswith(b"x" * size)
    head = frame[: len(frame) - size]
    assert head[0] == 0x81
    assert (int.from_bytes(head[2:], "big") if head[1] > 125 else head[1]) == size


def test_of_many_changes_a_client_is_sent_the_newest_once() -> None:
    values, wire = Values(), Wire()
    client = Client(wire, 1)
    client.watch(values.watch(TOPIC))
    send(client, values)
    assert wire.taken() == [], "nothing is known yet"
    for number in range(5):
        values.take(message(NOW + number, number), NOW)
    send(client, values)
    send(client, values)
    assert wire.taken() == [{"values": [[TOPIC, NOW + 4, 4, "good"]]}]


def test_who_comes_later_is_first_sent_what_is_known() -> None:
    values, wire = Values(), Wire()
    watched = values.watch(TOPIC)
    values.take(message(NOW, 1.5), NOW)
    client = Client(wire, 1)
    client.seen = values.last_change  # it has been here for longer, for other topics
    client.watch(watched)
    send(client, values)
    assert wire.taken() == [{"values": [[TOPIC, NOW, 1.5, "good"]]}]
    send(client, values)
    assert wire.taken() == []


def test_a_client_that_takes_nothing_costs_no_memory_and_is_told_of_the_gap() -> None:
    values, wire = Values(), Wire()
    client = Client(wire, 1)
    client.watch(values.watch(TOPIC))
    wire.buffered = MOST_BUFFERED + 1
    for number in range(3):
        values.take(message(NOW + number, number), NOW)
        assert send(client, values), "a frame is left out"
    client.say(b"not sent either")
    assert wire.written == []
    wire.buffered = 0
    send(client, values)
    gap, newest = wire.taken()
    assert "too slowly" in gap["gap"]["reason"]
    assert newest == {"values": [[TOPIC, NOW + 2, 2, "good"]]}


def test_what_is_too_much_for_one_frame_comes_with_the_next() -> None:
    values, wire, retained = Values(), Wire(), Retained()
    client = Client(wire, 1)
    client.prefixes.add("plant")
    names = [f"dev/plant/plc/t{number}" for number in range(100)]
    for name in names:
        client.watch(values.watch(name))
        values.take(message(NOW, "x" * 10_000, name), NOW)
    for number in range(MOST_DEVICES + 1):
        status = encode_status(Status("online", "", NOW))
        retained.take(f"status/plant/{number}", status, None, 0)
        retained.take(f"status/other/{number}", status, None, 0)
    sent, devices = [], []
    for _ in range(3):
        send(client, values, retained)
        assert len(b"".join(wire.written)) < MOST_OF_A_FRAME + 60_000
        for frame in wire.taken():
            sent += [row[0] for row in frame.get("values", [])]
            devices += frame.get("devices", [])
    assert sorted(sent) == sorted(names), "each once"
    assert sorted(devices) == sorted(f"plant/{number}" for number in range(MOST_DEVICES + 1))


def test_a_value_comes_by_its_own_message_or_in_its_devices() -> None:
    values = Values()
    watched = values.watch(TOPIC)
    values.take(message(NOW, {"t": True, "other": 1}, "dev/plant/plc"), NOW)
    assert json.loads(watched.json) == [TOPIC, NOW, True, "good"]
    values.take(message(NOW + 1, 2**60), NOW)
    assert json.loads(watched.json) == [TOPIC, NOW + 1, str(2**60), "good"], "a browser would lose digits"


def test_old_values_and_wrong_clocks_hide_nothing() -> None:
    values = Values()
    watched = values.watch(TOPIC)
    values.take(message(NOW, 1), NOW)
    values.take(message(NOW - 1, 0), NOW)
    values.take(message(NOW + 3_600_001, 2), NOW)
    values.known(TOPIC, NOW - 1, 0, "good", None)
    assert watched.value == 1


def test_a_topic_is_forgotten_with_its_last_watcher() -> None:
    values = Values()
    first, second = values.watch(TOPIC), values.watch(TOPIC)
    assert first is second
    values.unwatch(first)
    assert values.get(TOPIC) is first
    values.unwatch(second)
    assert (len(values), values.get(TOPIC)) == (0, None)


@pytest.mark.parametrize("rate", range(1, 11))
def test_a_client_gets_no_more_frames_than_it_asked_for(rate: int) -> None:
    wheel, client = Wheel(), Client(Wire(), rate)
    wheel.add(client)
    turns = [number for number in range(10 * TICKS) if client in wheel.turn()]
    assert all(after - before >= TICKS / rate for before, after in pairwise(turns))
    assert len(turns) >= 10 * TICKS // (TICKS // rate + 1) - 1
    client.is_open = False
    assert not any(wheel.turn() for _ in range(2 * TICKS)), "it is gone"


def test_clients_are_spread_over_the_second() -> None:
    wheel = Wheel()
    for _ in range(10 * TICKS):
        wheel.add(Client(Wire(), 1))
    assert {len(wheel.turn()) for _ in range(TICKS)} == {10}


def test_a_tag_is_subscribed_to_in_both_its_forms() -> None:
    assert filters(TOPIC) == [TOPIC, "dev/plant/plc"]
    assert filters("dev/alone") == ["dev/alone"]


class Broker:
    """Notes what is subscribed to."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.asked = 0

    async def subscribe(self, name: str, *, at_most_once: bool) -> None:
        assert at_most_once
        self.asked += 1
        self.held.add(name)

    async def unsubscribe(self, name: str) -> None:
        self.held.remove(name)


async def test_the_broker_is_asked_for_what_somebody_watches_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    broker, own = Broker(), Subscriptions()
    for _ in range(3):
        own.need(TOPIC)
    own.need("dev/plant/plc/u")
    await own.begin(broker)  # type: ignore[arg-type]
    assert (broker.held, broker.asked) == ({TOPIC, "dev/plant/plc/u", "dev/plant/plc"}, 3)
    for _ in range(3):
        own.release(TOPIC)
    now = asyncio.get_running_loop().time()
    monkeypatch.setattr(own, "_clock", lambda: now + LINGER_SECONDS + 1)
    own.need("dev/plant/plc/v")
    running = asyncio.create_task(own.run(broker))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    assert broker.held == {"dev/plant/plc/u", "dev/plant/plc/v", "dev/plant/plc"}


async def test_what_is_released_and_needed_while_the_broker_is_asked_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker, own = Broker(), Subscriptions()
    loop = asyncio.get_running_loop()
    own.need(TOPIC)
    await own.begin(broker)  # type: ignore[arg-type]
    own.release(TOPIC)
    now = loop.time()
    monkeypatch.setattr(own, "_clock", lambda: now + LINGER_SECONDS + 1)
    other = "dev/plant/other/t"
    own.need(other)
    running = asyncio.create_task(own.run(broker))  # type: ignore[arg-type]
    loop.call_soon(own.need, TOPIC)  # between its choice and what it asks
    loop.call_soon(own.release, other)
    for _ in range(8):
        await asyncio.sleep(0)
    assert not running.done()
    running.cancel()
    assert TOPIC in broker.held


async def test_a_storm_of_subscriptions_leaves_nothing_behind_while_the_broker_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker, own = Broker(), Subscriptions()
    own.need(TOPIC)
    for number in range(1_000):
        own.need(f"dev/{number}/t")
        own.release(f"dev/{number}/t")
    assert own.remembered == len(filters(TOPIC))
    await own.begin(broker)  # type: ignore[arg-type]
    assert broker.held == set(filters(TOPIC)), "the broker is not asked for what nobody wants any more"
    monkeypatch.setattr(subscriptions, "MOST_LINGERING", 10)
    for number in range(100):
        own.need(f"dev/{number}/t")
    await own.begin(broker)  # type: ignore[arg-type]
    for number in range(100):
        own.release(f"dev/{number}/t")
    own.need("dev/100/t")
    running = asyncio.create_task(own.run(broker))  # type: ignore[arg-type]
    for _ in range(50):
        await asyncio.sleep(0)
    running.cancel()
    assert broker.held >= {TOPIC, "dev/100/t", "dev/99/t"}, "what was left last lingers"
    assert len(broker.held) == len(filters(TOPIC)) + len(filters("dev/100/t")) + 10


class _Database:
    """One that is away."""

    def connection(self) -> Any:
        raise PoolTimeout


async def hub() -> tuple[Hub, Subscriptions, LastKnown, Values]:
    values, own = Values(), Subscriptions()
    last_known = LastKnown(_Database(), values)  # type: ignore[arg-type]
    return Hub(values, own, last_known, DeviceRows(Retained(), lambda _: b""), Alarms()), own, last_known, values


async def test_a_storm_leaves_nothing_to_be_asked_of_a_database_that_is_away() -> None:
    whole, own, last_known, values = await hub()
    with whole.client(Wire(), "vera") as client:
        for number in range(100):
            assert whole.subscribe(client, f"dev/{number}/t") is None
            whole.unsubscribe(client, f"dev/{number}/t")
        assert whole.subscribe(client, TOPIC) is None
        assert (last_known.waiting, own.remembered, len(values)) == (1, 2, 1)
    assert (last_known.waiting, own.remembered, len(values)) == (0, 0, 0)


async def test_one_person_takes_neither_all_sockets_nor_all_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "MOST_SOCKETS", 2)
    monkeypatch.setattr(hubs, "MOST_OF_A_PERSON", 3)
    whole, *_ = await hub()
    with (
        whole.client(Wire(), "vera") as one,
        whole.client(Wire(), "vera") as two,
        whole.client(Wire(), "otto") as other,
    ):
        assert whole.has_enough("vera")
        assert not whole.has_enough("otto")
        faults = [whole.subscribe(client, f"dev/{number}/t") for number in range(2) for client in (one, two)]
        assert faults[:3] == [None] * 3
        assert "one person can watch 3 topics" in str(faults[3])
        assert whole.subscribe(other, TOPIC) is None
        whole.unsubscribe(one, "dev/0/t")
        assert whole.subscribe(two, "dev/1/t") is None
    assert not whole.has_enough("vera")


def test_who_names_many_topics_is_heeded_again_later() -> None:
    share = Share()
    assert share.pause(NAMES_A_SECOND, 10.0) == 1.0
    assert share.pause(NAMES_A_SECOND, 10.0) == 2.0, "whichever of the sockets it is"
    assert share.pause(0, 20.0) == 0.0


DESCRIPTION = Description(
    "plc", "plant/plc", "modbus-tcp", "gateway-1", "10.0.0.1:502", 1.0, "tag", (TagDescription("t", "coil:1"),), NOW
)


def presence(state: Any, seq: int = 1) -> bytes:
    return encode_presence(Presence(state, "x", 5.0, seq))


def known(retained: Retained) -> tuple[str, str | None]:
    found = device_state(retained, "plant/plc", None)
    return found.state, found.breaker


def test_a_device_is_what_its_gateway_says_while_that_lives() -> None:
    retained = Retained()
    retained.take("device/plant/plc", encode_description(DESCRIPTION), None, 0)
    retained.take("gateway/g/gateway-1", presence("online"), None, 0)
    retained.take("status/plant/plc", encode_status(Status("online", "", NOW)), None, 0)
    assert known(retained) == ("online", "closed")
    retained.take("status/plant/plc", encode_status(Status("offline", "no answer", NOW)), None, 1)
    assert known(retained) == ("offline", "open")
    before = retained.last_change
    retained.expire(16.0)
    assert known(retained) == ("unknown", None), "the gateway has been silent for three leases"
    assert retained.last_change > before, "who watches is told"
    retained.take("gateway/g/gateway-1", presence("online", 2), None, 17)
    assert known(retained)[0] == "offline"
    retained.take("gateway/g/gateway-1", presence("lost", 3), None, 18)
    assert known(retained)[0] == "unknown"
    assert "the broker is away" in device_state(retained, "plant/plc", "refused").reason


def test_gateways_of_two_groups_may_have_one_name() -> None:
    retained = Retained()
    for group in ("line1", "line2"):
        path = f"plant/{group}"
        described = msgspec.structs.replace(DESCRIPTION, path=path, group=group)
        retained.take(f"device/{path}", encode_description(described), None, 0)
        retained.take(f"gateway/{group}/gateway-1", presence("online"), None, 0)
        retained.take(f"status/{path}", encode_status(Status("online", "", NOW)), None, 0)
    retained.take("gateway/line2/gateway-1", presence("online", 2), None, 15)
    before = dict(retained.changes)
    retained.expire(16.0)
    assert [device_state(retained, f"plant/{group}", None).state for group in ("line1", "line2")] == [
        "unknown",
        "online",
    ]
    assert [path for path in retained.changes if retained.changes[path] != before[path]] == ["plant/line1"]


def test_a_rule_is_what_it_says_itself_and_no_gateway_has_it(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(
        "rules: [{name: plc, path: plant/plc, inputs: {a: p/d/a},"
        " tags: [{name: t, expression: a * 2, unit: kW, alarms: [{name: high, above: 5, priority: high}]}]}]"
    )
    [rule] = load(tmp_path / "rules.yaml")
    retained = Retained()
    retained.take("device/plant/plc", describe(rule, "rules", NOW), None, 0)
    retained.take("status/plant/plc", encode_status(Status("online", "", NOW)), None, 0)
    found = device_state(retained, "plant/plc", None)
    assert (found.state, found.protocol, found.gateway, found.tags) == ("online", "rules", "nexus rules", 1)
    assert (found.endpoint, found.interval, found.breaker) == (None, None, None)
    [tag] = retained.descriptions["plant/plc"].tags
    assert (tag.address, tag.unit) == ("expression: a * 2", "kW")
    assert [(one.name, one.limit, one.priority) for one in tag.alarms] == [("high", 5.0, "high")]


def test_a_description_of_an_older_gateway_names_no_group() -> None:
    assert decode_description(encode_description(DESCRIPTION).replace(b',"group":null', b"")) == DESCRIPTION


def test_what_a_new_connection_does_not_bring_is_gone() -> None:
    retained = Retained()
    for name, payload in (
        ("device/plant/plc", encode_description(DESCRIPTION)),
        ("status/plant/plc", encode_status(Status("online", "", NOW))),
        ("gateway/g/gateway-1", presence("online")),
        ("gateway/g/gateway-1/devices/0", b"\0"),
        ("gateway/g/gateway-1/totals/plant/state", b"{}"),
    ):
        retained.take(name, payload, None, 0)
    assert (retained.paths, list(retained.tags), list(retained.gateways)) == (
        ["plant/plc"],
        [TOPIC],
        [("g", "gateway-1")],
    )
    retained.begin()
    retained.take("status/plant/plc", encode_status(Status("online", "", NOW)), 60, 0)
    retained.sweep()
    assert (retained.paths, retained.tags, retained.gateways) == (["plant/plc"], {}, {})
    retained.expire(61)
    assert retained.paths == [], "nobody has said it again"


def test_what_is_no_description_costs_itself() -> None:
    retained = Retained()
    for name in ("status/a", "device/a", "gateway/g/a", "gateway/g/a/state"):
        with pytest.raises(DecodeError):
            retained.take(name, b'{"state": 1}', None, 0)
    assert retained.paths == []


def test_readings_by_http_have_a_number_each_and_a_tag_once_a_message() -> None:
    readings = [Given("w/7", Reading("level", NOW + number // 2, number), "m") for number in range(4)]
    readings[1] = Given("w/8", Reading("level", NOW, "x"), None)
    publisher = "0123456789abcdef" * 2
    found = [codec.decode(name, payload) for name, payload in numbered.messages(readings, publisher, 5)]
    assert [(one.topic, one.publisher, one.numbers, one.misnumbered) for one in found] == [
        ("dev/w/7", publisher, (5, 5), False),
        ("dev/w/7", publisher, (6, 6), False),
        ("dev/w/7", publisher, (7, 7), False),
        ("dev/w/8", publisher, (8, 8), False),
    ]


def test_only_what_was_sent_can_be_committed() -> None:
    numbers = Numbers()
    first, last = numbers.take(10)
    assert not numbers.commit(5, 11)
    assert numbers.commit(3, 5)
    assert (numbers.committed(first, last), numbers.waiting) == (3, 10)
    numbers.commit(1, 10)
    assert numbers.committed(first, last) == 10
    numbers.give_back(first)
    assert (numbers.waiting, numbers.take(1)) == (0, (11, 11))


def test_of_a_device_a_few_tags_stand_for_all() -> None:
    known = sorted([f"dev/a/b/{number}" for number in range(9)] + ["dev/a/b0/x", "dev/a/bc/x", "dev/a"])
    assert stored.some_tags(known, "a/b") == ["dev/a/b/0", "dev/a/b/4", "dev/a/b/8"]
    assert stored.some_tags(known, "a/bc") == ["dev/a/bc/x"]
    assert stored.some_tags(known, "nowhere") == []
