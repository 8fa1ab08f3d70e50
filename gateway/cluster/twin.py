"""Another gateway with our name, if there is one. Pure."""

from gateway.cluster.peers import Name, Peer
from gateway.cluster.witness import MARGIN_SECONDS, UNREADABLE_LEASES, Witnesses
from nexus.contract.presence import Presence


class Twin:
    """Of two gateways with one name, the one with the lower id continues."""

    def __init__(self) -> None:
        self._peer: Peer | None = None

    def __bool__(self) -> bool:
        return self._peer is not None

    def goes_first(self, own: str | None) -> bool:
        """Whether it is alive and comes before us, who have this id; None if we have not announced ourselves yet."""
        return self._peer is not None and self._peer.live and (own is None or self._peer.presence.id < own)

    def note(self, witness: Name, presence: Presence, now: float, *, retained: bool) -> None:
        """Takes a presence under our name that is not ours."""
        peer = self._peer
        if peer is None or peer.presence.id != presence.id:
            peer = self._peer = Peer(presence, now, live=not retained and presence.state == "online")
        elif presence.state == "left":
            self._peer = None
            return
        elif presence.state == "lost" or peer.shown.get(witness) == (presence.id, presence.seq):
            return
        else:
            peer.live, peer.presence = True, presence
        peer.note(witness, presence, now)

    def expire(self, witnesses: Witnesses, lease: float, subscribed: float | None, now: float) -> None:
        """Removes a silent twin, by time alone: we announce nothing while it may be alive.

        While we cannot read the broker, what it has shown counts for longer, but not for ever: usually it is the
        presence that our own previous process left there.
        """
        if (peer := self._peer) is None:
            return
        worth = {name: one.leases for name, one in witnesses.by_name.items() if name in peer.last_heard}
        if subscribed is None and "broker" in worth:
            worth["broker"] = UNREADABLE_LEASES
        wait = peer.lease(lease) * max(worth.values()) + MARGIN_SECONDS
        if now >= max(*peer.last_heard.values(), subscribed or 0) + wait:
            self._peer = None
