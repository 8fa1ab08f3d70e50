"""Reports the state of the group: as metrics, and as problems that need a person's attention."""

from collections.abc import Mapping

from gateway import metrics
from gateway.cluster.membership import Membership
from gateway.cluster.problems import Problems
from gateway.config.devices import ConfiguredDevice
from nexus.contract.presence import Key

SAID_NAMES = 5
LIST_SECONDS = 15.0  # by then a member's device list should have arrived


class Report:
    """Of one membership."""

    def __init__(self, member: str, membership: Membership, problems: Problems) -> None:
        self._member, self._membership, self._problems = member, membership, problems
        self._unlisted: dict[str, float] = {}  # members whose device list is unknown, and since when

    def show(self, by_key: Mapping[Key, ConfiguredDevice], now: float) -> None:
        """Brings all up to date."""
        metrics.members.set(self._membership.members)
        metrics.name_taken.set(self._membership.has_twin)
        twin = f"another gateway of the group is also named {self._member}, so this one polls nothing: set NEXUS_MEMBER"
        self._problems.note("twin", twin if self._membership.has_twin else None)
        self._show_contested(by_key)
        self._show_unlisted(now)

    def _show_contested(self, by_key: Mapping[Key, ConfiguredDevice]) -> None:
        contested = self._membership.contested
        metrics.contested.set(len(contested))
        text = None
        if contested:
            named = [f"{by_key[one].device.path} ({contested[one]})" for one in contested if one in by_key]
            text = "defined differently by another gateway of the group, and polled by one only: "
            text += f"{_some(named)}: make the files agree, or change path or group"
        self._problems.note("contested", text)

    def _show_unlisted(self, now: float) -> None:
        """Beside members whose devices are unknown, nobody takes any."""
        self._unlisted = {name: self._unlisted.get(name, now) for name in self._membership.lists.missing}
        late = [name for name, since in self._unlisted.items() if now - since > LIST_SECONDS]
        metrics.unlisted.set(len(late))
        text = f"no device list from {_some(late)}, so no gateway takes devices"
        self._problems.note("unlisted", f"{text}: see its /health, and the broker's ACL" if late else None)


def _some(names: list[str]) -> str:
    return ", ".join(sorted(names)[:SAID_NAMES]) + (", …" if len(names) > SAID_NAMES else "")
