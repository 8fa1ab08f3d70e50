"""Who polls what: never two at once beyond what is promised, and nothing left for long."""

import itertools
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cluster.instance import Instance
from gateway.cluster.membership import SETTLE_SECONDS, Membership
from gateway.cluster.peers import MOST_OF_A_USER, Name
from gateway.cluster.witness import MARGIN_SECONDS, UNREADABLE_LEASES
from nexus.contract.codec import DecodeError
from nexus.contract.presence import (
    LONGEST_LEASE,
    Presence,
    chunks,
    decode_chunk,
    decode_presence,
    digest,
    encode_presence,
)

LEASE = 5.0
TICK = 0.25
DEVICES = dict.fromkeys(range(1, 41), 7)
APART = UNREADABLE_LEASES * LEASE  # so long two may share no witness before both may poll


class World:
    """A broker and an API server, which each show what was said to whoever reaches them."""

    def __init__(self, *, leases: bool) -> None:
        self.now = 0.0
        self.leases = leases
        self.retained: dict[Name, dict[str, bytes]] = {"broker": {}, "leases": {}}
        self.up: dict[Name, bool] = {"broker": True, "leases": True}
        self.members: dict[str, Member] = {}
        self.met: set[tuple[str, str]] = set()
        self.apart: dict[tuple[str, str], float] = {}
        self.promised: dict[tuple[str, str], float] = {}
        self.together: dict[tuple[str, str], float] = {}
        self.numbers = itertools.count()
        self.lag = 0.0  # seconds until the API server answers
        self.answers: list[tuple[float, Callable[[], None]]] = []

    def answer(self, then: Callable[[], None]) -> None:
        """The API server's answer to what is asked now."""
        self.answers.append((self.now + self.lag, then))
        self.deliver()

    def deliver(self) -> None:
        due = [then for at, then in self.answers if at <= self.now]
        self.answers = [one for one in self.answers if one[0] > self.now]
        for then in due:
            then()

    def member(self, name: str, devices: dict[int, int] | None = None, **keys: Any) -> "Member":
        self.members[name] = Member(self, name, DEVICES if devices is None else devices, **keys)
        return self.members[name]

    def say(self, witness: Name, member: str, payload: bytes) -> None:
        self.retained[witness][member] = payload
        if witness == "broker":
            for other in self.members.values():
                if other.subscribed:
                    other.hear("broker", member, payload, retained=False)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = round(self.now + TICK, 6)
            self.deliver()
            for member in list(self.members.values()):
                member.step()
                self.check()

    def check(self) -> None:
        for one, other in itertools.combinations(self.members.values(), 2):
            pair = (one.name, other.name)
            if one.reaches & other.reaches:
                self.met.add(pair)
                if self.now - self.together.setdefault(pair, self.now) >= LEASE:
                    self.apart.pop(pair, None)
            else:
                self.together.pop(pair, None)
                self.apart.setdefault(pair, self.now)
            if pair not in self.met or self.may_both_poll(one, other, self.now - self.apart.get(pair, self.now)):
                self.promised[pair] = self.now
            if self.now - self.promised.get(pair, -1e9) <= (3 if self.leases else 1.1) * LEASE:
                continue  # once they see each other again, it ends before the next lease, or Lease, does
            both = one.polling & other.polling
            assert not both, f"{pair} both poll {sorted(both)} at {self.now}"

    @staticmethod
    def may_both_poll(one: "Member", other: "Member", apart: float) -> bool:
        """What the page on groups promises, and no more."""
        long_without_a_common_witness = apart >= APART - 2 * LEASE
        cut_off_and_told_to_poll = one.away == "poll" and not (one.reaches and other.reaches)
        cut_off_and_knows_nobody = any(not each.reaches and not each.membership._has_company for each in (one, other))
        return long_without_a_common_witness or cut_off_and_told_to_poll or cut_off_and_knows_nobody

    def all_polled(self, devices: Iterable[int] = DEVICES) -> bool:
        return {path for one in self.members.values() for path in one.polling} == set(devices)


