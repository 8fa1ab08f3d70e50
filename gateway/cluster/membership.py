"""One gateway's view of its group, which decides what it may poll. Pure: `now` is seconds on our own clock.

A member is alive as long as we see it *renew* its presence, on the broker or by its Kubernetes Lease; a retained
presence counts as a single sign of life. A member keeps its devices while either of the two witnesses confirms its own
renewals. Others take over only when, for longer than its lease, each witness has shown them their own renewals, and
none of that member's.
"""

from collections.abc import Mapping
from typing import Literal

from gateway.cluster.assignment import ALL_KEPT, Assignment, Rival, assign, rank
from gateway.cluster.instance import Instance
from gateway.cluster.lists import Lists
from gateway.cluster.peers import Name, Peer, Peers
from gateway.cluster.twin import Twin
from gateway.cluster.witness import MARGIN_SECONDS, UNREADABLE_LEASES, Witnesses
from nexus.contract.presence import MOST_KEPT, Key, Mark, Presence

SETTLE_SECONDS = 0.5  # for retained messages to arrive after subscribing
STALL_SECONDS = 1.0  # after this long without a decision we may have been suspended, and peers may have taken over


class Membership:
    """One gateway's view of its group.

    `alone`: start without hearing from anybody. `away`: keep polling, or yield, when nothing can be renewed and others
    are known.
    """

    def __init__(
        self,
        me: str,
        lease: float,
        now: float,
        instance: Instance,
        *,
        alone: bool = False,
        leases: bool = False,
        away: Literal["poll", "yield"] = "poll",
    ) -> None:
        self._me, self._lease, self._born = me, lease, now
        self.instance, self._alone, self._away = instance, alone, away
        self._witnesses = Witnesses(lease, leases=leases)
        self._group = Peers()
        self._peers = self._group.living
        self.lists = Lists(self._peers)
        self._twin = Twin()
        self._subscribed: float | None = None
        self._settled = self._spoke = False
        self._lapsed = True
        self._doubtful_until = now  # until then peers may report that they have taken over
        self._doubted: frozenset[Key] = frozenset()  # what we had before
        self._fresh_from = now  # what peers announced before that no longer counts
        self._all = self._holding = frozenset[Key]()
        self._pruned: frozenset[Key] | None = None
        self._assignment = Assignment(frozenset(), frozenset())
        self._basis: object = None
        self._decided = now

    # What we announce.

    @property
    def lease(self) -> float:
        return self._lease

    def content(self) -> Presence:
        """What to announce once polling of everything that `decide` did not name has stopped."""
        kept = frozenset(one for one in self._assignment.contested if one in self._holding)
        return Presence(
            "online",
            self.instance.id,
            self._lease,
            0,
            self.lists.digest,
            bool(self._holding),
            frozenset(peer.granted for peer in self._peers.values() if peer.granted is not None),
            kept if len(kept) <= MOST_KEPT else frozenset((ALL_KEPT,)),
        )

    def farewell(self) -> Presence:
        """Announces that we poll nothing any more."""
        return Presence("left", self.instance.id, self._lease, self.instance.next_number())

    @property
    def will(self) -> Presence:
        """The last will: published by the broker when our connection is lost."""
        return Presence("lost", self.instance.id, self._lease)

    # What we hear.

    def has(self, devices: Mapping[Key, Mark]) -> None:
        """Our device files have these."""
        self.lists.has(devices)
        self._all = frozenset(devices)

    def subscribed(self, now: float) -> None:
        """A new connection: what the broker has retained comes now."""
        self._witnesses.broker.lost()
        self._subscribed = now
        if now >= self._witnesses.held_until():
            self._fresh_from = now
            self._doubt(now)
        # The broker may have lost members that we do not know of either.
        self._settled &= self._alone or bool(self._peers) or self._witnesses.leases is not None

    def disconnected(self) -> None:
        self._subscribed = None
        self._witnesses.broker.lost()

    def confirmed(self, witness: Name, sent: float) -> None:
        """The witness has the presence that we sent then."""
        self._witnesses.by_name[witness].confirmed(sent)

    def showed(self, witness: Name, sent: float) -> None:
        """The witness has shown us everything up to then."""
        self._witnesses.by_name[witness].showed(sent, self._lease)

    def note(self, witness: Name, member: str, presence: Presence, now: float, *, retained: bool) -> bool:
        """Takes a member's presence; False when there are too many. `retained` if it is an old one."""
        if member == self._me:
            if not self.instance.is_ours(presence.id):
                self._twin.note(witness, presence, now, retained=retained)
            return True
        return self._group.note(witness, member, presence, now, retained=retained)

    # What follows.

    @property
    def members(self) -> int:
        return 1 + len(self._peers)

    @property
    def contested(self) -> dict[Key, str]:
        """Devices of ours that a member defines differently, and which member."""
        return self._assignment.contested

    @property
    def has_twin(self) -> bool:
        """Another gateway with our name is alive, and we are not to poll."""
        return self._twin.goes_first(self.instance.id if self._spoke else None)

    def speaks_for(self, device: Key) -> bool:
        """Whether we rank first for a device among the members connected to the broker."""
        rivals = {name: self.lists.known(peer.presence.devices) or {} for name, peer in self._peers.items()}
        owning = [name for name, devices in rivals.items() if device in devices]
        before = [self._peers[name] for name in owning if rank(name, device) > rank(self._me, device)]
        return not owning or (bool(before) and all(peer.lost for peer in before))

    def may_state(self, device: Key, now: float) -> bool:
        """Whether to publish a device's state: it is ours, and nobody can have taken it over while we were cut off."""
        if device not in self._holding or self._subscribed is None or now < self._subscribed + SETTLE_SECONDS:
            return False
        is_doubted = device in self._doubted and now < self._doubtful_until
        return not self._peers or (now < self.polls_until() and not is_doubted)

    def may_speak(self, now: float) -> bool:
        """Whether to announce ourselves: not before it is known that nobody else has our name."""
        if self._twin and (not self._spoke or self.has_twin):
            return False
        listed = self._witnesses.leases is not None and self._witnesses.leases.seen is not None
        heard = self._subscribed is not None and now >= self._subscribed + SETTLE_SECONDS
        self._spoke |= listed or heard
        return self._spoke

    def polls_until(self) -> float:
        """How long the last decision holds: a process that was suspended must decide again before it polls."""
        if self._has_company and self._away == "yield":
            return self._witnesses.held_until()
        return max(self._witnesses.held_until(), self._decided + STALL_SECONDS) if self._is_attended else float("inf")

    def expired(self, now: float) -> list[str]:
        """Removes members whose leases have expired, and names them."""
        if self._is_attended or self._away == "poll":
            self._twin.expire(self._witnesses, self._lease, self._subscribed, now)
        gone = [name for name, peer in self._peers.items() if self._witnesses.are_silent(peer, now)]
        for name in gone:
            self._group.forget(name, self._peers[name].presence.seq)
        return gone

    def decide(self, now: float) -> frozenset[Key]:
        """The devices to poll now."""
        self._yield_if_needed(now)
        self._settle(now)
        if self._twin and not self._spoke:
            return self._holding
        if self._lapsed and self._away == "yield":
            self._prune()
        elif not self._witnesses.can_see(now) and not self._peers and self._goes_on_alone(now):
            self._holding = self._all
        elif self._witnesses.can_see(now):
            self._assign(now)
        else:
            self._prune()
        return self._holding

    def _yield_if_needed(self, now: float) -> None:
        stopped = now - self._decided > STALL_SECONDS and self._is_attended
        was_lapsed, self._lapsed, self._decided = self._lapsed, self._has_lapsed(now), now
        if self.has_twin:
            if self._spoke or self._holding:
                self._let_go()
            self._spoke = False
        elif stopped and now >= self._witnesses.held_until():
            self._let_go()
            self._settled, self._born = False, now
            self._witnesses.lost()  # what was announced meanwhile is still to come, before our own next presence
        elif self._lapsed and not was_lapsed and self._away == "yield":
            self._let_go()
        if self._lapsed:
            self._doubt(now)

    def _doubt(self, now: float) -> None:
        self._doubtful_until, self._doubted = now + 2 * self._lease, self._holding

    @property
    def _has_company(self) -> bool:
        return bool(self._peers) and any(peer.live for peer in self._peers.values())

    @property
    def _is_attended(self) -> bool:
        """Peers have reason to think that we live: there is a connection, as far as we know."""
        return self._subscribed is not None or self._witnesses.leases is not None

    def _has_lapsed(self, now: float) -> bool:
        """Peers may have taken over, as nothing of ours was confirmed for a lease."""
        return self._has_company and now >= self._witnesses.held_until()

    def _prune(self) -> None:
        if self._pruned is not self._all:
            self._holding &= self._all
            self._pruned = self._all

    def _let_go(self) -> None:
        """Polls nothing until the peers have made room again."""
        self.instance.renew()
        self._holding, self._basis = frozenset(), None

    def _goes_on_alone(self, now: float) -> bool:
        return (self._settled or self._alone) and now >= max(self._witnesses.held_until(), self._born + self._lease)

    def _settle(self, now: float) -> None:
        """Whether we know who is there."""
        if self._settled:
            return
        broker, leases = self._witnesses.broker, self._witnesses.leases
        heard = broker.since is not None and self._subscribed is not None and now >= self._subscribed + SETTLE_SECONDS
        welcome = any(peer.live and peer.knows(self.instance.id) for peer in self._peers.values())
        wait = self._lease + MARGIN_SECONDS
        if leases is None:
            waited = broker.since is not None and now >= broker.since + wait
            self._settled = heard and (self._alone or welcome or waited)
        elif leases.seen is not None and leases.is_mutual:
            self._settled = heard or leases.seen >= self._born + wait
        else:
            self._settled = heard and (welcome or now >= self._born + UNREADABLE_LEASES * self._lease)

    def _assign(self, now: float) -> None:
        # Members that peers know and we do not may be polling: what is not ours already has to wait.
        known = self.instance.ids | {peer.presence.id for peer in self._peers.values()}
        counting = {name: peer for name, peer in self._peers.items() if not self._witnesses.is_stranger(peer, now, 2)}
        named = {one for peer in counting.values() for one in peer.named}
        rivals = [self._rival(name, peer, now) for name, peer in sorted(counting.items())]
        may_take = self._settled and named <= known
        sets = [(peer.presence.token, self.lists.is_told(peer.presence.devices)) for peer in self._peers.values()]
        basis = (self.lists.digest, self.instance.id, may_take, [one.described for one in rivals], sets)
        if basis == self._basis:
            return
        self._basis = basis
        self._assignment = assign(self._me, self.lists.ours, self._holding, rivals, may_take=may_take)
        self._holding = self._assignment.ours
        for name in self._assignment.room_for:
            self._peers[name].granted = self._peers[name].presence.token
        for one in rivals:
            if not one.is_welcome:
                self._peers[one.name].granted = None

    def _rival(self, name: str, peer: Peer, now: float) -> Rival:
        said = peer.presence
        known = self.lists.known(said.devices)
        fresh = max(peer.last_heard.values()) >= self._fresh_from
        room = fresh and f"{self.instance.id}:{self.lists.digest}" in said.view
        doubted = (said.polls and now < self._doubtful_until) or not self._witnesses.vouch_for_us(peer, now)
        taken = peer.live and not peer.knows(self.instance.id) and doubted
        is_live = peer.live and self._witnesses.unvouched(peer, now) is None
        return Rival(name, known, is_live, not self._witnesses.is_stranger(peer, now, 1), room, taken, said.keeps)
