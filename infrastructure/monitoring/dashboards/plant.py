"""Dashboards for the shift: the whole plant, and one device."""

from grafana_foundation_sdk.builders import dashboard, timeseries
from grafana_foundation_sdk.models import dashboard as models

from infrastructure.monitoring.panels import (
    BREAKER,
    DATABASE,
    GREEN,
    LEGEND,
    METRICS,
    RED,
    YELLOW,
    SqlQuery,
    board,
    lines,
    number,
    rows,
    states,
)


def plant() -> models.Dashboard:
    """For the shift: which devices are online, and whether their readings are stored."""
    state = "max by (device) (nexus_gateway_breaker_state)"
    return board(
        "nexus-plant",
        "Nexus: plant",
        [],
        {
            "Now": [
                number(
                    "Is data being lost?",
                    'count(ALERTS{alertstate="firing",losing="yes"}) or vector(0)',
                    "short",
                    (None, GREEN),
                    (1, RED),
                    text="firing alerts that mean that readings are being lost now; 0 means no",
                ),
                number("Devices online", f"count({state} == 0) or vector(0)", "short"),
                number("Devices offline", f"count({state} > 0) or vector(0)", "short", (None, GREEN), (1, RED)),
                number("Readings per second", "sum(rate(nexus_gateway_readings_total[1m]))", "short"),
                number(
                    "Bad readings",
                    "sum(rate(nexus_gateway_bad_readings_total[5m])) / sum(rate(nexus_gateway_readings_total[5m]))",
                    "percentunit",
                    (None, GREEN),
                    (0.01, YELLOW),
                    (0.1, RED),
                    text="share of readings with bad quality, over 5 minutes",
                ),
                number("Rows stored per second", "sum(rate(nexus_ingestion_rows_total[1m]))", "short"),
                number(
                    "Ingestion lag",
                    "max(nexus_ingestion_lag_seconds)",
                    "s",
                    (None, GREEN),
                    (10, YELLOW),
                    (60, RED),
                    text="age of the newest reading in the last batch, when it was committed",
                ),
            ],
            "Devices": [
                states("Devices", state, "{{device}}", BREAKER),
                lines(
                    "Readings per second by device",
                    "short",
                    ("sum by (device) (rate(nexus_gateway_readings_total[1m]))", "{{device}}"),
                ),
                lines(
                    "Failed scans and connects in 5 minutes, by device",
                    "short",
                    (
                        "sum by (device) (increase(nexus_gateway_device_failures_total[5m])) > 0 or vector(0)",
                        "{{device}}",
                    ),
                ),
            ],
            "Values": [
                rows(
                    "Silent topics: no value for 10 minutes",
                    "SELECT topic, time, now() - time AS silent, value, value_str, unit FROM metrics_latest"
                    " WHERE time < now() - interval '10 minutes' ORDER BY time LIMIT 50",
                ),
                rows(
                    "Last values",
                    "SELECT topic, coalesce(value::text, value_str) AS value, unit, quality, time"
                    " FROM metrics_latest ORDER BY topic LIMIT 200",
                ),
            ],
        },
    )


def device() -> models.Dashboard:
    """One device: its connection from the metrics, its values from the database."""
    name = (
        dashboard.QueryVariable("device")
        .label("Device")
        .datasource(METRICS)
        .query("label_values(nexus_gateway_breaker_state, device)")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    )
    path = (
        dashboard.QueryVariable("path")
        .label("Path")
        .datasource(DATABASE)
        .query("SELECT DISTINCT regexp_replace(topic, '/[^/]+$', '') FROM topics ORDER BY 1")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    )
    topic = (
        dashboard.QueryVariable("topic")
        .label("Topics")
        .datasource(DATABASE)
        .query("SELECT topic FROM topics WHERE topic LIKE '${path}/%' ORDER BY 1")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
    )
    of = '{device="$device"}'
    values = timeseries.Panel().title("Values").datasource(DATABASE).height(12).span(24).legend(LEGEND)
    values.with_target(
        SqlQuery(
            "SELECT time, topic AS metric, value FROM metrics"
            " WHERE $__timeFilter(time) AND topic IN ($topic) AND value IS NOT NULL AND quality >= 64"
            " ORDER BY time LIMIT 50000",
            "time_series",
        )
    )
    minutes = timeseries.Panel().title("1-minute averages").datasource(DATABASE).height(10).span(24).legend(LEGEND)
    minutes.with_target(
        SqlQuery(
            "SELECT bucket AS time, topic AS metric, avg FROM metrics_1min"
            " WHERE $__timeFilter(bucket) AND topic IN ($topic) AND avg IS NOT NULL ORDER BY bucket",
            "time_series",
        )
    )
    return board(
        "nexus-device",
        "Nexus: device",
        [name, path, topic],
        {
            "Connection": [
                states("State", f"max(nexus_gateway_breaker_state{of})", "state", BREAKER, span=12),
                lines(
                    "Readings per second",
                    "short",
                    (f"sum(rate(nexus_gateway_readings_total{of}[1m]))", "readings"),
                    (f"sum(rate(nexus_gateway_bad_readings_total{of}[1m]))", "bad"),
                ),
                lines(
                    "Scan time",
                    "s",
                    (f"max(nexus_gateway_scan_seconds{of})", "last scan"),
                    text="scans that take longer than the interval miss ticks",
                ),
                lines(
                    "Problems in 5 minutes",
                    "short",
                    (f"sum(increase(nexus_gateway_device_failures_total{of}[5m]))", "failed scans and connects"),
                    (f"sum(increase(nexus_gateway_ticks_missed_total{of}[5m]))", "missed ticks"),
                    (f"sum(increase(nexus_gateway_breaker_openings_total{of}[5m]))", "breaker openings"),
                ),
            ],
            "Values": [values, minutes],
        },
    )