class Member:
    """A gateway as the service drives it: lets go, then says so. Its clock may run wrong by some percent."""

    def __init__(
        self,
        world: World,
        name: str,
        devices: dict[int, int],
        *,
        drift: float = 1.0,
        stopped: bool = False,
        **keys: Any,
    ) -> None:
        self.world, self.name, self.drift, self.stopped = world, name, drift, stopped
        self.away = str(keys.setdefault("away", "yield"))
        ids: Callable[[], str] = lambda: f"{next(world.numbers):04d}{name}"  # noqa: E731
        instance = Instance(ids, keys.pop("before", None))
        self.membership = Membership(name, LEASE, self.now, instance, leases=world.leases, **keys)
        self.devices = devices
        self.membership.has(devices)
        self.link: dict[Name, bool] = {"broker": True, "leases": True}
        self.subscribed = False
        self.polling: frozenset[int] = frozenset()
        self.said: object = None
        self.heartbeat = self.listed = -1e9
        self.has_lease = False
        self.control: dict[int, float] = {}
        self.queue: list[tuple[Name, str, bytes]] = []
        self.seen: dict[str, bytes] | None = None

    @property
    def now(self) -> float:
        return 1000 + self.world.now * self.drift

    @property
    def reaches(self) -> set[Name]:
        names: list[Name] = ["broker", "leases"] if self.world.leases else ["broker"]
        return {name for name in names if self.link[name] and self.world.up[name]}

    def hear(self, witness: Name, member: str, payload: bytes, *, retained: bool) -> None:
        if self.stopped:
            self.queue.append((witness, member, payload))  # the network holds it
        if self.stopped or not payload:
            return
        presence = decode_presence(payload)
        self.membership.note(witness, member, presence, self.now, retained=retained)
        if member == self.name and witness == "broker" and presence.seq in self.control:
            self.membership.showed("broker", self.control[presence.seq])

    def step(self) -> None:
        if self.stopped:
            return
        queue, self.queue = self.queue, []
        for witness, member, payload in queue:
            self.hear(witness, member, payload, retained=False)
        self._connect()
        if self.world.leases and self.now - self.listed >= LEASE * 0.75:
            self._list()
        for gone in self.membership.expired(self.now):
            if "leases" in self.reaches:
                self.world.retained["leases"].pop(gone, None)
        self.polling = self.membership.decide(self.now)
        for other in self.world.members.values():
            if other.membership.lists.digest in self.membership.lists.wanted and self.reaches & {"broker"}:
                self.membership.lists.details(other.devices)
        content = self.membership.content()
        if self.membership.may_speak(self.now) and (content != self.said or self.now - self.heartbeat >= LEASE / 4):
            self.speak(content)

    def _connect(self) -> None:
        reached = "broker" in self.reaches
        if reached and not self.subscribed:
            self.subscribed = True
            self.membership.subscribed(self.now)
            for member, payload in list(self.world.retained["broker"].items()):
                self.hear("broker", member, payload, retained=True)
            self.said = None
        elif not reached and self.subscribed:
            self.subscribed = False
            self.membership.disconnected()
            if self.world.up["broker"]:
                self.world.say("broker", self.name, encode_presence(self.membership.will))

    def _list(self) -> None:
        self.listed = asked = self.now
        if "leases" not in self.reaches:
            return
        found = dict(self.world.retained["leases"])

        def take() -> None:
            before, self.seen = self.seen, found
            for member, payload in found.items():
                if before is None or before.get(member) != payload:
                    self.hear("leases", member, payload, retained=before is None)
            self.membership.showed("leases", asked)

        self.world.answer(take)

    def speak(self, content: Presence) -> None:
        word = msgspec.structs.replace(content, seq=self.membership.instance.next_number())
        self.said, self.heartbeat, self.control = content, self.now, {word.seq: self.now}
        for witness in self.reaches:
            if witness == "broker" and not self.subscribed:
                continue
            if witness == "leases":
                self.world.answer(partial(self._renewed, self.now))
            else:
                self.membership.confirmed(witness, self.now)
            self.world.say(witness, self.name, encode_presence(word))

    def _renewed(self, asked: float) -> None:
        self.membership.confirmed("leases", asked)
        if not self.has_lease:
            self.has_lease, self.listed = True, -1e9

    def leave(self) -> None:
        self.polling = frozenset()
        for witness in self.reaches:
            self.world.say(witness, self.name, encode_presence(self.membership.farewell()))
        del self.world.members[self.name]

    def die(self) -> None:
        self.polling = frozenset()
        del self.world.members[self.name]
        if self.subscribed and self.world.up["broker"]:
            self.world.say("broker", self.name, encode_presence(self.membership.will))


