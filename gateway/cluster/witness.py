"""How gateways know that their peers live: presences on the broker, and Kubernetes Leases. Pure."""

from dataclasses import dataclass, field

from gateway.cluster.peers import Name, Peer

MARGIN_SECONDS = 1.0  # between the end of a lease at its holder and at its peers
UNREADABLE_LEASES = 6  # leases after which a witness that we cannot read counts as silent
UNVOUCHED_LEASES = 6  # leases: how long to make room for a member without a Lease; twice as long we wait for it


@dataclass(slots=True)
class Witness:
    """What a witness has confirmed of us, and up to when it has shown us the peers. Seconds on our own clock.

    `leases` is for how many of a member's leases a renewal seen here is valid.
    """

    leases: float
    acked: float = field(default=float("-inf"))  # when we sent the last presence that it confirmed
    since: float | None = None  # it has shown us everything since then …
    seen: float | None = None  # … up to then
    is_mutual: bool = False  # later than our own presence there: of two that start at once, one sees the other

    def confirmed(self, sent: float) -> None:
        """It has the presence that we sent then."""
        self.acked = max(self.acked, sent)

    def showed(self, sent: float, lease: float) -> None:
        """It has shown us everything up to then: our own presence of that time came back."""
        if self.seen is None or self.since is None or sent - self.seen > lease * self.leases:
            self.since = self.seen = sent
        self.seen = max(self.seen, sent)
        self.is_mutual |= float("-inf") < self.acked < sent

    def lost(self) -> None:
        """We cannot read it any more."""
        self.since, self.seen, self.is_mutual = None, None, False

    def is_readable(self, now: float, lease: float) -> bool:
        return self.seen is not None and now - self.seen <= lease * self.leases


class Witnesses:
    """All witnesses of a gateway with this lease."""

    def __init__(self, lease: float, *, leases: bool) -> None:
        self._lease = lease
        self.broker = Witness(1)
        self.leases = Witness(3) if leases else None
        self.by_name: dict[Name, Witness] = {"broker": self.broker}
        if self.leases is not None:
            self.by_name["leases"] = self.leases

    def held_until(self) -> float:
        """Until then peers take us to be alive."""
        by_broker = self.broker.acked + self.broker.leases * self._lease
        leases = self.leases
        return by_broker if leases is None else max(by_broker, leases.acked + leases.leases * self._lease)

    def can_see(self, now: float) -> bool:
        """Whether any of them can be read."""
        return any(one.is_readable(now, self._lease) for one in self.by_name.values())

    def lost(self) -> None:
        """We cannot read them any more."""
        for one in self.by_name.values():
            one.lost()

    def unvouched(self, peer: Peer, now: float) -> float | None:
        """For how many seconds the Leases could have shown a member, and did not; None if its presence counts alone."""
        one = self.leases
        if one is None or one.since is None or "leases" in peer.last_heard or not one.is_readable(now, self._lease):
            return None
        return now - max(peer.met, one.since)

    def is_stranger(self, peer: Peer, now: float, times: int) -> bool:
        """Whether it has been without a Lease for too long to be a member."""
        seconds = self.unvouched(peer, now)
        return seconds is not None and seconds >= times * UNVOUCHED_LEASES * self._lease

    def vouch_for_us(self, peer: Peer, now: float) -> bool:
        """Whether a member takes us into account. Without a Lease of ours it need not wait for us."""
        one = self.leases
        has_lease = one is None or now < one.acked + one.leases * self._lease
        return has_lease or now < peer.since + 2 * self._lease

    def are_silent(self, peer: Peer, now: float) -> bool:
        """Whether no witness hears a member; never while we are cut off ourselves."""
        return self.can_see(now) and all(self._is_silent(name, peer, now) for name in self.by_name)

    def _is_silent(self, name: Name, peer: Peer, now: float) -> bool:
        """Whether a witness has not shown a member for longer than its lease.

        A member that loses one witness continues with the other. So where we cannot read a witness, or have not read it
        for a lease since the member was last seen, the member may still have renewed there.
        """
        one, theirs, last = self.by_name[name], peer.lease(self._lease), max(peer.last_heard.values())
        if one.seen is None or one.since is None or not one.is_readable(now, self._lease):
            return now - last >= UNREADABLE_LEASES * theirs
        heard = max(peer.last_heard.get(name, peer.known), one.since)
        return one.seen - heard >= theirs * one.leases + MARGIN_SECONDS and one.seen - last >= theirs
