"""Another gateway that has our name, as far as we hear of it. Pure."""

from gateway.cluster.peers import Name, Peer
from gateway.cluster.witness import MARGIN_SECONDS, Witnesses
from nexus.contract.presence import Presence


class Twin:
    """None, until one is heard. Of two, the one with the lower id goes on."""

    def __init__(self) -> None:
        self._peer: Peer | None = None

    def __bool__(self) -> bool:
        return self._peer is not None

    def goes_first(self, own: str | None) -> bool:
        """Whether it is alive and not to yield to us, who have this id; None if we have not spoken yet."""
        return self._peer is not None and self._peer.live and (own is None or self._peer.presence.id < own)

    def heard(self, witness: Name, presence: Presence, now: float, *, retained: bool) -> None:
        """A word under our name that is not ours."""
        peer = self._peer
        if peer is None or peer.presence.id != presence.id:
            peer = self._peer = Peer(presence, now, live=not retained and presence.state == "online")
        elif presence.state == "left":
            self._peer = None
            return
        elif presence.state == "lost" or peer.words.get(witness) == (presence.id, presence.seq):
            return
        else:
            peer.live, peer.presence = True, presence
        peer.note(witness, presence, now)

    def expire(self, witnesses: Witnesses, lease: float, subscribed: float | None, now: float) -> None:
        """Forgets one that is silent. Without our own words to go by: we say nothing while it may be there."""
        if (peer := self._peer) is None or (subscribed is None and "broker" in peer.heard):
            return
        last = max(peer.heard.values(), default=peer.known)
        wait = peer.lease(lease) * max(one.leases for name, one in witnesses.by_name.items() if name in peer.heard)
        if now >= max(last, subscribed or 0) + wait + MARGIN_SECONDS:
            self._peer = None
