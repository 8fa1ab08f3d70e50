"""The Grafana dashboards, as code: `make monitoring` writes them to grafana/dashboards, which Grafana provisions."""

import json
from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders.common import VizLegendOptions
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import BigValueGraphMode, LegendDisplayMode, LegendPlacement

METRICS = models.DataSourceRef(type_val="prometheus", uid="nexus-prometheus")
DATABASE = models.DataSourceRef(type_val="grafana-postgresql-datasource", uid="nexus-timescaledb")

LEGEND = VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).show_legend(True)
GREEN, YELLOW, RED = "green", "yellow", "red"
BREAKER = {"0": ("online", GREEN), "1": ("trying", YELLOW), "2": ("offline", RED)}
UP = {"1": ("up", GREEN), "0": ("DOWN", RED)}


class _Sql(Dataquery):
    """A query of PostgreSQL, for which the SDK has no type."""

    def __init__(self, text: str, form: str) -> None:
        self._text = text
        self._form = form

    def to_json(self) -> dict[str, object]:
        return {
            "refId": "A",
            "datasource": DATABASE.to_json(),
            "rawQuery": True,
            "rawSql": self._text,
            "format": self._form,
            "editorMode": "code",
        }


class _SqlQuery(Builder[Dataquery]):
    def __init__(self, text: str, form: str) -> None:
        self._query = _Sql(text, form)

    def build(self) -> Dataquery:
        return self._query


def _metric(expression: str, legend: str = "__auto") -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(expression).legend_format(legend).datasource(METRICS).ref_id("A")


