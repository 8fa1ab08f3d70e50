"""The metrics of `nexus rules`."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics

from nexus.process import lines, supervisor

disable_created_metrics()  # type: ignore[no-untyped-call]  # half of the page otherwise

registry = CollectorRegistry()
ProcessCollector(registry=registry)
registry.register(supervisor.faults)
registry.register(lines.lost)

active = Gauge(
    "nexus_rules_active", "1 in the process that evaluates the rules, 0 in those that wait", registry=registry
)
inputs = Counter("nexus_rules_inputs", "Inputs taken from the broker", registry=registry)
ignored = Counter("nexus_rules_inputs_ignored", "Inputs not evaluated, by reason", ["reason"], registry=registry)
for _reason in ("older", "late", "ahead", "circle", "unreadable", "overflow"):
    ignored.labels(_reason)
said = Counter("nexus_rules_messages", "Messages published, with repetitions", registry=registry)
refused = Counter("nexus_rules_messages_refused", "Messages that the broker refused", registry=registry)
unwritable = Counter("nexus_rules_unwritable", "States and messages that the database refuses", registry=registry)
receipts_refused = Counter("nexus_rules_receipts_refused", "Receipts that cannot be ours", registry=registry)
requests = Counter("nexus_rules_alarm_requests", "Requests about alarms, by result", ["result"], registry=registry)
for _result in ("done", "refused", "expired"):
    requests.labels(_result)
outbox = Gauge("nexus_rules_outbox_messages", "Messages without a receipt yet", registry=registry)
outbox_bytes = Gauge("nexus_rules_outbox_bytes", "Bytes of their payloads", registry=registry)
waiting = Gauge("nexus_rules_waiting_messages", "Messages that wait to be evaluated", registry=registry)
without_result = Gauge("nexus_rules_without_result", "Tags and alarms that have no result now", registry=registry)
database_up = Gauge("nexus_rules_database_up", "1 while the database answers", registry=registry)
connected = Gauge("nexus_rules_broker_connected", "1 while connected to the broker", registry=registry)
commit_seconds = Histogram(
    "nexus_rules_commit_seconds",
    "Time that a transaction took",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
    registry=registry,
)
