"""Every metric of the gateway. Labels name devices, never tags."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import accumulate

import msgspec
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Metric,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from nexus.contract.alarm import State
from nexus.process import lines, supervisor

disable_created_metrics()  # type: ignore[no-untyped-call]  # half of the page otherwise

registry = CollectorRegistry()
ProcessCollector(registry=registry)
registry.register(supervisor.faults)
registry.register(lines.lost)

_DEVICE = ["device"]


class Device(msgspec.Struct, gc=False):
    """One device's own metrics, with the field's name in _OF_DEVICES."""

    readings: int = 0
    bad_readings: int = 0
    failures: int = 0
    missed: int = 0
    scan_seconds: float = 0.0
    breaker: int = 0
    openings: int = 0
    expression_faults: int = 0


_OF_DEVICES: tuple[tuple[str, type[CounterMetricFamily | GaugeMetricFamily], str, str], ...] = (
    ("readings", CounterMetricFamily, "nexus_gateway_readings", "Readings taken, of any quality"),
    ("bad_readings", CounterMetricFamily, "nexus_gateway_bad_readings", "Readings of bad quality"),
    ("failures", CounterMetricFamily, "nexus_gateway_device_failures", "Scans and connects that failed"),
    ("missed", CounterMetricFamily, "nexus_gateway_ticks_missed", "Ticks skipped because a scan overran"),
    ("scan_seconds", GaugeMetricFamily, "nexus_gateway_scan_seconds", "Duration of the last scan"),
    ("breaker", GaugeMetricFamily, "nexus_gateway_breaker_state", "0 closed, 1 half-open, 2 open"),
    ("openings", CounterMetricFamily, "nexus_gateway_breaker_openings", "Times that the breaker opened"),
    (
        "expression_faults",
        CounterMetricFamily,
        "nexus_gateway_expression_faults",
        "Derived values that could not be calculated",
    ),
)


class _Devices(Collector):
    """The metrics of all devices. Counters and Gauges with labels would take 4 kB a device."""

    def __init__(self) -> None:
        self.by_name: dict[str, Device] = {}

    def collect(self) -> Iterator[Metric]:
        found = list(self.by_name.items())  # called in another thread than the devices'
        for field, kind, name, text in _OF_DEVICES:
            family = kind(name, text, labels=_DEVICE)
            for device, own in found:
                family.add_metric([device], getattr(own, field))
            yield family


class Lateness(Collector):
    """A histogram of plain numbers: prometheus_client's own takes a lock, and ten times as long per scan."""

    BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)

    def __init__(self) -> None:
        self._counts = [0] * (len(self.BOUNDS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """A scan began so late."""
        self._counts[bisect_left(self.BOUNDS, seconds)] += 1
        self._sum += seconds

    def collect(self) -> Iterator[Metric]:
        text = "How late scans start against their schedule"
        bounds = [*map(str, self.BOUNDS), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily("nexus_gateway_lateness_seconds", text, buckets=buckets, sum_value=self._sum)


_devices = _Devices()
registry.register(_devices)


def device(name: str) -> Device:
    """The metrics of a device."""
    return _devices.by_name.setdefault(name, Device())


def forget(name: str) -> None:
    """Removes the metrics of a device that is no longer polled, so that no frozen values stay behind."""
    _devices.by_name.pop(name, None)
    with suppress(KeyError):
        certificate_days.remove(name)


def readings() -> int:
    """Readings taken of the devices that are polled now."""
    return sum(device.readings for device in list(_devices.by_name.values()))


class AlarmCounts(msgspec.Struct):
    """The alarms of one device: how many are in which state, cannot be evaluated, and how often any chattered."""

    states: Mapping[State, int]
    errors: int
    chattered: int


class Alarms(Collector):
    """The alarms of the devices that are polled here, and how often any was raised."""

    def __init__(self) -> None:
        self._counts: Callable[[], Mapping[str, AlarmCounts]] = dict
        self._raised: dict[str, int] = {}

    def follow(self, counts: Callable[[], Mapping[str, AlarmCounts]]) -> None:
        """`counts` are asked for by device, in another thread."""
        self._counts = counts

    def raised(self, device: str) -> None:
        """An alarm of this device was raised."""
        self._raised[device] = self._raised.get(device, 0) + 1

    def collect(self) -> Iterator[Metric]:
        name = "nexus_gateway_alarms"
        now = GaugeMetricFamily(name, "Alarms that are not normal", labels=["device", "state"])
        errors = GaugeMetricFamily(f"{name}_unevaluated", "Alarms whose expression has no result now", labels=_DEVICE)
        chattered = CounterMetricFamily(f"{name}_chattered", "Times that alarms began to chatter", labels=_DEVICE)
        raised = CounterMetricFamily(f"{name}_raised", "Alarms raised", labels=_DEVICE)
        for device, counts in self._counts().items():
            for state, count in counts.states.items():
                if state != "normal":
                    now.add_metric([device, state], count)
            errors.add_metric([device], counts.errors)
            chattered.add_metric([device], counts.chattered)
        for device, times in list(self._raised.items()):
            raised.add_metric([device], times)
        yield from (now, errors, chattered, raised)


lateness = Lateness()
registry.register(lateness)
devices = Gauge("nexus_gateway_devices", "Devices in the device files", registry=registry)
published = Counter(
    "nexus_gateway_messages_published", "Messages that the broker took for a subscriber", registry=registry
)
refused = Counter("nexus_gateway_messages_refused", "Messages that the broker refused", ["reason"], registry=registry)
dropped = Counter(
    "nexus_gateway_readings_dropped",
    "Readings lost: bytes, age: the spool's limits; memory: the disk takes nothing; refused by the broker for good;"
    " damaged on disk, counted as one where the number cannot be told",
    ["reason"],
    registry=registry,
)
for _reason in ("memory", "bytes", "age", "refused", "damaged"):
    dropped.labels(_reason)
queued = Gauge("nexus_gateway_readings_queued", "Readings in memory that wait for the broker", registry=registry)
connected = Gauge("nexus_gateway_broker_connected", "1 while connected to the broker", registry=registry)
spool_waiting = Gauge(
    "nexus_gateway_spool_waiting_readings", "Readings in memory that wait for the disk", registry=registry
)
spool_readings = Gauge("nexus_gateway_spool_readings", "Readings on disk", registry=registry)
spool_bytes = Gauge("nexus_gateway_spool_bytes", "Bytes of the messages on disk", registry=registry)
spool_oldest = Gauge("nexus_gateway_spool_oldest_seconds", "Age of the oldest message on disk", registry=registry)
spool_drain = Gauge(
    "nexus_gateway_spool_drain_seconds",
    "Time until the spool is empty; +Inf while it does not drain",
    registry=registry,
)
spool_full = Gauge(
    "nexus_gateway_spool_full_seconds",
    "Time until the spool or its disk is full; +Inf while it does not grow",
    registry=registry,
)
spool_loss = Gauge(
    "nexus_gateway_spool_loss_seconds",
    "Time until the oldest message is lost, by its age or for lack of room; +Inf while nothing waits",
    registry=registry,
)
spool_loss.set(float("inf"))
sent_again = Counter(
    "nexus_gateway_readings_sent_again", "Readings retransmitted because no receipt came", registry=registry
)
receipts_offered = Gauge("nexus_gateway_receipts_offered", "1 while ingesters offer receipts", registry=registry)
receipts = Counter(
    "nexus_gateway_receipts", "Receipts received: ingesters have stored what was sent", registry=registry
)
receipts_refused = Counter(
    "nexus_gateway_receipts_refused",
    "Receipts that are malformed, or for numbers that were never sent",
    registry=registry,
)
denied = Gauge("nexus_gateway_topics_denied", "Topics that the broker denies; their readings wait", registry=registry)
words_denied = Gauge(
    "nexus_gateway_control_topics_denied",
    "States, presence, device lists and subscriptions that the broker denies",
    registry=registry,
)
spool_failures = Counter("nexus_gateway_spool_failures", "Writes that the disk refused", registry=registry)
reloads = Counter(
    "nexus_gateway_reloads", "Changed device files that were taken or refused", ["result"], registry=registry
)
for _result in ("taken", "refused"):
    reloads.labels(_result)
config_error = Gauge("nexus_gateway_config_error", "1 while the device files on disk have errors", registry=registry)
last_good = Gauge(
    "nexus_gateway_config_last_good",
    "1 while the last good device files are polled, because those on disk had errors at the start",
    registry=registry,
)
members = Gauge("nexus_gateway_group_members", "Gateways of the group, including this one", registry=registry)
contested = Gauge(
    "nexus_gateway_devices_contested",
    "Devices that another gateway of the group defines differently",
    registry=registry,
)
unlisted = Gauge(
    "nexus_gateway_group_members_unlisted",
    "Members whose device list is missing: no device is taken while they are there",
    registry=registry,
)
name_taken = Gauge(
    "nexus_gateway_name_taken",
    "1 while another gateway has this one's name, and this one polls nothing",
    registry=registry,
)
presences_refused = Counter(
    "nexus_gateway_presences_refused",
    "Presences and totals in the group that no gateway can have published",
    registry=registry,
)
lease_renewed = Gauge(
    "nexus_gateway_lease_renewed",
    "1 while the API server renews this gateway's Lease, or where none is used",
    registry=registry,
)
lease_renewed.set(1)
missing = Gauge(
    "nexus_gateway_readings_missing_today",
    "Readings of today (UTC) that were due of the devices polled here, and were not read",
    registry=registry,
)
owned = Gauge("nexus_gateway_devices_polled", "Devices that this gateway polls now", registry=registry)
certificate_days = Gauge(
    "nexus_gateway_certificate_days",
    "Days until our OPC UA certificate expires, as of the last connect",
    _DEVICE,
    registry=registry,
)
alarms = Alarms()
registry.register(alarms)
alarm_requests = Counter(
    "nexus_gateway_alarm_requests", "Requests about alarms by their outcome", ["result"], registry=registry
)
for _result in ("done", "refused"):
    alarm_requests.labels(_result)
alarm_record_failures = Counter(
    "nexus_gateway_alarm_record_failures", "Failed writes of the alarms' state to disk", registry=registry
)
alarm_messages_ignored = Counter(
    "nexus_gateway_alarm_words_ignored",
    "Retained messages of alarms, ignored and overwritten: forged, older than our own, or of no alarm in the files",
    ["reason"],
    registry=registry,
)
for _reason in ("forged", "older", "unknown"):
    alarm_messages_ignored.labels(_reason)
commands = Counter("nexus_gateway_commands", "Writes by their outcome", ["result"], registry=registry)
for _result in ("done", "failed", "refused"):
    commands.labels(_result)
tasks = Gauge("nexus_gateway_tasks", "Tasks of the event loop: a few, plus one per device", registry=registry)
