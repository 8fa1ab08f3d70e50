"""Which devices each member has, by the digests that they say. Pure."""

from collections.abc import Mapping

from gateway.cluster.peers import Peer
from nexus.contract.presence import Key, Mark, digest


class Lists:
    """Ours, and those of the members that `living` names."""

    def __init__(self, living: Mapping[str, Peer]) -> None:
        self._living = living
        self._details: dict[str, Mapping[Key, Mark]] = {}
        self.ours: Mapping[Key, Mark] = {}
        self.digest = digest({})

    def has(self, devices: Mapping[Key, Mark]) -> None:
        """Our device files have these."""
        self.ours, self.digest = dict(devices), digest(devices)

    def details(self, devices: Mapping[Key, Mark]) -> None:
        """What some digest stands for."""
        name = digest(devices)
        if name in self.wanted:
            self._details[name] = dict(devices)

    def known(self, name: str) -> Mapping[Key, Mark] | None:
        """What a digest stands for; None while nobody has told."""
        return self.ours if name == self.digest else self._details.get(name)

    def is_told(self, name: str) -> bool:
        """Whether another's list is known."""
        return name in self._details

    @property
    def wanted(self) -> frozenset[str]:
        """Digests of others that we do not know."""
        named = {peer.presence.devices for peer in self._living.values()} - {self.digest, ""}
        for old in self._details.keys() - named:
            del self._details[old]
        return frozenset(named - self._details.keys())

    @property
    def missing(self) -> list[str]:
        """Members of which we do not know what devices they have."""
        wanted = self.wanted
        return [name for name, peer in self._living.items() if peer.presence.devices in wanted]

    @property
    def is_to_tell(self) -> bool:
        """Somebody has other devices than we."""
        return any(peer.presence.devices not in (self.digest, "") for peer in self._living.values())
