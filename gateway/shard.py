"""Which devices are ours: rendezvous hashing over the gateways of the group, and never two at one device. Pure.

A gateway takes a device when it ranks first for it among those that have it, and all the others have made room: their
presence has our id in its view, which they say only after letting go. One that is lost keeps its rank and its view
until its lease has run out, because it may still be polling; one that has had no word from the broker for its lease
stops polling, because others may have taken over.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from nexus.contract.presence import Presence

MARGIN_SECONDS = 1.0  # between the end of a lease at its holder, and with the others
SETTLE_SECONDS = 0.5  # for the retained presences to come in after subscribing


@dataclass(slots=True)
class _Peer:
    presence: Presence
    heard: float
    lost: float | None = None


class Membership:
    """What one gateway knows of its group. Times in seconds on one monotonic clock.

    `new_id` gives random ones. `alone` says whether it may start on its own when it has never reached the broker.
    """

    def __init__(self, me: str, lease: float, now: float, *, new_id: Callable[[], str], alone: bool) -> None:
        self._me = me
        self._new_id = new_id
        self._id = new_id()
        self._lease = lease
        self._alone = alone
        self._devices: frozenset[str] = frozenset()
        self._peers: dict[str, _Peer] = {}
        self._acked = now  # when we last said something that the broker has
        self._connected_at: float | None = None
        self._settles_at: float | None = None
        self._settled = self._knew_peers = False
        self._holding: frozenset[str] = frozenset()
        self._view: frozenset[str] = frozenset()

    @property
    def presence(self) -> Presence:
        """What to tell the others, once all that `devices` did not name has been let go."""
        return Presence("online", self._id, self._lease, self._devices, self._view)

    @property
    def will(self) -> Presence:
        """What the broker tells the others when we are gone without a word."""
        return Presence("lost", self._id, self._lease, self._devices)

    @property
    def peers(self) -> frozenset[str]:
        return frozenset(self._peers)

    def has(self, devices: Iterable[str]) -> None:
        """Our device files have these."""
        self._devices = frozenset(devices)

    def connected(self, now: float) -> None:
        """We are about to subscribe."""
        if self._lapsed(now) and self._peers:
            # Others may have taken over: they have to make room anew.
            self._id, self._holding = self._new_id(), frozenset()
        self._connected_at, self._settles_at = now, None
        self._knew_peers, self._settled = bool(self._peers), False

    def subscribed(self, now: float) -> None:
        """The presences that are retained come now."""
        self._settles_at = now + SETTLE_SECONDS

    def disconnected(self) -> None:
        self._connected_at = None

    def acknowledged(self, sent: float) -> None:
        """The broker has the presence that we sent then."""
        self._acked = max(self._acked, sent)

    def heard(self, member: str, presence: Presence | None, now: float) -> None:
        """A member's presence; None when it has left."""
        if member == self._me:
            return
        if presence is None:
            self._peers.pop(member, None)
            return
        if presence.state == "online":
            self._peers[member] = _Peer(presence, now)
        elif (peer := self._peers.get(member)) is None:
            self._peers[member] = _Peer(presence, now, lost=now)
        else:  # its last own words say more than its will
            peer.heard, peer.lost = now, now if peer.lost is None else peer.lost

    def expired(self, now: float) -> list[str]:
        """Forgets the lost whose leases have run out; names them. Who is cut off itself knows of no one's end."""
        since = self._connected_at
        if not self._settled and since is not None and self._settles_at is not None and now >= self._settles_at:
            # The broker may have forgotten all of us: then the others are as lost as we were, or not known yet. Who
            # has made room for us knows the group; who is as new as we are does not.
            welcome = any(peer.heard >= since and self._id in peer.presence.view for peer in self._peers.values())
            waited = now >= since + self._lease + MARGIN_SECONDS
            self._settled = welcome or self._knew_peers or self._alone or waited
            for peer in self._peers.values():
                if self._settled and peer.heard < since and peer.lost is None:
                    peer.lost = since
        if since is None or not self._settled:
            return []
        gone = [
            name
            for name, peer in self._peers.items()
            if peer.lost is not None and now >= peer.lost + peer.presence.lease + MARGIN_SECONDS
        ]
        for name in gone:
            del self._peers[name]
        return gone

    def speaks_for(self, path: str) -> bool:
        """Whether we rank first for a device among the living, and the one that ranks before us is lost."""
        peers = [(name, peer) for name, peer in self._peers.items() if path in peer.presence.devices]
        before = [peer for name, peer in peers if _rank(name, path) > _rank(self._me, path)]
        return not peers or (bool(before) and all(peer.lost is not None for peer in before))

    def devices(self, now: float) -> frozenset[str]:
        """The devices to poll at `now`."""
        self._holding = self._allowed(now) & self._devices
        return self._holding

    def _allowed(self, now: float) -> frozenset[str]:
        if self._peers and self._lapsed(now):
            return self._promise(frozenset())
        if self._connected_at is not None:
            # Until it is known who is there we hold what we have, and have made no more room than we had.
            return self._promise(self._ours()) if self._settled else self._holding
        if not self._lapsed(now):
            return self._holding
        return self._devices if self._settled or self._alone else frozenset()

    def _promise(self, devices: frozenset[str]) -> frozenset[str]:
        """With these devices, room is made for all that we know of."""
        self._view = frozenset(peer.presence.id for peer in self._peers.values())
        return devices

    def _lapsed(self, now: float) -> bool:
        return now >= self._acked + self._lease

    def _ours(self) -> frozenset[str]:
        known = {self._id, *(peer.presence.id for peer in self._peers.values())}
        # Whom others name, and we have not heard of, may be polling: what is not ours already has to wait.
        strangers = any(peer.presence.view - known for peer in self._peers.values())
        candidates = self._holding & self._devices if strangers else self._devices
        return frozenset(path for path in candidates if self._is_ours(path))

    def _is_ours(self, path: str) -> bool:
        mine = _rank(self._me, path)
        for name, peer in self._peers.items():
            if path not in peer.presence.devices:
                continue
            if _rank(name, path) > mine or self._id not in peer.presence.view:
                return False
        return True


@lru_cache(maxsize=100_000)
def _rank(member: str, path: str) -> bytes:
    return blake2b(f"{member}\0{path}".encode(), digest_size=8).digest()
