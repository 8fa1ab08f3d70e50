"""An OPC UA subscription: monitored items, and the changes that the server reports."""

import asyncio
import math
from collections.abc import Mapping, Sequence

from asyncua import ua
from asyncua.ua.uaerrors import UaStructParsingError

from gateway.drivers.driver import DeviceError, Tag
from gateway.drivers.opcua import limits as opcua_limits
from gateway.drivers.opcua.address import Address
from gateway.drivers.opcua.session import ASK_AGAIN_SECONDS, WRONG_COUNT, Session
from nexus.contract.reading import Reading
from nexus.process.clock import now_ms

_KEEP_ALIVE_SECONDS = 5.0
_LONGEST_SILENCE = 600.0  # a server that is silent for longer cannot be told from a dead one
_AT_ONCE = 1_000  # changes in one report, and those taken without a pause
_SECONDS_EACH = 1 / 30_000  # a server that always has more to report gets about half of the gateway's time
_HEARD_AT_MOST = 200_000  # changes that may wait for the poller; with more, reconnect
_LOST = "the connection was lost"


class Subscription:
    """The subscription of one session. Nodes that the server refuses are tried again."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._services = session.services
        self._id = 0
        self._options: tuple[float | None, int] = (None, 1)  # sampling, queue
        self._by_handle: dict[int, Tag[Address]] = {}
        self._unmonitored: dict[int, Tag[Address]] = {}
        self._unfit: set[str] = set()  # tags that are not monitored in this session
        self._ask_again_at = math.inf
        self._stamps: dict[str, tuple[int, int]] = {}  # by tag: its last change's time, as it came and as it went on
        self._began_ms = now_ms()
        self._heard: list[Reading] = []
        self._told = asyncio.Event()
        self._published = 0.0
        self._stale_after = 0.0
        self._oversized = False
        self._lost: str | None = None
        session.client.connection_lost_callback = self._on_lost
        opcua_limits.decode_reports(self._services, self._on_unreadable)

    async def next_changes(self) -> list[Reading]:
        """The changes that came since. A server says when nothing changes: Raises DeviceError when it is silent."""
        clock = asyncio.get_running_loop().time
        while not self._heard:
            if self._oversized:
                await self._session.call(self._leave_out_unfit())
                continue
            if self._lost is not None:
                raise DeviceError(self._lost, silent_for=clock() - self._published)
            if clock() >= self._ask_again_at:
                await self._session.call(self._monitor_again())
                continue
            self._told.clear()
            silence = self._published + self._stale_after
            try:
                async with asyncio.timeout_at(min(silence, self._ask_again_at)):
                    await self._told.wait()
            except TimeoutError:
                if clock() >= (silence := self._published + self._stale_after):
                    reason = f"the server was silent for {self._stale_after:.0f} s"
                    raise DeviceError(reason, silent_for=clock() - self._published) from None
        heard, self._heard = self._heard, []
        return heard

    async def subscribe(self, sampling: float | None, queue: int) -> None:
        """Monitors all tags; changes are reported from now on."""
        known = [tag for tag in self._session.device.tags if tag.name in self._session.nodes]
        most = self._session.limits.items
        if most is not None and len(known) > most:
            raise DeviceError(f"this kind of server monitors at most {most} items, not {len(known)}: use `mode: poll`")
        publishing = min((tag.interval for tag in known), default=1.0)
        keep_alive = max(1, math.ceil(_KEEP_ALIVE_SECONDS / publishing))
        parameters = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=publishing * 1000,
            RequestedLifetimeCount=keep_alive * 10,
            RequestedMaxKeepAliveCount=keep_alive,
            MaxNotificationsPerPublish=_AT_ONCE,
            PublishingEnabled=True,
        )
        self._published = asyncio.get_running_loop().time()
        made = await self._services.create_subscription(parameters, self._on_publish)
        silence = made.RevisedPublishingInterval / 1000 * made.RevisedMaxKeepAliveCount
        if not 0 <= silence <= _LONGEST_SILENCE:
            silence = _LONGEST_SILENCE
        self._stale_after = 2 * silence + self._session.device.timeout
        self._id, self._options = made.SubscriptionId, (sampling, queue)
        self._by_handle = dict(enumerate(self._session.device.tags))
        await self._monitor_all(self._by_handle)
        self._heard += [tag.bad(now_ms()) for tag in self._unmonitored.values()]

    async def _leave_out_unfit(self) -> None:
        """Subscribes anew without what made a report too large; the others' changes in that report are a gap."""
        self._oversized = False
        tags = [tag for handle, tag in self._by_handle.items() if handle not in self._unmonitored]
        if not (unfit := await self._session.unfit(tags)):
            return
        self._unfit |= unfit
        await self._services.delete_subscriptions([self._id])
        now = now_ms()
        last_report = now - int((asyncio.get_running_loop().time() - self._published) * 1000)
        for tag in tags:
            if (last := self._stamps.get(tag.name)) is not None:
                moment = max(last_report, last[1] + 1)
                self._heard.append(tag.bad(moment))
                self._stamps[tag.name] = (last[0], max(moment, now))
        self._began_ms, self._lost = now, None
        await self.subscribe(*self._options)

    async def _monitor_again(self) -> None:
        """Tries refused nodes again: they may appear after the server starts, or with a download to the PLC."""
        await self._session.find_nodes()
        await self._monitor_all(dict(self._unmonitored))

    async def _monitor_all(self, wanted: Mapping[int, Tag[Address]]) -> None:
        """Monitors these, and keeps in `_unmonitored` those that the server does not take."""
        nodes = {name: node for name, node in self._session.nodes.items() if name not in self._unfit}
        self._unmonitored = {handle: tag for handle, tag in wanted.items() if tag.name not in nodes}
        items = [
            _item(tag, nodes[tag.name], handle, *self._options) for handle, tag in wanted.items() if tag.name in nodes
        ]
        for at in range(0, len(items), self._session.limits.monitor):
            await self._monitor(items[at : at + self._session.limits.monitor])
        waiting = bool(self._unmonitored)
        self._ask_again_at = asyncio.get_running_loop().time() + ASK_AGAIN_SECONDS if waiting else math.inf

    async def _monitor(self, items: list[ua.MonitoredItemCreateRequest]) -> None:
        results = await self._created(self._id, items)
        if len(results) != len(items):
            raise DeviceError(WRONG_COUNT)
        again = []
        for item, result in zip(items, results, strict=True):
            if result.StatusCode.is_good():
                continue
            if item.RequestedParameters.Filter is not None and "Filter" in result.StatusCode.name:
                item.RequestedParameters.Filter = None  # then we apply the deadband ourselves
                again.append(item)
                continue
            handle = item.RequestedParameters.ClientHandle
            self._unmonitored[handle] = tag = self._by_handle[handle]
            self._session.refused(tag, result.StatusCode.name)
        if again:
            await self._monitor(again)

    async def _created(
        self, subscription: int, items: list[ua.MonitoredItemCreateRequest]
    ) -> list[ua.MonitoredItemCreateResult]:
        parameters = ua.CreateMonitoredItemsParameters(
            SubscriptionId=subscription, TimestampsToReturn=ua.TimestampsToReturn.Both, ItemsToCreate=items
        )
        results: list[ua.MonitoredItemCreateResult] = await self._services.create_monitored_items(parameters)
        return results

    async def _on_publish(self, result: ua.PublishResult) -> None:
        """Takes a report; the server is asked for more afterwards."""
        try:
            for notification in result.NotificationMessage.NotificationData or ():
                if isinstance(notification, ua.DataChangeNotification):
                    await self._take(notification.MonitoredItems)
                elif isinstance(notification, ua.StatusChangeNotification):
                    self._lost = f"the server ended the subscription: {notification.Status.name}"
        except Exception as error:  # whatever the server sent: the library would drop it silently
            self._on_unreadable(error)
        self._published = asyncio.get_running_loop().time()
        self._told.set()

    async def _take(self, items: Sequence[ua.MonitoredItemNotification]) -> None:
        for at in range(0, len(items), _AT_ONCE):
            some = items[at : at + _AT_ONCE]
            for item in some:
                if (tag := self._by_handle.get(item.ClientHandle)) is not None:
                    self._heard.append(self._change(self._session.reading(tag, item.Value)))
            if len(self._heard) > _HEARD_AT_MOST:
                self._lost = "more changes came than could be taken"
            self._told.set()
            await asyncio.sleep(len(some) * _SECONDS_EACH)

    def _on_unreadable(self, error: Exception) -> None:
        self._oversized = isinstance(error, UaStructParsingError)
        self._lost = f"a report of the server cannot be decoded: {error!s:.200}"
        self._told.set()

    async def _on_lost(self, error: Exception) -> None:
        self._lost = self._lost or (f"{_LOST}: {error}" if str(error) else _LOST)
        self._told.set()

    def _change(self, reading: Reading) -> Reading:
        """A change with a time of its own.

        The first that is heard of a node is what it holds now, whenever it got there. Servers with a coarse clock give
        several changes one time, and rows have the time in their key.
        """
        came = reading.time
        if (last := self._stamps.get(reading.tag)) is None:
            moment = max(came, self._began_ms)
        elif came >= last[0]:
            moment = max(came, last[1] + 1)
        else:
            moment = came  # the server's clock was set back
        self._stamps[reading.tag] = (came, moment)
        return reading if moment == came else Reading(reading.tag, moment, reading.value, reading.quality)


def _item(
    tag: Tag[Address], node: ua.NodeId, handle: int, sampling: float | None, queue: int
) -> ua.MonitoredItemCreateRequest:
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