def group(names: str = "abc", *, leases: bool = False, **keys: Any) -> World:
    world = World(leases=leases)
    for name in names:
        world.member(name, **keys)
    world.run(3 * LEASE)
    assert world.all_polled()
    return world


@pytest.mark.parametrize("alone", [True, False])
def test_one_gateway_takes_all_once_it_knows_that_nobody_is_there(alone: bool) -> None:
    world = World(leases=False)
    one = world.member("a", alone=alone)
    wait = SETTLE_SECONDS if alone else LEASE + MARGIN_SECONDS
    world.run(wait - TICK)
    assert not one.polling
    world.run(1.5)
    assert one.polling == set(DEVICES)


@pytest.mark.parametrize("leases", [False, True])
def test_three_gateways_share_evenly(leases: bool) -> None:
    world = group(leases=leases)
    assert all(5 <= len(member.polling) <= 25 for member in world.members.values())


@pytest.mark.parametrize(("leases", "wait"), [(False, LEASE + MARGIN_SECONDS), (True, 3 * LEASE + MARGIN_SECONDS)])
def test_a_dead_gateway_is_relieved_soon_after_its_leases_end(leases: bool, wait: float) -> None:
    world = group(leases=leases)
    kept = {name: member.polling for name, member in world.members.items() if name != "a"}
    world.members["a"].die()
    world.run(wait - 2.5)
    assert not world.all_polled()
    world.run(2.5 + LEASE)
    assert world.all_polled()
    assert all(polling <= world.members[name].polling for name, polling in kept.items()), "only the dead one's move"


@pytest.mark.parametrize("leases", [False, True])
def test_a_clean_leave_is_no_wait(leases: bool) -> None:
    world = group(leases=leases)
    world.members["a"].leave()
    world.run(1.5)
    assert world.all_polled()


@pytest.mark.parametrize("witness", ["broker", "leases"])
def test_in_a_cluster_either_witness_may_be_away_and_nothing_stops(witness: Name) -> None:
    world = group(leases=True)
    before = {name: member.polling for name, member in world.members.items()}
    world.up[witness] = False
    for _ in range(400):
        world.run(TICK)
        assert {name: member.polling for name, member in world.members.items()} == before
    world.members["a"].die()
    world.run(UNREADABLE_LEASES * LEASE + 10)
    assert world.all_polled(), "and a dead one is relieved meanwhile"
    world.member("d")
    world.run(APART + 3 * LEASE)
    assert world.all_polled()
    assert world.members["d"].polling, "and a new one takes its share"


@pytest.mark.parametrize("away", ["poll", "yield"])
def test_outside_a_cluster_a_setting_chooses_what_a_broker_that_is_away_means(away: str) -> None:
    world = group(away=away)
    before = {name: member.polling for name, member in world.members.items()}
    world.up["broker"] = False
    world.run(60)
    after = {name: member.polling for name, member in world.members.items()}
    assert after == (before if away == "poll" else dict.fromkeys("abc", frozenset()))
    world.retained["broker"].clear()
    world.up["broker"] = True
    for _ in range(80):
        world.run(TICK)
        if away == "poll":
            assert {name: member.polling for name, member in world.members.items()} == before
    assert world.all_polled()


def test_the_dead_that_a_broker_retained_are_no_gateways() -> None:
    """All were killed, the broker first, so that nobody could say goodbye; then the broker came back with its disk."""
    world = group(away="poll")
    world.members.clear()
    for name in "de":
        world.member(name, away="poll")
    world.run(2 * LEASE + 3)
    assert world.all_polled()


def test_the_dead_that_a_broker_retained_take_no_device_from_who_polls() -> None:
    """What they once said is not said now, and they may have said it with the longest lease."""
    world = World(leases=False)
    one = world.member("a", alone=True, away="poll")
    world.run(2 * LEASE)
    assert one.polling == set(DEVICES)
    world.up["broker"] = False
    world.run(LEASE)
    for name in "bcd":
        dead = Presence("online", name, LONGEST_LEASE, 5, digest(DEVICES), True)
        world.retained["broker"][name] = encode_presence(dead)
    world.up["broker"] = True
    for _ in range(int(2 * LEASE / TICK)):
        world.run(TICK)
        assert one.polling == set(DEVICES)


