"""Dashboards for operators: ingestion, the console, and the systems that they run on."""

from grafana_foundation_sdk.models import dashboard as models

from infrastructure.monitoring.panels import (
    GREEN,
    RED,
    UP,
    YELLOW,
    board,
    lines,
    number,
    rows,
    states,
)


def ingestion() -> models.Dashboard:
    """From the broker into the table."""
    return board(
        "nexus-ingestion",
        "Nexus: ingestion",
        [],
        {
            "Flow": [
                lines(
                    "Messages and rows per second",
                    "short",
                    ("sum(rate(nexus_ingestion_messages_total[1m]))", "messages received"),
                    ("sum(rate(nexus_ingestion_rows_total[1m]))", "rows written"),
                    ("sum(rate(nexus_ingestion_late_rows_total[1m]))", "late rows"),
                    ("sum(rate(nexus_ingestion_duplicates_total[1m]))", "duplicates"),
                    ("sum(rate(nexus_ingestion_rejects_total[1m]))", "rejects"),
                ),
                lines(
                    "Lag",
                    "s",
                    ("max(nexus_ingestion_lag_seconds)", "age of the newest reading at commit"),
                    ("max(nexus_ingestion_oldest_seconds)", "wait of the oldest unacknowledged message"),
                    text="how far the table is behind the devices, and the ingesters behind the broker",
                ),
                lines(
                    "Batch write time",
                    "s",
                    ("histogram_quantile(0.5, sum by (le) (rate(nexus_ingestion_write_seconds_bucket[5m])))", "median"),
                    ("histogram_quantile(0.99, sum by (le) (rate(nexus_ingestion_write_seconds_bucket[5m])))", "p99"),
                    text="from the start of COPY to the commit",
                ),
                lines(
                    "Rows per batch",
                    "short",
                    (
                        "sum(rate(nexus_ingestion_batch_points_sum[5m]))"
                        " / sum(rate(nexus_ingestion_batch_points_count[5m]))",
                        "rows",
                    ),
                ),
                lines(
                    "Buffered",
                    "short",
                    ("sum(nexus_ingestion_buffered_points)", "decoded points"),
                    ("sum(nexus_ingestion_undecoded_messages)", "undecoded messages"),
                    text="waits for the database; messages stay undecoded while the buffer is full",
                ),
                lines(
                    "Gateway spools",
                    "short",
                    ("sum(nexus_gateway_spool_readings)", "readings not confirmed yet"),
                    ("sum(rate(nexus_gateway_readings_sent_again_total[5m]))", "readings sent again per second"),
                    text="rises while the broker, the ingesters or the database are away or slow",
                ),
            ],
            "Rules across devices": [
                number(
                    "Active", "sum(nexus_rules_active)", "short", (None, RED), (1, GREEN), text="processes; one a group"
                ),
                number(
                    "Without a result",
                    "sum(nexus_rules_without_result)",
                    "short",
                    (None, GREEN),
                    (1, YELLOW),
                    text="tags and alarms whose expression has none now; /health names them",
                ),
                number(
                    "Without a receipt",
                    "sum(nexus_rules_outbox_messages)",
                    "short",
                    (None, GREEN),
                    (10_000, YELLOW),
                    text="messages; at 100,000 no more inputs are taken",
                ),
                lines(
                    "Inputs and messages of rules per second",
                    "short",
                    ("sum(rate(nexus_rules_inputs_total[1m]))", "inputs"),
                    ("sum(rate(nexus_rules_messages_total[1m]))", "messages published"),
                    ("sum by (reason) (rate(nexus_rules_inputs_ignored_total[1m]))", "ignored: {{reason}}"),
                    text="`older` is a repetition; `ahead` and `late` say that a clock is wrong",
                ),
                lines(
                    "Rules: waiting, and time of a transaction",
                    "short",
                    ("sum(nexus_rules_waiting_messages)", "messages that wait to be evaluated"),
                    (
                        "1000 * histogram_quantile(0.99, sum by (le) (rate(nexus_rules_commit_seconds_bucket[5m])))",
                        "commit, p99 in ms",
                    ),
                ),
            ],
            "Rejects": [
                rows(
                    "Reasons",
                    "SELECT count(*), max(time) AS last, left(reason, 100) AS reason FROM rejects"
                    " GROUP BY 3 ORDER BY 1 DESC LIMIT 20",
                ),
                rows("Newest", "SELECT time, topic, reason FROM rejects ORDER BY time DESC LIMIT 50"),
            ],
        },
    )


