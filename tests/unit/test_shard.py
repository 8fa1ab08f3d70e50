"""Who polls what: never two at once, never nobody for long."""

import itertools
from collections.abc import Callable

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.shard import MARGIN_SECONDS, SETTLE_SECONDS, Membership
from nexus.contract.presence import Presence, decode_presence, encode_presence

LEASE = 5.0
DEVICES = [f"plant/{number}" for number in range(40)]


class Broker:
    """Retained presences, delivered at once to whoever is connected."""

    def __init__(self) -> None:
        self.retained: dict[str, bytes] = {}
        self.members: dict[str, Member] = {}

    def publish(self, member: str, payload: bytes, now: float) -> None:
        if payload:
            self.retained[member] = payload
        else:
            self.retained.pop(member, None)
        for other in self.members.values():
            if other.online:
                other.hear(member, payload, now)


class Member:
    """A gateway as the service drives it: lets go, then says so."""

    def __init__(self, name: str, broker: Broker, now: float, *, alone: bool = False) -> None:
        ids: Callable[[], str] = (f"{name}-{number}-{now}" for number in itertools.count()).__next__
        self.name = name
        self.broker = broker
        self.membership = Membership(name, LEASE, now, new_id=ids, alone=alone)
        self.membership.has(DEVICES)
        self.online = False
        self.polling: frozenset[str] = frozenset()
        broker.members[name] = self

    def hear(self, member: str, payload: bytes, now: float) -> None:
        self.membership.heard(member, decode_presence(payload) if payload else None, now)

    def connect(self, now: float) -> None:
        self.online = True
        self.say(self.membership.presence, now)
        self.membership.connected(now)
        for member, payload in list(self.broker.retained.items()):
            self.hear(member, payload, now)
        self.membership.subscribed(now)

    def cut(self, now: float) -> None:
        """The connection breaks; the broker publishes the will."""
        if self.online:
            self.online = False
            self.broker.publish(self.name, encode_presence(self.membership.will), now)
            self.membership.disconnected()

    def cut_silently(self) -> None:
        """The broker itself is gone, with all that it retained."""
        self.online = False
        self.membership.disconnected()

    def die(self, now: float) -> None:
        self.cut(now)
        self.polling = frozenset()
        del self.broker.members[self.name]

    def step(self, now: float) -> None:
        for gone in self.membership.expired(now):
            if self.online:
                self.broker.publish(gone, b"", now)
        self.polling = self.membership.devices(now)
        presence = self.membership.presence
        if self.online:
            self.say(presence, now)

    def say(self, presence: Presence, now: float) -> None:
        self.broker.publish(self.name, encode_presence(presence), now)
        self.membership.acknowledged(now)


def run(members: list[Member], start: float, seconds: float, tick: float = 0.25) -> float:
    now = start
    while now < start + seconds:
        now += tick
        for member in members:
            member.step(now)
            polled = [path for one in member.broker.members.values() for path in one.polling]
            assert len(polled) == len(set(polled)), "two gateways poll one device"
    return now


def all_polled(broker: Broker) -> bool:
    return {path for one in broker.members.values() for path in one.polling} == set(DEVICES)


def test_one_gateway_takes_all_after_settling() -> None:
    for alone, wait in ((True, SETTLE_SECONDS), (False, LEASE + MARGIN_SECONDS)):
        broker = Broker()
        one = Member("a", broker, 0, alone=alone)
        one.connect(0)
        run([one], 0, wait - 0.25)
        assert one.polling == frozenset()
        run([one], wait, 0.5)
        assert one.polling == set(DEVICES)


def test_three_gateways_share_evenly() -> None:
    broker = Broker()
    members = [Member(name, broker, 0) for name in "abc"]
    for member in members:
        member.connect(0)
    run(members, 0, LEASE + MARGIN_SECONDS + 2)
    assert all_polled(broker)
    assert all(5 <= len(member.polling) <= 25 for member in members)


def test_the_devices_of_a_dead_gateway_are_taken_over_after_its_lease() -> None:
    broker = Broker()
    members = [Member(name, broker, 0) for name in "abc"]
    for member in members:
        member.connect(0)
    now = run(members, 0, LEASE + MARGIN_SECONDS + 2)
    members[0].die(now)
    before = now
    now = run(members[1:], now, LEASE + MARGIN_SECONDS - 0.5)
    assert not all_polled(broker)
    run(members[1:], now, 1.5)
    assert all_polled(broker)
    assert "a" not in broker.retained
    assert now - before < 10


