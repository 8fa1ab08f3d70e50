"""The dashboard of the alarm system itself, by EEMUA 191: does it help its operators, or drown them?"""

from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import GraphDrawStyle

from infrastructure.monitoring.panels import (
    DATABASE,
    GREEN,
    LEGEND,
    RED,
    YELLOW,
    SqlQuery,
    board,
    number,
    rows,
)

_RANGE = "$__timeFrom(), $__timeTo()"


def alarms() -> models.Dashboard:
    """For whoever looks after the alarms: load, standing and chattering ones, and the time until a person answers."""
    raised = timeseries.Panel().title("Raised in 10 minutes").datasource(DATABASE).height(8).span(24).legend(LEGEND)
    raised.description("1 is what an operator can deal with in the long run; more than 10 is a flood")
    raised.with_target(
        SqlQuery(f"SELECT bucket AS time, raised FROM alarm_rate({_RANGE}) ORDER BY bucket", "time_series")  # noqa: S608
    )
    return board(
        "nexus-alarms",
        "Nexus: alarms",
        [],
        {
            "Now": [
                number(
                    "Unacknowledged",
                    'sum(nexus_gateway_alarms{state=~"unacknowledged|returned"}) or vector(0)',
                    "short",
                    (None, GREEN),
                    (1, RED),
                ),
                number(
                    "Standing",
                    'sum(nexus_gateway_alarms{state=~"unacknowledged|acknowledged"}) or vector(0)',
                    "short",
                    (None, GREEN),
                    (10, YELLOW),
                    text="the condition holds, and nothing hides the alarm; fewer than 10 is the goal",
                ),
                number(
                    "Stale",
                    "max(nexus_database_alarms_stale)",
                    "short",
                    (None, GREEN),
                    (1, YELLOW),
                    text="standing for more than 24 hours; none is the goal",
                ),
                number(
                    "Raised in 10 minutes",
                    "sum(increase(nexus_gateway_alarms_raised_total[10m])) or vector(0)",
                    "short",
                    (None, GREEN),
                    (2, YELLOW),
                    (10, RED),
                ),
                number(
                    "Hidden",
                    'sum(nexus_gateway_alarms{state=~"shelved|suppressed|out-of-service"}) or vector(0)',
                    "short",
                    (None, GREEN),
                    text="shelved, suppressed or out of service",
                ),
                number(
                    "Began to chatter in an hour",
                    "sum(increase(nexus_gateway_alarms_chattered_total[1h])) or vector(0)",
                    "short",
                    (None, GREEN),
                    (1, YELLOW),
                ),
            ],
            "Load": [raised.draw_style(GraphDrawStyle.BARS).fill_opacity(60)],
            "Worst alarms": [
                rows("Raised most often", f"SELECT * FROM alarm_top({_RANGE})"),  # noqa: S608
                rows("Chattering: three times within a minute", f"SELECT * FROM alarm_chattering({_RANGE}) LIMIT 50"),  # noqa: S608
                rows("Standing, oldest first", "SELECT * FROM alarms_standing ORDER BY occurrence LIMIT 100"),
                rows("Time until somebody acknowledged", f"SELECT * FROM alarm_response({_RANGE})"),  # noqa: S608
            ],
            "Figures of EEMUA 191": [rows("In all", f"SELECT * FROM alarm_statistics({_RANGE})").span(24)],  # noqa: S608
        },
    )
