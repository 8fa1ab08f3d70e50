"""This project's kinds of panels and dashboards, on Grafana's SDK."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders.common import VizLegendOptions
from grafana_foundation_sdk.cog.builder import Builder
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
    """A PostgreSQL query; the SDK has no type for it."""

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


class SqlQuery(Builder[Dataquery]):
    def __init__(self, text: str, form: str) -> None:
        self._query = _Sql(text, form)

    def build(self) -> Dataquery:
        return self._query


def metric(expression: str, legend: str = "__auto") -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(expression).legend_format(legend).datasource(METRICS).ref_id("A")


def colours(*steps: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    found = [models.Threshold(value=value, color=colour) for value, colour in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(found)


def words(mapping: dict[str, tuple[str, str]]) -> list[models.ValueMapping]:
    options = {value: models.ValueMappingResult(text=text, color=colour) for value, (text, colour) in mapping.items()}
    return [models.ValueMap(options=options)]


def number(title: str, expression: str, unit: str, *steps: tuple[float | None, str], text: str = "") -> stat.Panel:
    """One number, coloured by steps."""
    panel = stat.Panel().title(title).description(text).datasource(METRICS).unit(unit).height(4).span(4)
    panel.thresholds(colours(*(steps or ((None, GREEN),))))
    return panel.with_target(metric(expression).instant()).no_value("–").graph_mode(BigValueGraphMode.NONE)


def lines(title: str, unit: str, *queries: tuple[str, str], span: int = 12, text: str = "") -> timeseries.Panel:
    """Lines over time, from metrics."""
    panel = timeseries.Panel().title(title).description(text).datasource(METRICS).unit(unit).height(8).span(span)
    for number, (expression, legend) in enumerate(queries):
        panel.with_target(metric(expression, legend).range().ref_id(chr(ord("A") + number)))
    return panel.fill_opacity(8).line_width(1).legend(LEGEND)


def states(
    title: str, expression: str, legend: str, mapping: dict[str, tuple[str, str]], span: int = 24
) -> Builder[models.Panel]:
    """States over time."""
    panel = statetimeline.Panel().title(title).datasource(METRICS).height(8).span(span).mappings(words(mapping))
    return panel.with_target(metric(expression, legend).range()).row_height(0.9).legend(LEGEND)


def rows(title: str, query: str, span: int = 12) -> table.Panel:
    """A table from the database."""
    panel = table.Panel().title(title).datasource(DATABASE).height(8).span(span)
    return panel.with_target(SqlQuery(query, "table")).show_header(True)


def board(
    uid: str,
    title: str,
    variables: Sequence[Builder[models.VariableModel]],
    rows: dict[str, list[Builder[models.Panel]]],
) -> models.Dashboard:
    made = dashboard.Dashboard(title).uid(uid).tags(["nexus"]).refresh("30s").time("now-1h", "now").timezone("browser")
    links = dashboard.DashboardLink("Nexus Edge").type(models.DashboardLinkType.DASHBOARDS).tags(["nexus"])
    made.link(links.as_dropdown(True).keep_time(True))
    for variable in variables:
        made.with_variable(variable)
    for name, panels in rows.items():
        made.with_row(dashboard.Row(name))
        for panel in panels:
            made.with_panel(panel)
    return made.build()