def test_only_the_dead_ones_devices_move() -> None:
    broker = Broker()
    members = [Member(name, broker, 0) for name in "abc"]
    for member in members:
        member.connect(0)
    now = run(members, 0, LEASE + MARGIN_SECONDS + 2)
    before = [member.polling for member in members[1:]]
    members[0].die(now)
    run(members[1:], now, 8)
    assert all(kept <= member.polling for kept, member in zip(before, members[1:], strict=True))


def test_one_that_lost_the_broker_stops_before_the_others_start_and_comes_back() -> None:
    broker = Broker()
    members = [Member(name, broker, 0) for name in "ab"]
    for member in members:
        member.connect(0)
    now = run(members, 0, LEASE + MARGIN_SECONDS + 2)
    members[0].cut(now)
    now = run(members, now, LEASE - 0.5)
    assert members[0].polling
    now = run(members, now, 3)
    assert not members[0].polling
    assert members[1].polling == set(DEVICES)
    members[0].connect(now)
    run(members, now, 3)
    assert all_polled(broker)
    assert members[0].polling


def test_a_short_break_moves_nothing() -> None:
    broker = Broker()
    members = [Member(name, broker, 0) for name in "ab"]
    for member in members:
        member.connect(0)
    now = run(members, 0, LEASE + MARGIN_SECONDS + 2)
    before = [member.polling for member in members]
    members[0].cut(now)
    now = run(members, now, 2)
    members[0].connect(now)
    for _ in range(20):
        now = run(members, now, 0.25)
        assert [member.polling for member in members] == before


def test_one_without_others_goes_on_when_the_broker_is_away() -> None:
    broker = Broker()
    one = Member("a", broker, 0, alone=True)
    one.connect(0)
    now = run([one], 0, 2)
    one.cut(now)
    now = run([one], now, 60)
    assert one.polling == set(DEVICES)
    one.connect(now)
    for _ in range(8):
        now = run([one], now, 0.25)
        assert one.polling == set(DEVICES)


def test_one_that_names_no_group_starts_without_the_broker() -> None:
    for alone, expected in ((True, frozenset(DEVICES)), (False, frozenset())):
        membership = Membership("a", LEASE, 0, new_id=lambda: "x", alone=alone)
        membership.has(DEVICES)
        assert membership.devices(LEASE - 0.1) == frozenset()
        assert membership.devices(LEASE + 0.1) == expected


def test_devices_that_only_one_has_files_for_are_its_own() -> None:
    broker = Broker()
    members = [Member(name, broker, 0) for name in "ab"]
    members[0].membership.has(["only/a"])
    members[1].membership.has(["only/b"])
    for member in members:
        member.connect(0)
    now = 0.0
    for _ in range(32):
        now += 0.25
        for member in members:
            member.step(now)
    assert [member.polling for member in members] == [{"only/a"}, {"only/b"}]


Event = tuple[str, str]


def happen(event: str, name: str, members: dict[str, Member], broker: Broker, now: float) -> None:
    member = members.get(name)
    if event == "connect" and member is None:
        members[name] = Member(name, broker, now)
        members[name].connect(now)
    elif event == "connect" and member is not None and not member.online:
        member.connect(now)
    elif event == "cut" and member is not None:
        member.cut(now)
    elif event == "broker":
        broker.retained.clear()
        for one in members.values():
            one.cut_silently()
    elif event == "die" and member is not None:
        members.pop(name).die(now)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["connect", "cut", "die", "wait", "broker"])), max_size=25
    )
)
@example([("a", "connect"), ("c", "connect"), ("a", "broker"), ("b", "connect"), ("c", "connect"), ("c", "cut")])
@example([("a", "connect"), ("c", "connect"), ("a", "broker"), ("b", "connect"), ("c", "die"), ("c", "connect")])
@settings(max_examples=200, deadline=None)
def test_whatever_happens_no_device_is_polled_twice(events: list[Event]) -> None:
    broker = Broker()
    members: dict[str, Member] = {}
    now = 0.0
    for name, event in events:
        happen(event, name, members, broker, now)
        # One that is alone goes on without the broker: that is its promise, and the one way to two pollers.
        alone = [one for one in members.values() if not one.online and not one.membership.peers]
        for one in alone:
            members.pop(one.name).die(now)
        now = run(list(members.values()), now, 1.0)
    for member in members.values():
        if not member.online:
            member.connect(now)
    run(list(members.values()), now, 3 * LEASE)
    assert all_polled(broker) or not members
