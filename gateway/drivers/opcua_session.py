"""What is done in an OPC UA session: batches within the server's limits, monitored items, writes."""

import asyncio
import math
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from time import time
from typing import TypeVar

from asyncua import Client, ua

from gateway.driver import Device, DeviceError, Tag, WriteError
from gateway.drivers import opcua_values
from gateway.drivers.opcua_values import Clock
from nexus.contract.reading import Reading, Value

_LARGEST_BATCH = 1000  # where the server names no limit
_KEEP_ALIVE_SECONDS = 5.0
_HEARD_AT_MOST = 200_000  # changes that wait for the poller; beyond, the connection is made anew
_LOST = "the connection was lost"

T = TypeVar("T")


class Profile(Enum):
    """How servers of a kind want to be treated, whatever limits they name."""

    AUTO = "auto"
    STANDARD = "standard"
    S7_1200 = "s7-1200"  # fifty times slower beyond 100 items a batch; 1,000 monitored items in all


@dataclass(frozen=True)
class Limits:
    """The most nodes in one call; `items` the most monitored items in all, None for no limit."""

    read: int = _LARGEST_BATCH
    monitor: int = _LARGEST_BATCH
    items: int | None = None


_LIMITS = {Profile.STANDARD: Limits(), Profile.S7_1200: Limits(100, 100, 1000)}