def console() -> models.Dashboard:
    """What people and programs ask, and how fast it is answered."""
    seconds = "nexus_console_request_seconds"
    return board(
        "nexus-console",
        "Nexus: console",
        [],
        {
            "Now": [
                number("Live clients", "sum(nexus_console_sockets)", "short", text="open WebSockets"),
                number("Requests", f"sum(rate({seconds}_count[5m]))", "reqps"),
                number(
                    "Failed requests",
                    f'sum(increase({seconds}_count{{status=~"5.."}}[1h])) or vector(0)',
                    "short",
                    (None, GREEN),
                    (1, YELLOW),
                    text="in the last hour, with a status of 500 or above",
                ),
                number(
                    "Readings missing today",
                    "sum(nexus_gateway_readings_missing_today)",
                    "short",
                    (None, GREEN),
                    (1, YELLOW),
                    text="due and not read, or dropped, since midnight UTC; the page Completeness says why",
                ),
                number("Replicas", 'sum(up{job="console"})', "short", (None, RED), (1, GREEN)),
            ],
            "Requests": [
                lines("Requests by status", "reqps", (f"sum by (status) (rate({seconds}_count[5m]))", "{{status}}")),
                lines("Requests by route", "reqps", (f"sum by (route) (rate({seconds}_count[5m]))", "{{route}}")),
                lines(
                    "Time to answer",
                    "s",
                    (f"histogram_quantile(0.5, sum by (le) (rate({seconds}_bucket[5m])))", "median"),
                    (f"histogram_quantile(0.99, sum by (le) (rate({seconds}_bucket[5m])))", "p99"),
                ),
                lines(
                    "Time to answer, by route (p95)",
                    "s",
                    (f"histogram_quantile(0.95, sum by (le, route) (rate({seconds}_bucket[5m])))", "{{route}}"),
                ),
            ],
            "Live values": [
                lines("Clients", "short", ("sum by (instance) (nexus_console_sockets)", "{{instance}}")),
                lines(
                    "Frames per second",
                    "short",
                    ("sum(rate(nexus_console_frames_total[5m]))", "sent"),
                    ("sum(rate(nexus_console_frames_dropped_total[5m]))", "dropped"),
                    text="a client that reads slowly loses frames, and gets the newest values",
                ),
            ],
            "Database": [
                lines(
                    "Connections",
                    "short",
                    ("sum(nexus_console_database_connections)", "in use"),
                    ("sum(nexus_console_database_waiting)", "requests that wait for one"),
                    text="each replica has NEXUS_CONSOLE_CONNECTIONS at most",
                ),
                lines(
                    "Connected (1: yes)",
                    "short",
                    ("min(nexus_console_database_up)", "database"),
                    ("min(nexus_console_broker_connected)", "broker"),
                ),
            ],
        },
    )


def infrastructure() -> models.Dashboard:
    """Processes, broker, database, disks."""
    jobs = '{job=~"gateway|ingestion|console|database-monitor|emqx"}'
    return board(
        "nexus-infrastructure",
        "Nexus: infrastructure",
        [],
        {
            "Processes": [
                states("Up", f"min by (job) (up{jobs})", "{{job}}", UP, span=12),
                lines(
                    "Connected to the broker (1: yes)",
                    "short",
                    ("min(nexus_gateway_broker_connected)", "gateways"),
                    ("min(nexus_ingestion_broker_connected)", "ingesters"),
                    ("min(nexus_console_broker_connected)", "consoles"),
                ),
                lines("CPU", "percentunit", ("rate(process_cpu_seconds_total[1m])", "{{job}} {{instance}}")),
                lines("Memory", "bytes", ("process_resident_memory_bytes", "{{job}} {{instance}}")),
                lines("Spools", "bytes", ("nexus_gateway_spool_bytes", "{{instance}}")),
                lines("Oldest reading in a spool", "s", ("nexus_gateway_spool_oldest_seconds", "{{instance}}")),
            ],
            "Broker": [
                lines(
                    "Messages per second",
                    "short",
                    ("sum(rate(emqx_messages_received[1m]))", "received"),
                    ("sum(rate(emqx_messages_sent[1m]))", "sent"),
                ),
                lines(
                    "Messages dropped in 5 minutes",
                    "short",
                    ("sum(increase(emqx_delivery_dropped_queue_full[5m]))", "queue full"),
                    ("sum(increase(emqx_messages_dropped_no_subscribers[5m]))", "no subscriber"),
                    text="a full queue means that its consumer has been away for long",
                ),
                lines(
                    "Sessions",
                    "short",
                    ("sum(emqx_sessions_count)", "sessions"),
                    ("sum(emqx_connections_count)", "connections"),
                ),
                lines("Memory", "bytes", ("sum(emqx_vm_used_memory)", "EMQX")),
            ],
            "Database": [
                number("Size", "nexus_database_size_bytes", "bytes"),
                number(
                    "Compression",
                    "sum(nexus_database_compressed_before_bytes)"
                    " / sum(nexus_database_compressed_after_bytes > 0) or vector(1)",
                    "none",
                    text="size before compression, divided by size after",
                ),
                number("Chunks", "nexus_database_chunks or vector(0)", "short"),
                number("Failing jobs", "sum(nexus_database_job_failed) or vector(0)", "short", (None, GREEN), (1, RED)),
                number(
                    "Age of the last backup",
                    "time() - nexus_database_backup_timestamp_seconds",
                    "s",
                    (None, GREEN),
                    (90_000, YELLOW),
                    (129_600, RED),
                ),
                number("Rejects", "nexus_database_rejects", "short", (None, GREEN), (1, YELLOW)),
                lines("Size", "bytes", ("nexus_database_size_bytes", "database")),
                lines(
                    "Connections",
                    "short",
                    ("nexus_database_connections", "open"),
                    ("nexus_database_connections_max", "allowed"),
                ),
            ],
            "Disks": [
                lines(
                    "Free space on volumes",
                    "percentunit",
                    (
                        'kubelet_volume_stats_available_bytes{namespace="nexus"} / kubelet_volume_stats_capacity_bytes',
                        "{{persistentvolumeclaim}}",
                    ),
                    text="Kubernetes only",
                ),
                lines(
                    "Free space on disks",
                    "percentunit",
                    (
                        'node_filesystem_avail_bytes{fstype!~"tmpfs|overlay|squashfs"} / node_filesystem_size_bytes',
                        "{{instance}} {{mountpoint}}",
                    ),
                    text="needs node_exporter",
                ),
            ],
        },
    )
