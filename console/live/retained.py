"""What the broker retains of devices and gateways, in bounded memory. Pure: `now` is the event loop's time."""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from nexus.contract import topic
from nexus.contract.description import RULES, Description, TagDescription, decode_description
from nexus.contract.gateway_state import GatewayState, decode_gateway_state
from nexus.contract.presence import Presence, decode_presence
from nexus.contract.status import Status, decode_status

MOST_DEVICES, MOST_GATEWAYS = 100_000, 1_000
MOST_BYTES = 128_000_000  # of descriptions, as they came
_LEASES = 3  # a gateway that has not been heard for so many of its leases does not run
_NEVER = float("inf")

Member = tuple[str, str]  # group, and the gateway's name in it


@dataclass(slots=True)
class Gateway:
    """What one gateway says of itself; its presence came last when it was `heard`."""

    presence: Presence | None = None
    heard: float = float("-inf")
    state: GatewayState | None = None
    online: bool = False


class Retained:
    """The last of each device and gateway. `changes` has the devices in the order of their last change."""

    def __init__(self) -> None:
        self.descriptions: dict[str, Description] = {}
        self.gateways: dict[Member, Gateway] = {}
        self.tags: dict[str, TagDescription] = {}  # by topic
        self.changes: OrderedDict[str, int] = OrderedDict()  # path, and the number of its change
        self.last_change = 0
        self.is_full = False  # there is more than we keep
        self._statuses: dict[str, tuple[Status, float]] = {}  # and until when the broker keeps it
        self._sizes: dict[str, int] = {}  # of descriptions
        self._bytes = 0
        self._by_name: defaultdict[str, list[Gateway]] = defaultdict(list)
        self._seen: set[str] | None = None  # topics since the connection began, until all have come

    @property
    def paths(self) -> list[str]:
        """The paths of all devices, in order."""
        return sorted(self._statuses.keys() | self.descriptions.keys())

    def status(self, path: str) -> Status | None:
        """What was said of a device last."""
        known = self._statuses.get(path)
        return known[0] if known is not None else None

    def gateway_runs(self, path: str) -> bool | None:
        """Whether the gateway that describes a device runs; None if no description names one."""
        if (description := self.descriptions.get(path)) is None or description.protocol == RULES:
            return None
        if description.group is None:  # an older gateway's: any of that name
            return any(one.online for one in self._by_name.get(description.gateway, ()))
        gateway = self.gateways.get((description.group, description.gateway))
        return gateway is not None and gateway.online

    def begin(self) -> None:
        """A new connection: the broker now says all that it retains."""
        self._seen = set()

    def sweep(self) -> None:
        """It has said all: what was not among it is gone."""
        seen, self._seen = self._seen, None
        if seen is None:
            return
        for path in [path for path in self._statuses if topic.status(path) not in seen]:
            self._set_status(path, None, _NEVER)
        for path in [path for path in self.descriptions if topic.description(path) not in seen]:
            self._set_description(path, b"")
        for member in [member for member in self.gateways if topic.presence(*member) not in seen]:
            gone = self.gateways.pop(member)
            self._by_name[member[1]].remove(gone)
            self._touch_devices_of(member)

    def expire(self, now: float) -> None:
        """Forgets states that nobody has said again, and notes which gateways are silent."""
        for path in [path for path, (_, until) in self._statuses.items() if now > until]:
            self._set_status(path, None, _NEVER)
        for member, gateway in self.gateways.items():
            self._set_online(member, gateway, now)

    def touch(self) -> None:
        """All devices are to be looked at again."""
        for path in self.paths:
            self._changed(path)

    def take(self, name: str, payload: bytes, expiry: int | None, now: float) -> None:
        """Takes a message on `status/#`, `device/#` or `gateway/#`; `expiry` is its own, in seconds.

        Raises DecodeError.
        """
        if self._seen is not None:
            self._seen.add(name)
        root, _, rest = name.partition("/")
        if root == "status":
            status = decode_status(payload) if payload else None
            self._set_status(rest, status, _NEVER if expiry is None else now + expiry)
        elif root == "device":
            self._set_description(rest, payload)
        else:
            self._take_gateway(rest, payload, now)

    def _take_gateway(self, rest: str, payload: bytes, now: float) -> None:
        group, _, name = rest.partition("/")
        if topic.totals_of(group, f"gateway/{rest}") is not None:
            return  # for other gateways
        if name.endswith(f"/{topic.STATE}"):
            name = name.removesuffix(f"/{topic.STATE}")
            if payload or (group, name) in self.gateways:
                self._gateway(group, name).state = decode_gateway_state(payload) if payload else None
        elif (found := topic.member_of(group, f"gateway/{rest}")) is not None and not found[1]:
            presence = decode_presence(payload) if payload else None
            if presence is not None or (group, name) in self.gateways:
                gateway = self._gateway(group, name)
                gateway.presence, gateway.heard = presence, now
                self._set_online((group, name), gateway, now)

    def _gateway(self, group: str, name: str) -> Gateway:
        if (known := self.gateways.get((group, name))) is not None:
            return known
        made = Gateway()
        if len(self.gateways) < MOST_GATEWAYS:
            self.gateways[group, name] = made
            self._by_name[name].append(made)
        else:
            self.is_full = True
        return made

    def _set_online(self, member: Member, gateway: Gateway, now: float) -> None:
        """It runs while it says so again and again."""
        presence = gateway.presence
        is_online = (
            presence is not None and presence.state == "online" and now - gateway.heard < _LEASES * presence.lease
        )
        if is_online != gateway.online:
            gateway.online = is_online
            self._touch_devices_of(member)

    def _touch_devices_of(self, member: Member) -> None:
        group, name = member
        for path, description in self.descriptions.items():
            if description.gateway == name and description.group in (None, group):
                self._changed(path)

    def _set_status(self, path: str, status: Status | None, until: float) -> None:
        known = self._statuses.pop(path, None)
        if status is not None and len(self._statuses) < MOST_DEVICES:
            self._statuses[path] = (status, until)
        self.is_full |= status is not None and path not in self._statuses
        if known is None or known[0] != status:
            self._changed(path)

    def _set_description(self, path: str, payload: bytes) -> None:
        description = decode_description(payload) if payload else None
        known = self.descriptions.pop(path, None)
        self._bytes -= self._sizes.pop(path, 0)
        self._forget_tags(path, known.tags if known is not None else ())
        if description is not None:
            if len(self.descriptions) < MOST_DEVICES and self._bytes + len(payload) <= MOST_BYTES:
                self.descriptions[path] = description
                self._sizes[path] = len(payload)
                self._bytes += len(payload)
                self.tags.update((topic.tag(path, tag.name), tag) for tag in description.tags)
            else:
                self.is_full = True
        if known is None or description is None or _without_time(known) != _without_time(description):
            self._changed(path)

    def _forget_tags(self, path: str, tags: Iterable[TagDescription]) -> None:
        for tag in tags:
            self.tags.pop(topic.tag(path, tag.name), None)

    def _changed(self, path: str) -> None:
        self.last_change += 1
        self.changes[path] = self.last_change
        self.changes.move_to_end(path)
        if len(self.changes) > 2 * MOST_DEVICES:
            self.changes.popitem(last=False)


def _without_time(description: Description) -> tuple[object, ...]:
    return (
        description.name,
        description.group,
        description.gateway,
        description.endpoint,
        description.interval,
        description.tags,
    )