FORGED = [
    Presence("online", "evil", 60.0, 5, "00ff00ff00ff00ff", True, frozenset({"x:y"})),
    Presence("online", "evil", 60.0, 5),
    Presence("lost", "evil", 60.0),
]


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_presence_that_is_retained_stops_not_even_a_lone_gateway(forged: Presence) -> None:
    for member in ("evil", "a"):
        world = World(leases=False)
        world.retained["broker"][member] = encode_presence(forged)
        one = world.member("a", alone=True, away="poll")
        world.run(LONGEST_LEASE + MARGIN_SECONDS + 2)
        assert one.polling == set(DEVICES)
        for payload in (encode_presence(forged), encode_presence(forged)):
            world.say("broker", "evil", payload)
            world.run(1)
            assert one.polling == set(DEVICES), "and takes nothing from one that polls"


@pytest.mark.parametrize("text", [b'{"state":"online","id":"x","lease":1e9}', b"[" * 100_000, b"\xff", b"{}"])
def test_what_no_gateway_says_is_refused(text: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_presence(text)


def test_a_presence_is_as_small_for_many_devices() -> None:
    few, many = (Membership("a", LEASE, 0, Instance(lambda: "x")) for _ in range(2))
    few.has({1: 1})
    many.has(dict.fromkeys(range(100_000), 1))
    assert len(encode_presence(many.content())) == len(encode_presence(few.content())) < 200
    assert len(encode_presence(many.will)) < 100
    parts = [decode_chunk(chunk) for chunk in chunks(dict.fromkeys(range(100_000), 1))]
    assert len(parts) == 20
    assert sum(len(part.devices) for part in parts) == 100_000


def test_devices_that_only_one_has_files_for_are_its_own() -> None:
    world = World(leases=False)
    world.member("a", {1: 1, 2: 1, 3: 1})
    world.member("b", {3: 1, 4: 1, 5: 1})
    world.run(3 * LEASE)
    assert world.all_polled({1, 2, 3, 4, 5})


def test_another_definition_of_a_device_is_refused_and_never_taken() -> None:
    for laptop in "zyxwv":  # whoever would rank first
        world = group("a", away="poll")
        other = world.member(laptop, dict.fromkeys(DEVICES, 8) | {99: 8}, away="poll", alone=True)
        world.run(3 * LEASE)
        assert world.members["a"].polling == set(DEVICES)
        assert other.polling == {99}
        assert other.membership.contested == dict.fromkeys(DEVICES, "a")
        assert world.members["a"].membership.contested == dict.fromkeys(DEVICES, laptop)


def test_a_changed_definition_reaches_one_after_the_other_without_two_or_none() -> None:
    world = group()
    changed = DEVICES | dict.fromkeys(range(1, 11), 8) | {50: 1}
    for name in "cab":
        world.members[name].devices = changed
        world.members[name].membership.has(changed)
        world.run(3)
    assert world.all_polled(changed)
    assert not world.members["a"].membership.contested


def test_of_two_with_one_name_the_later_one_polls_nothing() -> None:
    world = group("a", away="poll")
    first = world.members.pop("a")
    world.members = {"first": first}
    second = Member(world, "a", DEVICES, away="poll")
    world.members["second"] = second
    world.run(5 * LEASE)
    assert second.membership.has_twin
    assert not second.polling
    assert first.polling == set(DEVICES)
    del world.members["first"]
    world.run(3 * LEASE)
    assert second.polling == set(DEVICES), "it takes over when the first one is gone"


def test_of_two_with_one_name_that_start_together_one_polls() -> None:
    world = World(leases=False)
    for number in range(2):
        world.members[str(number)] = Member(world, "a", DEVICES, away="poll")
    world.run(5 * LEASE)
    assert sorted(len(one.polling) for one in world.members.values()) == [0, 40]


def test_a_process_that_starts_again_knows_its_own_past() -> None:
    world = group("a", alone=True)
    before = world.members["a"].membership.instance.id
    world.members["a"].die()
    one = world.member("a", alone=True, before=before)
    world.run(1.5)
    assert one.polling == set(DEVICES)


@pytest.mark.parametrize("lag", [1.0, 2.5])
@pytest.mark.parametrize("wait", [0.25, 1.0, 2.0])
@pytest.mark.parametrize("names", ["ab", "ba"])
def test_two_that_start_together_beside_a_slow_api_server_share(lag: float, wait: float, names: str) -> None:
    world = World(leases=True)
    world.lag = lag
    for name in names:
        world.member(name).link["broker"] = name == "a"
        world.run(wait)
    for _ in range(int(8 * LEASE / TICK)):
        world.run(TICK)
        assert not world.members["a"].polling & world.members["b"].polling
    assert world.all_polled()


@pytest.mark.parametrize("leases", [False, True])
@pytest.mark.parametrize("twin_is_there", [False, True])
def test_one_that_starts_without_its_past_polls_though_the_broker_goes_away(leases: bool, twin_is_there: bool) -> None:
    world = group("a", leases=leases, alone=True, away="poll")
    if twin_is_there:
        world.members["first"] = world.members.pop("a")
    else:
        world.members["a"].die()
    second = world.member("a", alone=True, away="poll")
    world.run(1)
    if twin_is_there:
        world.run(2 * LEASE)
        assert not second.polling
        del world.members["first"]
    world.up["broker"] = False
    world.run(UNREADABLE_LEASES * LEASE + 2 * MARGIN_SECONDS)
    assert second.polling == set(DEVICES)


@pytest.mark.parametrize("away", ["poll", "yield"])
def test_one_that_was_stopped_looks_before_it_polls(away: str) -> None:
    world = group(away=away)
    one = world.members["a"]
    assert one.membership.polls_until() > one.now
    one.stopped, one.polling = True, frozenset()
    world.run(3 * LEASE)
    assert world.all_polled()
    one.stopped = False
    assert one.membership.polls_until() < one.now
    assert one.membership.decide(one.now) == frozenset()
    world.run(3 * LEASE)
    assert world.all_polled()
    assert one.polling


def intrude(world: World, turn: int) -> None:
    """A broker's user renews twenty presences, and makes room for everybody."""
    tokens = frozenset(f"{one.membership.instance.id}:{digest(one.devices)}" for one in world.members.values())
    for name in range(MOST_OF_A_USER):
        forged = Presence("online", f"evil{name}", LEASE, turn, digest(DEVICES), True, tokens)
        world.say("broker", f"press/x{name}", encode_presence(forged))


def test_who_has_no_lease_takes_nothing_where_leases_are_used() -> None:
    world = group(leases=True)
    before = {name: member.polling for name, member in world.members.items()}
    for turn in range(400):
        intrude(world, turn)
        world.run(TICK)
        assert {name: member.polling for name, member in world.members.items()} == before
    world.members["a"].die()
    world.member("a")
    for turn in range(400, 400 + int((12 + 4) * LEASE / TICK)):
        intrude(world, turn)
        world.run(TICK)
    assert world.all_polled(), "and keeps nothing for long from one that starts"


def test_who_starts_while_the_api_server_is_away_takes_its_share_and_gives_it_back_if_only_its_own_is() -> None:
    world = World(leases=True)
    one = world.member("a", alone=True)
    one.link["leases"] = False
    world.run(10 * LEASE)
    assert one.polling == set(DEVICES)
    world.member("b")
    world.run(20 * LEASE)  # `check` looks that no two poll one device
    assert world.all_polled()
    one.link["leases"] = True
    world.run(4 * LEASE)
    assert world.all_polled()
    assert one.polling


def test_who_is_heard_by_one_witness_alone_is_not_replaced_when_it_changes_to_the_other() -> None:
    """Not by one that cannot read the other, as long as it may be renewing there."""
    world = World(leases=True)
    world.member("a").link["leases"] = False
    world.run(0.5)
    two = world.member("b")
    world.run(20)
    two.link["broker"] = False
    world.run(20 - 2 * TICK)
    assert not any(one.polling & other.polling for one, other in itertools.combinations(world.members.values(), 2))


EVENTS = [
    "start",
    "start cut",
    "die",
    "leave",
    "wait",
    "broker",
    "leases",
    "cut broker",
    "cut leases",
    "stop",
    "wipe",
    "forge",
]


def happen(world: World, event: str, name: str) -> None:
    member = world.members.get(name)
    if event.startswith("start") and member is None:
        member = world.member(name, drift={"a": 1.0, "b": 1.03, "c": 0.97}[name])
        member.link["leases"] = "cut" not in event
    elif event in ("broker", "leases"):
        side: Name = "broker" if event == "broker" else "leases"
        world.up[side] = not world.up[side]
    elif event == "wipe" and not world.up["broker"]:
        world.retained["broker"].clear()
    elif event == "forge":
        forged = Presence("online", f"evil{next(world.numbers)}", 60.0, 1, "", True, frozenset({"x:y"}))
        world.retained["broker"][f"evil-{name}"] = encode_presence(forged)
    elif member is None:
        return
    elif event == "die":
        member.die()
    elif event == "leave":
        member.leave()
    elif event.startswith("cut "):
        witness: Name = "broker" if event.endswith("broker") else "leases"
        member.link[witness] = not member.link[witness]
    elif event == "stop":
        member.stopped = not member.stopped
        member.polling = frozenset()


@pytest.mark.parametrize("leases", [False, True])
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(EVENTS), st.sampled_from([0.5, 2, 7, 20])), max_size=20)
)
@settings(max_examples=600)
def test_whatever_happens_no_device_is_polled_twice_nor_left(
    leases: bool, events: list[tuple[str, str, float]]
) -> None:
    world = World(leases=leases)
    for name, event, wait in events:
        happen(world, event, name)
        world.run(wait)
    world.up = {"broker": True, "leases": True}
    for member in world.members.values():
        member.link = {"broker": True, "leases": True}
        member.stopped = False
    world.run(LONGEST_LEASE + 12 * LEASE)
    assert world.all_polled() or not world.members


