"""The ingester's metrics."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from nexus.process import lines, supervisor

disable_created_metrics()  # type: ignore[no-untyped-call]  # half of the page otherwise

registry = CollectorRegistry()
ProcessCollector(registry=registry)
registry.register(supervisor.faults)
registry.register(lines.lost)

messages = Counter("nexus_ingestion_messages", "Messages taken from the broker", registry=registry)
rows = Counter("nexus_ingestion_rows", "Rows written", registry=registry)
duplicates = Counter("nexus_ingestion_duplicates", "Rows that were in the table already", registry=registry)
late = Counter("nexus_ingestion_late_rows", "Rows for chunks that are already compressed", registry=registry)
rejects = Counter("nexus_ingestion_rejects", "Messages and rows rejected", registry=registry)
rejects_dropped = Counter(
    "nexus_ingestion_rejects_dropped", "Rejects beyond the day's quota, which are not kept", registry=registry
)
conflicts = Counter(
    "nexus_ingestion_conflicts", "Rows for a topic and time that have another value already", registry=registry
)
misnumbered = Counter(
    "nexus_ingestion_misnumbered", "Messages with impossible numbers: stored, without a receipt", registry=registry
)
audit = Counter("nexus_ingestion_audit_records", "Audit records written", registry=registry)
alarms = Counter("nexus_ingestion_alarm_events", "Events of alarms written, with repetitions", registry=registry)
receipts = Counter("nexus_ingestion_receipts", "Receipts sent to gateways", registry=registry)
batch_points = Histogram(
    "nexus_ingestion_batch_points",
    "Rows per batch",
    buckets=(1, 10, 100, 500, 1000, 2500, 5000, 10000, 25000, 50000),
    registry=registry,
)
write_seconds = Histogram(
    "nexus_ingestion_write_seconds",
    "Time from the start of a COPY to its commit",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
    registry=registry,
)
lag = Gauge(
    "nexus_ingestion_lag_seconds",
    "Age of the last batch's newest reading at its commit",
    registry=registry,
)
oldest = Gauge("nexus_ingestion_oldest_seconds", "Age of the oldest unacknowledged message", registry=registry)
buffered = Gauge("nexus_ingestion_buffered_points", "Points that wait to be written", registry=registry)
undecoded = Gauge(
    "nexus_ingestion_undecoded_messages", "Messages that wait undecoded: the buffer is full", registry=registry
)
database_up = Gauge("nexus_ingestion_database_up", "1 while the database accepts writes", registry=registry)
connected = Gauge("nexus_ingestion_broker_connected", "1 while connected to the broker", registry=registry)
subscriptions_refused = Gauge(
    "nexus_ingestion_subscriptions_refused", "Subscriptions that the broker's rules deny", registry=registry
)
slot = Gauge("nexus_ingestion_slot", "The number in this ingester's client id; -1 while it has none", registry=registry)