def _colours(*steps: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    found = [models.Threshold(value=value, color=colour) for value, colour in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(found)


def _words(mapping: dict[str, tuple[str, str]]) -> list[models.ValueMapping]:
    options = {value: models.ValueMappingResult(text=text, color=colour) for value, (text, colour) in mapping.items()}
    return [models.ValueMap(options=options)]


def _number(title: str, expression: str, unit: str, *steps: tuple[float | None, str], text: str = "") -> stat.Panel:
    """One number, coloured by steps."""
    panel = stat.Panel().title(title).description(text).datasource(METRICS).unit(unit).height(4).span(4)
    panel.thresholds(_colours(*(steps or ((None, GREEN),))))
    return panel.with_target(_metric(expression).instant()).no_value("–").graph_mode(BigValueGraphMode.NONE)


def _lines(title: str, unit: str, *queries: tuple[str, str], span: int = 12, text: str = "") -> timeseries.Panel:
    """Lines over time, from metrics."""
    panel = timeseries.Panel().title(title).description(text).datasource(METRICS).unit(unit).height(8).span(span)
    for number, (expression, legend) in enumerate(queries):
        panel.with_target(_metric(expression, legend).range().ref_id(chr(ord("A") + number)))
    return panel.fill_opacity(8).line_width(1).legend(LEGEND)


def _states(title: str, expression: str, legend: str, mapping: dict[str, tuple[str, str]], span: int = 24) -> Builder:
    """What was in which state, over time."""
    panel = statetimeline.Panel().title(title).datasource(METRICS).height(8).span(span).mappings(_words(mapping))
    return panel.with_target(_metric(expression, legend).range()).row_height(0.9).legend(LEGEND)


def _rows(title: str, query: str, span: int = 12) -> table.Panel:
    """A table out of the database."""
    panel = table.Panel().title(title).datasource(DATABASE).height(8).span(span)
    return panel.with_target(_SqlQuery(query, "table")).show_header(True)


def _dashboard(uid: str, title: str, variables: Sequence[Builder], rows: dict[str, list[Builder]]) -> models.Dashboard:
    board = dashboard.Dashboard(title).uid(uid).tags(["nexus"]).refresh("30s").time("now-1h", "now").timezone("browser")
    links = dashboard.DashboardLink("Nexus Edge").type(models.DashboardLinkType.DASHBOARDS).tags(["nexus"])
    board.link(links.as_dropdown(True).keep_time(True))
    for variable in variables:
        board.with_variable(variable)
    for name, panels in rows.items():
        board.with_row(dashboard.Row(name))
        for panel in panels:
            board.with_panel(panel)
    return board.build()


def plant() -> models.Dashboard:
    """What a shift looks at: which devices are there, and whether their readings are stored."""
    state = "max by (device) (nexus_gateway_breaker_state)"
    return _dashboard(
        "nexus-plant",
        "Nexus: plant",
        [],
        {
            "Now": [
                _number("Devices online", f"count({state} == 0) or vector(0)", "short"),
                _number("Devices offline", f"count({state} > 0) or vector(0)", "short", (None, GREEN), (1, RED)),
                _number("Readings a second", "sum(rate(nexus_gateway_readings_total[1m]))", "short"),
                _number(
                    "Bad readings",
                    "sum(rate(nexus_gateway_bad_readings_total[5m])) / sum(rate(nexus_gateway_readings_total[5m]))",
                    "percentunit",
                    (None, GREEN),
                    (0.01, YELLOW),
                    (0.1, RED),
                ),
                _number("Rows stored a second", "sum(rate(nexus_ingestion_rows_total[1m]))", "short"),
                _number(
                    "Behind",
                    "max(nexus_ingestion_lag_seconds)",
                    "s",
                    (None, GREEN),
                    (10, YELLOW),
                    (60, RED),
                    text="age of the newest reading that was stored last",
                ),
            ],
            "Devices": [
                _states("Devices", state, "{{device}}", BREAKER),
                _lines(
                    "Readings by device",
                    "short",
                    ("sum by (device) (rate(nexus_gateway_readings_total[1m]))", "{{device}}"),
                ),
                _lines(
                    "Failures by device",
                    "short",
                    (
                        "sum by (device) (increase(nexus_gateway_device_failures_total[5m])) > 0 or vector(0)",
                        "{{device}}",
                    ),
                ),
            ],
            "Values": [
                _rows(
                    "Topics that have gone silent",
                    "SELECT topic, time, now() - time AS silent, value, value_str, unit FROM metrics_latest"
                    " WHERE time < now() - interval '10 minutes' ORDER BY time LIMIT 50",
                ),
                _rows(
                    "Last values",
                    "SELECT topic, coalesce(value::text, value_str) AS value, unit, quality, time"
                    " FROM metrics_latest ORDER BY topic LIMIT 200",
                ),
            ],
        },
    )


def device() -> models.Dashboard:
    """All of one device: its connection from the metrics, its values from the database."""
    name = (
        dashboard.QueryVariable("device")
        .label("Device")
        .datasource(METRICS)
        .query("label_values(nexus_gateway_breaker_state, device)")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    )
    path = (
        dashboard.QueryVariable("path")
        .label("Topics beneath")
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
        _SqlQuery(
            "SELECT time, topic AS metric, value FROM metrics"
            " WHERE $__timeFilter(time) AND topic IN ($topic) AND value IS NOT NULL AND quality >= 64"
            " ORDER BY time LIMIT 50000",
            "time_series",
        )
    )
    minutes = timeseries.Panel().title("Averages of minutes").datasource(DATABASE).height(10).span(24).legend(LEGEND)
    minutes.with_target(
        _SqlQuery(
            "SELECT bucket AS time, topic AS metric, avg FROM metrics_1min"
            " WHERE $__timeFilter(bucket) AND topic IN ($topic) AND avg IS NOT NULL ORDER BY bucket",
            "time_series",
        )
    )
    return _dashboard(
        "nexus-device",
        "Nexus: device",
        [name, path, topic],
        {
            "Connection": [
                _states("State", f"max(nexus_gateway_breaker_state{of})", "state", BREAKER, span=12),
                _lines(
                    "Readings a second",
                    "short",
                    (f"sum(rate(nexus_gateway_readings_total{of}[1m]))", "readings"),
                    (f"sum(rate(nexus_gateway_bad_readings_total{of}[1m]))", "bad"),
                ),
                _lines("Scan", "s", (f"max(nexus_gateway_scan_seconds{of})", "time that a scan takes")),
                _lines(
                    "Trouble in 5 minutes",
                    "short",
                    (f"sum(increase(nexus_gateway_device_failures_total{of}[5m]))", "scans and connects that failed"),
                    (f"sum(increase(nexus_gateway_ticks_missed_total{of}[5m]))", "ticks that a scan overran"),
                    (f"sum(increase(nexus_gateway_breaker_openings_total{of}[5m]))", "openings of the breaker"),
                ),
            ],
            "Values": [values, minutes],
        },
    )


def ingestion() -> models.Dashboard:
    """The way from the broker into the table."""
    return _dashboard(
        "nexus-ingestion",
        "Nexus: ingestion",
        [],
        {
            "Flow": [
                _lines(
                    "A second",
                    "short",
                    ("sum(rate(nexus_ingestion_messages_total[1m]))", "messages taken"),
                    ("sum(rate(nexus_ingestion_rows_total[1m]))", "rows written"),
                    ("sum(rate(nexus_ingestion_late_rows_total[1m]))", "of these late"),
                    ("sum(rate(nexus_ingestion_duplicates_total[1m]))", "were there already"),
                    ("sum(rate(nexus_ingestion_rejects_total[1m]))", "set aside"),
                ),
                _lines(
                    "Behind",
                    "s",
                    ("max(nexus_ingestion_lag_seconds)", "age of the newest reading at its commit"),
                    ("max(nexus_ingestion_oldest_seconds)", "wait of the oldest message"),
                ),
                _lines(
                    "Time to write a batch",
                    "s",
                    ("histogram_quantile(0.5, sum by (le) (rate(nexus_ingestion_write_seconds_bucket[5m])))", "half"),
                    ("histogram_quantile(0.99, sum by (le) (rate(nexus_ingestion_write_seconds_bucket[5m])))", "99 %"),
                ),
                _lines(
                    "Rows a batch",
                    "short",
                    (
                        "sum(rate(nexus_ingestion_batch_points_sum[5m]))"
                        " / sum(rate(nexus_ingestion_batch_points_count[5m]))",
                        "rows",
                    ),
                ),
                _lines(
                    "Waiting",
                    "short",
                    ("sum(nexus_ingestion_buffered_points)", "points decoded"),
                    ("sum(nexus_ingestion_held_messages)", "messages not decoded"),
                ),
                _lines(
                    "Gateways' spools",
                    "short",
                    ("sum(nexus_gateway_spool_readings)", "readings not known to be stored"),
                    ("sum(rate(nexus_gateway_readings_sent_again_total[5m]))", "sent again a second"),
                ),
            ],
            "Set aside": [
                _rows(
                    "Reasons",
                    "SELECT count(*), max(time) AS last, left(reason, 100) AS reason FROM rejects"
                    " GROUP BY 3 ORDER BY 1 DESC LIMIT 20",
                ),
                _rows("Newest", "SELECT time, topic, reason FROM rejects ORDER BY time DESC LIMIT 50"),
            ],
        },
    )


def infrastructure() -> models.Dashboard:
    """Processes, broker, database, disks."""
    jobs = '{job=~"gateway|ingestion|database-monitor|emqx"}'
    return _dashboard(
        "nexus-infrastructure",
        "Nexus: infrastructure",
        [],
        {
            "Processes": [
                _states("Up", f"min by (job) (up{jobs})", "{{job}}", UP, span=12),
                _lines(
                    "Connected to the broker",
                    "short",
                    ("min(nexus_gateway_broker_connected)", "gateways"),
                    ("min(nexus_ingestion_broker_connected)", "ingesters"),
                ),
                _lines("CPU", "percentunit", ("rate(process_cpu_seconds_total[1m])", "{{job}} {{instance}}")),
                _lines("Memory", "bytes", ("process_resident_memory_bytes", "{{job}} {{instance}}")),
                _lines("Spools", "bytes", ("nexus_gateway_spool_bytes", "{{instance}}")),
                _lines(
                    "Age of the oldest reading in a spool", "s", ("nexus_gateway_spool_oldest_seconds", "{{instance}}")
                ),
            ],
            "Broker": [
                _lines(
                    "Messages a second",
                    "short",
                    ("sum(rate(emqx_messages_received[1m]))", "received"),
                    ("sum(rate(emqx_messages_sent[1m]))", "sent"),
                ),
                _lines(
                    "Dropped in 5 minutes",
                    "short",
                    ("sum(increase(emqx_delivery_dropped_queue_full[5m]))", "queue full"),
                    ("sum(increase(emqx_messages_dropped_no_subscribers[5m]))", "no subscriber"),
                ),
                _lines(
                    "Sessions",
                    "short",
                    ("sum(emqx_sessions_count)", "sessions"),
                    ("sum(emqx_connections_count)", "connections"),
                ),
                _lines("Memory", "bytes", ("sum(emqx_vm_used_memory)", "EMQX")),
            ],
            "Database": [
                _number("Size", "nexus_database_size_bytes", "bytes"),
                _number(
                    "Compression",
                    "sum(nexus_database_compressed_before_bytes)"
                    " / sum(nexus_database_compressed_after_bytes > 0) or vector(1)",
                    "none",
                    text="size before to size after",
                ),
                _number("Chunks", "nexus_database_chunks or vector(0)", "short"),
                _number(
                    "Jobs that fail", "sum(nexus_database_job_failed) or vector(0)", "short", (None, GREEN), (1, RED)
                ),
                _number(
                    "Last backup",
                    "time() - nexus_database_backup_timestamp_seconds",
                    "s",
                    (None, GREEN),
                    (90_000, YELLOW),
                    (129_600, RED),
                    text="its age",
                ),
                _number("Rejects", "nexus_database_rejects", "short", (None, GREEN), (1, YELLOW)),
                _lines("Size", "bytes", ("nexus_database_size_bytes", "database")),
                _lines(
                    "Connections",
                    "short",
                    ("nexus_database_connections", "open"),
                    ("nexus_database_connections_max", "allowed"),
                ),
            ],
            "Disks": [
                _lines(
                    "Volumes: free",
                    "percentunit",
                    (
                        'kubelet_volume_stats_available_bytes{namespace="nexus"} / kubelet_volume_stats_capacity_bytes',
                        "{{persistentvolumeclaim}}",
                    ),
                    text="on Kubernetes",
                ),
                _lines(
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


def written() -> dict[str, str]:
    """The files' names and contents."""
    boards = {"plant": plant(), "device": device(), "ingestion": ingestion(), "infrastructure": infrastructure()}
    return {
        f"{name}.json": json.dumps(board, cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        for name, board in boards.items()
    }
