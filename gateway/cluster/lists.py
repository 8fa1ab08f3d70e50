"""Which devices each member has, by the digests that they announce. Pure."""

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
        """Takes the devices of our files."""
        self.ours, self.digest = dict(devices), digest(devices)

    def details(self, devices: Mapping[Key, Mark]) -> None:
        """Takes the list behind a digest."""
        name = digest(devices)
        if name in self.wanted:
            self._details[name] = dict(devices)

    def known(self, name: str) -> Mapping[Key, Mark] | None:
        """The list behind a digest; None while it is unknown."""
        return self.ours if name == self.digest else self._details.get(name)

    def is_told(self, name: str) -> bool:
        """Whether another's list is known."""
        return name in self._details

    @property
    def wanted(self) -> frozenset[str]:
        """Digests of peers whose lists we do not know."""
        named = {peer.presence.devices for peer in self._living.values()} - {self.digest, ""}
        for old in self._details.keys() - named:
            del self._details[old]
        return frozenset(named - self._details.keys())

    @property
    def missing(self) -> list[str]:
        """Members whose lists we do not know."""
        wanted = self.wanted
        return [name for name, peer in self._living.items() if peer.presence.devices in wanted]

    @property
    def is_to_tell(self) -> bool:
        """Whether a peer has another list than ours."""
        return any(peer.presence.devices not in (self.digest, "") for peer in self._living.values())
