"""The console's metrics."""

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, disable_created_metrics

from nexus.process import guard

disable_created_metrics()  # type: ignore[no-untyped-call]  # half of the page otherwise

registry = CollectorRegistry()
ProcessCollector(registry=registry)
registry.register(guard.faults)

requests = Histogram(
    "nexus_console_request_seconds",
    "Time from a request to the end of its answer",
    ["route", "status"],
    buckets=(0.01, 0.05, 0.1, 0.3, 1, 3, 10, 60),
    registry=registry,
)