class Session:
    """One session. `refusals` says, by tag, why the server does not give it."""

    def __init__(self, client: Client, device: Device, clock: Clock) -> None:
        self._client = client
        self._session = client.uaclient.session
        self._device = device
        self._clock = clock
        self._limits = Limits()
        self._nodes: dict[str, ua.NodeId] = {}
        self._last: dict[str, int] = {}
        self._reads: dict[tuple[str, ...], list[ua.ReadParameters]] = {}
        self._by_handle: dict[int, Tag] = {}
        self._heard: list[Reading] = []
        self._told = asyncio.Event()
        self._published = 0.0
        self._stale_after = 0.0
        self._lost: str | None = None
        self.refusals: dict[str, str] = {}
        client.connection_lost_callback = self._on_lost

    async def prepare(self, profile: Profile, batch: int | None) -> None:
        """Learns the server's limits, and where the nodes are."""
        namespaces: list[str] = []
        if any(tag.address.uri for tag in self._device.tags):
            namespaces = await self._client.get_namespace_array()
        for tag in self._device.tags:
            node = ua.NodeId.from_string(tag.address.node)
            if (uri := tag.address.uri) is not None:
                if uri not in namespaces:
                    self.refusals[tag.name] = f"the server has no namespace {uri}"
                    continue
                node = ua.NodeId(node.Identifier, namespaces.index(uri), node.NodeIdType)
            self._nodes[tag.name] = node
        if profile is Profile.AUTO:
            profile = await self._recognised()
        self._limits = await self._negotiated(_LIMITS[profile])
        if batch is not None:
            self._limits = Limits(batch, batch, self._limits.items)

    async def read(self, tags: Sequence[Tag]) -> list[Reading]:
        """One scan, in as few calls as the server allows. Raises DeviceError."""
        key = tuple(tag.name for tag in tags)
        if (batches := self._reads.get(key)) is None:
            batches = self._reads[key] = self._batches(tags)
        known = [tag for tag in tags if tag.name in self._nodes]
        values: list[ua.DataValue] = []
        for parameters in batches:
            values += await self._call(self._session.read(parameters))
        if len(values) != len(known):
            raise DeviceError("the server answered something else than was asked")
        now = int(time() * 1000)
        readings = [self._fresh(self._reading(tag, data), data, now) for tag, data in zip(known, values, strict=True)]
        return readings + [tag.bad(now) for tag in tags if tag.name not in self._nodes]

    async def hear(self) -> list[Reading]:
        """The changes that came since. A server says when nothing changes: Raises DeviceError when it is silent."""
        clock = asyncio.get_running_loop().time
        while not self._heard:
            if self._lost is not None:
                raise DeviceError(self._lost)
            self._told.clear()
            try:
                async with asyncio.timeout_at(self._published + self._stale_after):
                    await self._told.wait()
            except TimeoutError:
                if clock() >= self._published + self._stale_after:
                    raise DeviceError(f"the server was silent for {self._stale_after:.0f} s") from None
        heard, self._heard = self._heard, []
        return heard

    async def write(self, tag: Tag, value: Value) -> None:
        """Writes a value in the type that the node has. Raises WriteError and DeviceError."""
        if (node := self._nodes.get(tag.name)) is None:
            raise WriteError(self.refusals[tag.name])
        [now] = await self._call(self._session.read(_parameters([node])))
        if now.Value is None or now.Value.VariantType == ua.VariantType.Null:
            raise WriteError("the node has no value now, so its type is not known")
        written = ua.WriteValue(
            NodeId=node,
            AttributeId=ua.AttributeIds.Value,
            # Many servers refuse a write that brings its own status or times.
            Value=ua.DataValue(opcua_values.variant(value, now.Value.VariantType), StatusCode=None),
        )
        [status] = await self._call(self._session.write(ua.WriteParameters(NodesToWrite=[written])))
        if not status.is_good():
            raise WriteError(f"the server refuses: {status.name}")

    async def subscribe(self, sampling: float | None, queue: int) -> None:
        """Monitors all tags; what changes is heard from now on."""
        known = [tag for tag in self._device.tags if tag.name in self._nodes]
        if self._limits.items is not None and len(known) > self._limits.items:
            raise DeviceError(
                f"this kind of server monitors at most {self._limits.items} items, not {len(known)}: use `mode: poll`"
            )
        publishing = min((tag.interval for tag in known), default=1.0)
        keep_alive = max(1, math.ceil(_KEEP_ALIVE_SECONDS / publishing))
        parameters = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=publishing * 1000,
            RequestedLifetimeCount=keep_alive * 10,
            RequestedMaxKeepAliveCount=keep_alive,
            MaxNotificationsPerPublish=0,
            PublishingEnabled=True,
        )
        self._published = asyncio.get_running_loop().time()
        made = await self._session.create_subscription(parameters, self._on_publish)
        silence = made.RevisedPublishingInterval / 1000 * made.RevisedMaxKeepAliveCount
        self._stale_after = 2 * silence + self._device.timeout
        self._by_handle = dict(enumerate(known))
        for at in range(0, len(known), self._limits.monitor):
            handles = range(at, min(at + self._limits.monitor, len(known)))
            items = [
                _item(self._by_handle[h], self._nodes[self._by_handle[h].name], h, sampling, queue) for h in handles
            ]
            await self._monitor(made.SubscriptionId, items)
        self._heard += [tag.bad(int(time() * 1000)) for tag in self._device.tags if tag.name not in self._nodes]

    async def _monitor(self, subscription: int, items: list[ua.MonitoredItemCreateRequest]) -> None:
        results = await self._created(subscription, items)
        again = []
        for item, result in zip(items, results, strict=True):
            if result.StatusCode.is_good():
                continue
            if item.RequestedParameters.Filter is not None and "Filter" in result.StatusCode.name:
                item.RequestedParameters.Filter = None  # the deadband is ours to keep, then
                again.append(item)
                continue
            tag = self._by_handle[item.RequestedParameters.ClientHandle]
            self.refusals[tag.name] = result.StatusCode.name
            self._heard.append(tag.bad(int(time() * 1000)))
        if again:
            await self._monitor(subscription, again)

    async def _created(
        self, subscription: int, items: list[ua.MonitoredItemCreateRequest]
    ) -> list[ua.MonitoredItemCreateResult]:
        parameters = ua.CreateMonitoredItemsParameters(
            SubscriptionId=subscription, TimestampsToReturn=ua.TimestampsToReturn.Both, ItemsToCreate=items
        )
        results: list[ua.MonitoredItemCreateResult] = await self._session.create_monitored_items(parameters)
        return results

    def _on_publish(self, result: ua.PublishResult) -> None:
        self._published = asyncio.get_running_loop().time()
        for notification in result.NotificationMessage.NotificationData or ():
            if isinstance(notification, ua.DataChangeNotification):
                for item in notification.MonitoredItems:
                    if (tag := self._by_handle.get(item.ClientHandle)) is not None:
                        self._heard.append(self._reading(tag, item.Value))
            elif isinstance(notification, ua.StatusChangeNotification):
                self._lost = f"the server ended the subscription: {notification.Status.name}"
        if len(self._heard) > _HEARD_AT_MOST:
            self._lost = "more changes came than could be taken"
        self._told.set()

    async def _on_lost(self, error: Exception) -> None:
        self._lost = f"{_LOST}: {error}" if str(error) else _LOST
        self._told.set()

    def _reading(self, tag: Tag, data: ua.DataValue) -> Reading:
        def refused(why: str) -> None:
            self.refusals[tag.name] = why

        return opcua_values.reading(tag, data, self._clock, refused)

    def _fresh(self, reading: Reading, data: ua.DataValue, now: int) -> Reading:
        """A value that has not changed keeps its source's time, but is known to hold now: the server's time says so."""
        last = self._last.get(reading.tag)
        if last is not None and reading.time <= last:
            moment = data.ServerTimestamp
            later = int(moment.timestamp() * 1000) if moment is not None else now
            reading = Reading(reading.tag, later if later > last else now, reading.value, reading.quality)
        self._last[reading.tag] = reading.time
        return reading

    def _batches(self, tags: Iterable[Tag]) -> list[ua.ReadParameters]:
        nodes = [self._nodes[tag.name] for tag in tags if tag.name in self._nodes]
        size = self._limits.read
        return [_parameters(nodes[at : at + size]) for at in range(0, len(nodes), size)]

    async def _call(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except TimeoutError:
            raise DeviceError(f"no answer within {self._device.timeout:g} s") from None
        except (ua.UaError, OSError) as error:
            raise DeviceError(str(error) or type(error).__name__) from error

    async def _recognised(self) -> Profile:
        product = ua.NodeId(ua.ObjectIds.Server_ServerStatus_BuildInfo_ProductUri)
        name = ua.NodeId(ua.ObjectIds.Server_ServerStatus_BuildInfo_ProductName)
        found = await self._session.read(_parameters([product, name]))
        text = " ".join(str(data.Value.Value) for data in found if data.Value is not None).lower()
        return Profile.S7_1200 if "s7-1200" in text else Profile.STANDARD

    async def _negotiated(self, wanted: Limits) -> Limits:
        ids = ua.ObjectIds
        names = (
            ids.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
            ids.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
        )
        found = await self._session.read(_parameters([ua.NodeId(one) for one in names]))
        # 0, or no such node, is no limit.
        said = [int(data.Value.Value or 0) if data.Value and data.Value.Value else 0 for data in found]
        read, monitor = (
            min(most, limit or most) for most, limit in zip((wanted.read, wanted.monitor), said, strict=True)
        )
        return Limits(read, monitor, wanted.items)


def _parameters(nodes: Sequence[ua.NodeId]) -> ua.ReadParameters:
    return ua.ReadParameters(
        TimestampsToReturn=ua.TimestampsToReturn.Both,
        NodesToRead=[ua.ReadValueId(NodeId=node, AttributeId=ua.AttributeIds.Value) for node in nodes],
    )


def _item(tag: Tag, node: ua.NodeId, handle: int, sampling: float | None, queue: int) -> ua.MonitoredItemCreateRequest:
    parameters = ua.MonitoringParameters(
        ClientHandle=handle,
        SamplingInterval=(tag.interval if sampling is None else sampling) * 1000,
        QueueSize=queue,
        DiscardOldest=True,
    )
    report = tag.report
    if report is not None and report.deadband and not report.relative:
        parameters.Filter = ua.DataChangeFilter(
            Trigger=ua.DataChangeTrigger.StatusValue,
            DeadbandType=ua.DeadbandType.Absolute.value,
            DeadbandValue=abs(report.deadband / tag.scale),
        )
    return ua.MonitoredItemCreateRequest(
        ItemToMonitor=ua.ReadValueId(NodeId=node, AttributeId=ua.AttributeIds.Value),
        MonitoringMode=ua.MonitoringMode.Reporting,
        RequestedParameters=parameters,
    )
