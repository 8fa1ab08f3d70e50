"""An OPC UA session: reads in batches within the server's limits, and writes."""

import asyncio
import math
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from asyncua import Client, ua
from asyncua.ua.uaerrors import UaStructParsingError

from gateway.drivers import reach
from gateway.drivers.blocks import AdaptivePlan
from gateway.drivers.driver import Device, DeviceError, Read, Tag, WriteError
from gateway.drivers.opcua import values as opcua_values
from gateway.drivers.opcua.address import Address
from gateway.drivers.opcua.plan import LARGEST_BATCH
from gateway.drivers.opcua.settings import Settings
from gateway.drivers.opcua.values import Clock
from nexus.contract.reading import Reading, Value
from nexus.contract.status import TroubleKind
from nexus.process.clock import now_ms

WRONG_COUNT = "the server gave an answer that does not match the request"
ASK_AGAIN_SECONDS = 30.0  # for nodes that were not there

_OVERSIZED = "its value is too large, as an array's or a structure's: name one element's own node"

_NO_SUCH_NODE = ("BadNodeIdUnknown", "BadNodeIdInvalid")
_WRITE_REMEDIES = {
    "BadNotWritable": ": the node's AccessLevel has no CurrentWrite; permit it in the server, or leave `writable` out",
    "BadUserAccessDenied": ": this user may not write the node; log in as one who may, or leave `writable` out",
    "BadWriteNotSupported": ": it takes no value without its own status and time",
}

T = TypeVar("T")


class Profile(Enum):
    """Limits that suit a kind of server, whatever it names itself."""

    AUTO = "auto"
    STANDARD = "standard"
    S7_1200 = "s7-1200"  # fifty times slower beyond 100 items a batch; 1,000 monitored items in all


@dataclass(frozen=True)
class Limits:
    """The most nodes in one call; `items` the most monitored items in all, None for no limit."""

    read: int = LARGEST_BATCH
    monitor: int = LARGEST_BATCH
    items: int | None = None


_LIMITS = {Profile.STANDARD: Limits(), Profile.S7_1200: Limits(100, 100, 1000)}


@dataclass(frozen=True, slots=True)
class _Call:
    tags: Sequence[Tag[Address]]
    parameters: ua.ReadParameters


@dataclass(frozen=True, slots=True)
class _Plan:
    """The calls that read some tags; tags that cannot be read are bad without being asked for."""

    calls: list[_Call]
    unread: list[Tag[Address]]