def test_a_user_gets_one_share_however_many_names_it_takes() -> None:
    world = group("a", alone=True)
    one = world.members["a"]
    for turn in range(80):
        token = f"{one.membership.instance.id}:{digest(DEVICES)}"
        for name in range(40):
            forged = Presence("online", f"evil{name}", LEASE, turn, digest(DEVICES), True, frozenset({token}))
            world.say("broker", f"press/x{name}", encode_presence(forged))
        world.run(TICK)
    assert len(one.polling) > len(DEVICES) / 4, "half, more or less"
    assert one.membership.members == 1 + MOST_OF_A_USER


def test_several_of_one_user_share_what_is_the_users() -> None:
    world = World(leases=False)
    for name in ("a/a-1", "a/a-2", "a", "b"):
        world.member(name)
    world.run(4 * LEASE)
    assert world.all_polled()
    assert all(member.polling for member in world.members.values())


def test_where_nothing_changes_nothing_is_worked_out_again() -> None:
    world = group()
    before = {name: member.polling for name, member in world.members.items()}
    world.run(3 * LEASE)
    assert all(member.polling is before[name] for name, member in world.members.items())


def test_what_a_gateway_remembers_of_itself_is_bounded() -> None:
    ids = itertools.count()
    one = Instance(lambda: f"{next(ids)}", before="old")
    assert one.is_ours("old")
    for _ in range(10_000):
        one.renew()
    assert len(one.ids) <= 1000
    assert one.is_ours(one.id)
    assert not one.is_ours("old")


