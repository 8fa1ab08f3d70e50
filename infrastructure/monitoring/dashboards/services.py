"""Dashboards for operators: ingestion, and the systems that it runs on."""

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
                    "A second",
                    "short",
                    ("sum(rate(nexus_ingestion_messages_total[1m]))", "messages taken"),
                    ("sum(rate(nexus_ingestion_rows_total[1m]))", "rows written"),
                    ("sum(rate(nexus_ingestion_late_rows_total[1m]))", "of these late"),
                    ("sum(rate(nexus_ingestion_duplicates_total[1m]))", "were there already"),
                    ("sum(rate(nexus_ingestion_rejects_total[1m]))", "set aside"),
                ),
                lines(
                    "Behind",
                    "s",
                    ("max(nexus_ingestion_lag_seconds)", "age of the newest reading at its commit"),
                    ("max(nexus_ingestion_oldest_seconds)", "wait of the oldest message"),
                ),
                lines(
                    "Time to write a batch",
                    "s",
                    ("histogram_quantile(0.5, sum by (le) (rate(nexus_ingestion_write_seconds_bucket[5m])))", "half"),
                    ("histogram_quantile(0.99, sum by (le) (rate(nexus_ingestion_write_seconds_bucket[5m])))", "99 %"),
                ),
                lines(
                    "Rows a batch",
                    "short",
                    (
                        "sum(rate(nexus_ingestion_batch_points_sum[5m]))"
                        " / sum(rate(nexus_ingestion_batch_points_count[5m]))",
                        "rows",
                    ),
                ),
                lines(
                    "Waiting",
                    "short",
                    ("sum(nexus_ingestion_buffered_points)", "points decoded"),
                    ("sum(nexus_ingestion_undecoded_messages)", "messages not decoded"),
                ),
                lines(
                    "Gateways' spools",
                    "short",
                    ("sum(nexus_gateway_spool_readings)", "readings not known to be stored"),
                    ("sum(rate(nexus_gateway_readings_sent_again_total[5m]))", "sent again a second"),
                ),
            ],
            "Set aside": [
                rows(
                    "Reasons",
                    "SELECT count(*), max(time) AS last, left(reason, 100) AS reason FROM rejects"
                    " GROUP BY 3 ORDER BY 1 DESC LIMIT 20",
                ),
                rows("Newest", "SELECT time, topic, reason FROM rejects ORDER BY time DESC LIMIT 50"),
            ],
        },
    )


def infrastructure() -> models.Dashboard:
    """Processes, broker, database, disks."""
    jobs = '{job=~"gateway|ingestion|database-monitor|emqx"}'
    return board(
        "nexus-infrastructure",
        "Nexus: infrastructure",
        [],
        {
            "Processes": [
                states("Up", f"min by (job) (up{jobs})", "{{job}}", UP, span=12),
                lines(
                    "Connected to the broker",
                    "short",
                    ("min(nexus_gateway_broker_connected)", "gateways"),
                    ("min(nexus_ingestion_broker_connected)", "ingesters"),
                ),
                lines("CPU", "percentunit", ("rate(process_cpu_seconds_total[1m])", "{{job}} {{instance}}")),
                lines("Memory", "bytes", ("process_resident_memory_bytes", "{{job}} {{instance}}")),
                lines("Spools", "bytes", ("nexus_gateway_spool_bytes", "{{instance}}")),
                lines(
                    "Age of the oldest reading in a spool", "s", ("nexus_gateway_spool_oldest_seconds", "{{instance}}")
                ),
            ],
            "Broker": [
                lines(
                    "Messages a second",
                    "short",
                    ("sum(rate(emqx_messages_received[1m]))", "received"),
                    ("sum(rate(emqx_messages_sent[1m]))", "sent"),
                ),
                lines(
                    "Dropped in 5 minutes",
                    "short",
                    ("sum(increase(emqx_delivery_dropped_queue_full[5m]))", "queue full"),
                    ("sum(increase(emqx_messages_dropped_no_subscribers[5m]))", "no subscriber"),
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
                    text="size before to size after",
                ),
                number("Chunks", "nexus_database_chunks or vector(0)", "short"),
                number(
                    "Jobs that fail", "sum(nexus_database_job_failed) or vector(0)", "short", (None, GREEN), (1, RED)
                ),
                number(
                    "Last backup",
                    "time() - nexus_database_backup_timestamp_seconds",
                    "s",
                    (None, GREEN),
                    (90_000, YELLOW),
                    (129_600, RED),
                    text="its age",
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
                    "Volumes: free",
                    "percentunit",
                    (
                        'kubelet_volume_stats_available_bytes{namespace="nexus"} / kubelet_volume_stats_capacity_bytes',
                        "{{persistentvolumeclaim}}",
                    ),
                    text="on Kubernetes",
                ),
                lines(
                    "Disks: free",
                    "percentunit",
                    (
                        'node_filesystem_avail_bytes{fstype!~"tmpfs|overlay|squashfs"} / node_filesystem_size_bytes',
                        "{{instance}} {{mountpoint}}",
                    ),
                    text="with node_exporter",
                ),
            ],
        },
    )
