"""Every metric of the gateway. Labels name devices, never tags."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # half of the page otherwise

registry = CollectorRegistry()

_DEVICE = ["device"]

readings = Counter("nexus_gateway_readings", "Readings taken, of any quality", _DEVICE, registry=registry)
bad_readings = Counter("nexus_gateway_bad_readings", "Readings of bad quality", _DEVICE, registry=registry)
failures = Counter("nexus_gateway_device_failures", "Scans and connects that failed", _DEVICE, registry=registry)
missed = Counter("nexus_gateway_ticks_missed", "Ticks skipped because a scan overran", _DEVICE, registry=registry)
scan_seconds = Gauge("nexus_gateway_scan_seconds", "Time that the last scan took", _DEVICE, registry=registry)
breaker = Gauge("nexus_gateway_breaker_state", "0 closed, 1 half-open, 2 open", _DEVICE, registry=registry)
openings = Counter("nexus_gateway_breaker_openings", "Times that the breaker opened", _DEVICE, registry=registry)
lateness = Histogram(
    "nexus_gateway_lateness_seconds",
    "How far behind its grid a scan started",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
    registry=registry,
)
devices = Gauge("nexus_gateway_devices", "Devices in the device files", registry=registry)
published = Counter("nexus_gateway_messages_published", "Messages that the broker acknowledged", registry=registry)
refused = Counter("nexus_gateway_messages_refused", "Messages that the broker refused", ["reason"], registry=registry)
dropped = Counter("nexus_gateway_readings_dropped", "Readings lost because the queue was full", registry=registry)
queued = Gauge("nexus_gateway_readings_queued", "Readings that wait for the broker", registry=registry)
connected = Gauge("nexus_gateway_broker_connected", "1 while connected to the broker", registry=registry)
