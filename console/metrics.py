"""The console's metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics

from nexus.process import lines, supervisor

disable_created_metrics()  # type: ignore[no-untyped-call]  # half of the page otherwise

registry = CollectorRegistry()
ProcessCollector(registry=registry)
registry.register(supervisor.faults)
registry.register(lines.lost)

requests = Histogram(
    "nexus_console_request_seconds",
    "Time from a request to the end of its answer",
    ["route", "status"],
    buckets=(0.01, 0.05, 0.1, 0.3, 1, 3, 10, 60),
    registry=registry,
)
sockets = Gauge("nexus_console_sockets", "Clients of the live stream", registry=registry)
frames = Counter("nexus_console_frames", "Frames sent to clients of the live stream", registry=registry)
frames_dropped = Counter(
    "nexus_console_frames_dropped", "Frames that a slow client of the live stream did not get", registry=registry
)
broker_connected = Gauge("nexus_console_broker_connected", "1 while connected to the broker", registry=registry)
database_up = Gauge("nexus_console_database_up", "1 while the database answers", registry=registry)
database_connections = Gauge(
    "nexus_console_database_connections", "Connections that answer somebody", registry=registry
)
database_waiting = Gauge("nexus_console_database_waiting", "Requests that wait for a connection", registry=registry)

refusals = Counter(
    "nexus_console_refusals",
    "Requests that were refused: wrong logins, keys, sessions, roles, tokens and pages of other sites",
    ["event"],
    registry=registry,
)

notifications = Counter(
    "nexus_console_notifications",
    "Attempts to send a notification: sent, retried, or dead",
    ["channel", "result"],
    registry=registry,
)
notifications_pending = Gauge("nexus_console_notifications_pending", "Notifications that wait", registry=registry)
notifications_oldest = Gauge(
    "nexus_console_notifications_oldest_seconds", "Age of the oldest notification that waits", registry=registry
)
notifications_dead = Gauge(
    "nexus_console_notifications_dead", "Notifications that were given up, and not sent again", registry=registry
)
notifications_queued = Gauge(
    "nexus_console_notifications_queued", "Events of alarms that the routes have not judged yet", registry=registry
)
notify_configured = Gauge(
    "nexus_console_notify_configured", "1 where the console has a file of notifications", registry=registry
)
notify_leading = Gauge(
    "nexus_console_notify_leading", "1 for the console that sends notifications, of all", registry=registry
)
notify_config_error = Gauge(
    "nexus_console_notify_config_error", "1 while the changed file of notifications is wrong", registry=registry
)
