"""The other members, as far as we have heard of them. Pure."""

from dataclasses import dataclass, field
from typing import Literal

from nexus.contract.presence import Presence
from nexus.contract.topic import user_of

MOST_MEMBERS = 1000
MOST_OF_A_USER = 20  # so that no single credential can take every place

Name = Literal["broker", "leases"]


@dataclass(slots=True)
class Peer:
    """What we know of one member; `live` once we have seen it renew its presence.

    `met` is when its user first appeared, under any name; `since`, when this process of the member did.
    """

    presence: Presence
    known: float
    met: float = float("-inf")
    since: float = float("-inf")
    lost: bool = False  # the broker has published its last will
    live: bool = False
    last_heard: dict[Name, float] = field(default_factory=dict)
    shown: dict[Name, tuple[str, int]] = field(default_factory=dict)  # last id and number, by witness
    granted: str | None = None  # the token that we have made room for

    def note(self, witness: Name, presence: Presence, now: float) -> None:
        self.last_heard[witness] = now
        self.shown[witness] = (presence.id, presence.seq)

    def lease(self, ours: float) -> float:
        """A member known only from a retained presence has to renew within our own lease, whatever it announces."""
        return self.presence.lease if self.live else min(self.presence.lease, ours)

    @property
    def named(self) -> set[str]:
        """The ids of the members that it knows."""
        return {token.partition(":")[0] for token in self.presence.view}

    def knows(self, own: str) -> bool:
        """Whether it knows the member of this id."""
        return own in self.named


class Peers:
    """The living members, and the last sequence numbers of those that are gone."""

    def __init__(self) -> None:
        self.living: dict[str, Peer] = {}
        self._past: dict[tuple[str, str], int] = {}

    def note(self, witness: Name, member: str, presence: Presence, now: float, *, retained: bool) -> bool:
        """Takes a member's presence; False when there are too many. `retained` if it is an old one."""
        peer = self.living.get(member)
        if presence.seq <= self._past.get((member, presence.id), -1):
            return True
        if presence.state == "left":
            if peer is not None and peer.presence.id == presence.id:
                self.forget(member, presence.seq)
        elif peer is None:
            if not self._has_room(member):
                return False
            user = user_of(member)
            met = min((one.met for name, one in self.living.items() if user_of(name) == user), default=now)
            peer = self.living[member] = Peer(presence, now, met, now)
            peer.live = not retained and presence.state == "online"
            peer.note(witness, presence, now)
        elif presence.state == "lost":
            peer.lost |= presence.id == peer.presence.id
        else:
            self._heard_again(peer, member, witness, presence, now, retained=retained)
        return True

    def _has_room(self, member: str) -> bool:
        user = user_of(member)
        of_the_user = sum(user_of(other) == user for other in self.living)
        return len(self.living) < MOST_MEMBERS and of_the_user < MOST_OF_A_USER

    def forget(self, member: str, seq: int) -> None:
        """Removes a member; `seq` was its last."""
        self._remember(member, self.living.pop(member).presence.id, seq)

    def _heard_again(
        self, peer: Peer, member: str, witness: Name, presence: Presence, now: float, *, retained: bool
    ) -> None:
        if witness == "broker" and not retained:
            peer.lost = False
        if peer.presence.id != presence.id or peer.presence.state == "lost":
            if retained and peer.live:
                return  # an old presence, from the slower witness
            if peer.presence.id != presence.id:
                self._remember(member, peer.presence.id, peer.presence.seq)
                peer.granted, peer.since = None, now
            peer.presence, peer.live = presence, not retained
            peer.note(witness, presence, now)
            return
        shown = peer.shown.get(witness)
        if shown is None or shown[0] != presence.id or presence.seq > shown[1]:
            peer.live |= presence.seq > peer.presence.seq
            peer.note(witness, presence, now)
        if presence.seq > peer.presence.seq:
            peer.presence = presence

    def _remember(self, member: str, instance: str, seq: int) -> None:
        if len(self._past) >= MOST_MEMBERS:
            del self._past[next(iter(self._past))]
        self._past[member, instance] = seq