def test_a_member_whose_device_list_has_not_come_is_named() -> None:
    one = Membership("a", LEASE, 0.0, Instance(lambda: "1"))
    one.has({1: 7})
    for name, devices in (("b", {1: 7}), ("c", {2: 7})):
        one.note("broker", name, Presence("online", name, LEASE, 1, digest(devices)), 0.0, retained=False)
    assert one.lists.missing == ["c"]
    one.lists.details({2: 7})
    assert one.lists.missing == []


def test_who_returns_says_no_state_of_what_another_has_taken_over() -> None:
    world = World(leases=False)
    one = world.member("a", away="poll")
    two = world.member("b", away="poll")

    def stated(member: Member) -> set[int]:
        return {path for path in DEVICES if member.membership.may_state(path, member.now)}

    world.run(4 * LEASE)
    assert stated(one) == one.polling
    assert stated(one) | stated(two) == set(DEVICES)
    one.link["broker"] = False
    world.run(4 * LEASE)
    assert stated(one) == set()
    assert stated(two) == set(DEVICES)
    one.link["broker"] = True
    for _ in range(int(4 * LEASE / TICK)):
        world.run(TICK)
        assert not stated(one) & stated(two)
    assert stated(one) == one.polling
    assert stated(one) | stated(two) == set(DEVICES)


def test_who_is_alone_says_its_states_as_soon_as_the_broker_is_back() -> None:
    world = World(leases=False)
    one = world.member("a", alone=True)
    world.run(LEASE)
    one.link["broker"] = False
    world.run(4 * LEASE)
    one.link["broker"] = True
    world.run(2 * SETTLE_SECONDS)
    assert all(one.membership.may_state(path, one.now) for path in DEVICES)