class Session:
    """One session; `tag_errors` says, by tag, why the server does not deliver it."""

    def __init__(self, client: Client, device: Device[Settings, Address], clock: Clock) -> None:
        self.client = client
        self.services = client.uaclient.session
        self.device = device
        self._clock = clock
        self.limits = Limits()
        self.nodes: dict[str, ua.NodeId] = {}
        self._last: dict[str, int] = {}
        self.ask_again_at = math.inf
        self.tag_errors: dict[str, str] = {}
        self.tag_kinds: dict[str, TroubleKind] = {}

    async def prepare(self, profile: Profile, batch: int | None) -> None:
        """Learns the server's limits, and where the nodes are."""
        await self.find_nodes()
        if profile is Profile.AUTO:
            profile = await self._recognised()
        self.limits = await self._negotiated(_LIMITS[profile])
        if batch is not None:
            self.limits = Limits(batch, batch, self.limits.items)

    async def find_nodes(self) -> None:
        """Looks up the namespaces of the nodes that are not known yet."""
        unknown = [tag for tag in self.device.tags if tag.name not in self.nodes]
        namespaces: list[str] = []
        if any(tag.address.uri for tag in unknown):
            namespaces = [opcua_values.readable(uri) for uri in await self.client.get_namespace_array()]
        for tag in unknown:
            node = ua.NodeId.from_string(tag.address.node)
            if (uri := tag.address.uri) is not None:
                if uri not in namespaces:
                    self.tag_errors[tag.name] = f"the server has no namespace {uri}; it has {_some(namespaces[1:])}"
                    self.tag_kinds[tag.name] = "address"
                    continue
                node = ua.NodeId(node.Identifier, namespaces.index(uri), node.NodeIdType)
            self.nodes[tag.name] = node
        missing = len(self.nodes) < len(self.device.tags)
        self.ask_again_at = asyncio.get_running_loop().time() + ASK_AGAIN_SECONDS if missing else math.inf

    def compile(self, tags: Sequence[Tag[Address]]) -> Read:
        """Plans a scan in as few calls as the server allows; again whenever new nodes were found."""
        known, kept = len(self.nodes), AdaptivePlan(self._plan(tags))

        async def read() -> list[Reading]:
            nonlocal known, kept
            if asyncio.get_running_loop().time() >= self.ask_again_at:
                await self.call(self.find_nodes())
            if known != len(self.nodes):
                known, kept = len(self.nodes), AdaptivePlan(self._plan(tags))
            return await self._scan(kept)

        return read

    async def _scan(self, kept: AdaptivePlan[_Plan]) -> list[Reading]:
        """One scan. Tags whose values are too large are left out for a while. Raises DeviceError."""
        clock = asyncio.get_running_loop().time
        plan = kept.current(clock())
        answered, oversized = await self._read(plan.calls)
        unread = plan.unread + oversized
        if oversized or len(answered) > len(plan.calls):
            kept.split(_Plan([call for call, _ in answered], unread), clock())
        now = now_ms()
        readings: list[Reading] = []
        for call, values in answered:
            found = zip(call.tags, values, strict=True)
            readings += [self._fresh(self.reading(tag, data), data, now) for tag, data in found]
        return readings + [tag.bad(now) for tag in unread]

    async def unfit(self, tags: Iterable[Tag[Address]]) -> set[str]:
        """The names of tags whose values no reading can hold. Raises DeviceError."""
        answered, oversized = await self._read(self._plan(tags).calls)
        names = {tag.name for tag in oversized}
        for call, values in answered:
            for tag, data in zip(call.tags, values, strict=True):
                if (reason := opcua_values.unfit(data)) is not None:
                    self.tag_errors[tag.name] = reason
                    names.add(tag.name)
        return names

    async def _read(self, calls: Sequence[_Call]) -> tuple[list[tuple[_Call, list[ua.DataValue]]], list[Tag[Address]]]:
        """Answers to these calls, halved where an answer is too large; and the tags that are too large alone."""
        answered: list[tuple[_Call, list[ua.DataValue]]] = []
        oversized: list[Tag[Address]] = []
        waiting = list(reversed(calls))
        while waiting:
            call = waiting.pop()
            values = await self.call(self._values(call.parameters))
            if values is None and len(call.tags) > 1:
                waiting += reversed(self._calls(call.tags, math.ceil(len(call.tags) / 2)))
            elif values is None:
                self.tag_errors[call.tags[0].name] = _OVERSIZED
                oversized.append(call.tags[0])
            elif len(values) != len(call.tags):
                raise DeviceError(WRONG_COUNT)
            else:
                answered.append((call, values))
        return answered, oversized

    async def _values(self, parameters: ua.ReadParameters) -> list[ua.DataValue] | None:
        """None when the answer is too large."""
        try:
            values: list[ua.DataValue] = await self.services.read(parameters)
        except UaStructParsingError:
            return None
        return values

    async def write(self, tag: Tag[Address], value: Value) -> Value:
        """Writes a value in the type that the node has. Raises WriteError and DeviceError."""
        if (node := self.nodes.get(tag.name)) is None:
            raise WriteError(self.tag_errors[tag.name])
        if (found := await self.call(self._values(_parameters([node])))) is None:
            raise WriteError(_OVERSIZED)
        [now] = found
        if now.Value is None or now.Value.VariantType == ua.VariantType.Null:
            raise WriteError("the node has no value now, so its type is not known")
        variant = opcua_values.variant(value, now.Value.VariantType)
        written = ua.WriteValue(
            NodeId=node,
            AttributeId=ua.AttributeIds.Value,
            # Many servers refuse a write that brings its own status or times.
            Value=ua.DataValue(variant, StatusCode=None),
        )
        [status] = await self.call(self.services.write(ua.WriteParameters(NodesToWrite=[written])))
        if not status.is_good():
            raise WriteError(f"the server refuses: {status.name}{_WRITE_REMEDIES.get(status.name, '')}")
        return opcua_values.held(variant)

    def refused(self, tag: Tag[Address], why: str) -> None:
        """The server does not give this tag: by the name of its status, or in other words."""
        self.tag_errors[tag.name] = why
        self.tag_kinds[tag.name] = "address" if why in _NO_SUCH_NODE else ""

    def reading(self, tag: Tag[Address], data: ua.DataValue) -> Reading:
        def refused(why: str) -> None:
            self.refused(tag, why)

        return opcua_values.reading(tag, data, self._clock, refused)

    def _fresh(self, reading: Reading, data: ua.DataValue, now: int) -> Reading:
        """A value that has not changed keeps its source time, but is current: the reading gets the server's time."""
        last = self._last.get(reading.tag)
        if last is not None and reading.time <= last:
            later = opcua_values.server_time(data, self._clock, now)
            reading = Reading(reading.tag, later if later > last else now, reading.value, reading.quality)
        self._last[reading.tag] = reading.time
        return reading

    def _plan(self, tags: Iterable[Tag[Address]]) -> _Plan:
        known: list[Tag[Address]] = []
        unknown: list[Tag[Address]] = []
        for tag in tags:
            (known if tag.name in self.nodes else unknown).append(tag)
        return _Plan(self._calls(known, self.limits.read), unknown)

    def _calls(self, tags: Sequence[Tag[Address]], size: int) -> list[_Call]:
        parts = [tags[at : at + size] for at in range(0, len(tags), size)]
        return [_Call(part, _parameters([self.nodes[tag.name] for tag in part])) for part in parts]

    async def call(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except TimeoutError:
            raise DeviceError(f"no answer within {self.device.timeout:g} s", kind="timeout") from None
        except (ua.UaError, OSError) as error:
            raise DeviceError(str(error) or type(error).__name__, kind=reach.kind(error)) from error

    async def _recognised(self) -> Profile:
        product = ua.NodeId(ua.ObjectIds.Server_ServerStatus_BuildInfo_ProductUri)
        name = ua.NodeId(ua.ObjectIds.Server_ServerStatus_BuildInfo_ProductName)
        found = await self.services.read(_parameters([product, name]))
        text = " ".join(str(data.Value.Value) for data in found if data.Value is not None).lower()
        return Profile.S7_1200 if "s7-1200" in text else Profile.STANDARD

    async def _negotiated(self, wanted: Limits) -> Limits:
        ids = ua.ObjectIds
        names = (
            ids.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
            ids.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
        )
        found = await self.services.read(_parameters([ua.NodeId(one) for one in names]))
        if len(found) != len(names):
            raise DeviceError(WRONG_COUNT)
        read, monitor = (
            min(most, _limit(data) or most) for most, data in zip((wanted.read, wanted.monitor), found, strict=True)
        )
        return Limits(read, monitor, wanted.items)


def _limit(data: ua.DataValue) -> int | None:
    """The server's limit; None for 0 or a missing node, which mean no limit."""
    value = data.Value.Value if data.Value is not None else None
    return value if isinstance(value, int) and value > 0 else None


def _some(names: Sequence[str]) -> str:
    """The first few names, for an error."""
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")


def _parameters(nodes: Sequence[ua.NodeId]) -> ua.ReadParameters:
    return ua.ReadParameters(
        TimestampsToReturn=ua.TimestampsToReturn.Both,
        NodesToRead=[ua.ReadValueId(NodeId=node, AttributeId=ua.AttributeIds.Value) for node in nodes],
    )
