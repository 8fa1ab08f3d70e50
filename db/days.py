"""The plant's days: `metrics_1day` is rebuilt when NEXUS_TIME_ZONE has changed."""

from difflib import get_close_matches
from importlib.resources import files

import psycopg
from psycopg import sql

from db.exclusive import Connection, refresh
from nexus.process import log
from nexus.process.errors import ConfigError

_SET = "CREATE OR REPLACE FUNCTION plant_time_zone() RETURNS text LANGUAGE sql IMMUTABLE AS {}"
# Built from hours, unless the plant's hours do not always begin with those of UTC.
_FINER = """
SELECT CASE WHEN bool_and(extract(minute FROM (at AT TIME ZONE %s) - (at AT TIME ZONE 'UTC')) = 0)
            THEN 'metrics_1hour' ELSE 'metrics_1min' END
FROM generate_series(timestamptz '1990-01-01 00:00+00', '2050-01-01 00:00+00', INTERVAL '7 days') AS at
"""
# The table behind the view, which shows only what TimescaleDB has computed without a gap.
_COMPUTED = """
SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)
FROM timescaledb_information.continuous_aggregates WHERE view_name = 'metrics_1day'
"""
# A day's values of one topic.
_DAY = """
time_bucket('1 day', bucket, {zone}) AS bucket,
topic,
sum(sum) / nullif(sum(numbers), 0)::float8 AS avg,
min(min) AS min,
max(max) AS max,
first(first, bucket) FILTER (WHERE first IS NOT NULL) AS first,
last(last, bucket) FILTER (WHERE last IS NOT NULL) AS last,
sum(count)::bigint AS count,
sum(good)::bigint AS good,
sum(sum) AS sum,
sum(numbers)::bigint AS numbers
"""
# The refresh policy is added last: while it is missing, not all days are computed.
IS_UNFINISHED = """
SELECT NOT EXISTS (
    SELECT FROM timescaledb_information.jobs AS j JOIN timescaledb_information.continuous_aggregates AS c
      ON j.hypertable_name IN (c.view_name, c.materialization_hypertable_name)
    WHERE j.proc_name = 'policy_refresh_continuous_aggregate' AND c.view_name = 'metrics_1day')
"""
# What one call refreshes; an interrupted one is repeated.
_MONTHS = """
SELECT min(first), max(after) FROM (
    SELECT first, after, row_number() OVER (ORDER BY first) AS number
    FROM plant_days((SELECT greatest(min(bucket), days_computed_from()) FROM {} HAVING min(bucket) IS NOT NULL),
                    now() - INTERVAL '1 day')
) AS days
GROUP BY number / 30 ORDER BY 1
"""


def set_zone(connection: Connection, zone: str, *, has_aggregates: bool) -> None:
    """Rebuilds the daily values for a time zone. Raises ConfigError for one that the server does not know."""
    if connection.execute("SELECT plant_time_zone()").fetchone() == (zone,):
        return
    _check(connection, zone)
    if has_aggregates:
        finer = str((connection.execute(_FINER, (zone,)).fetchone() or ("",))[0])
        text = (files("db") / "days.sql").read_text(encoding="utf-8")
        computed = str((connection.execute(_COMPUTED).fetchone() or ("",))[0])
        text = text.replace("{day}", _DAY.strip()).replace("{finer}", finer).replace("{computed}", computed)
        query = text.replace("{zone}", sql.Literal(zone).as_string(connection))
        try:
            connection.execute(query.encode())
        except psycopg.errors.DependentObjectsStillExist as error:
            raise ConfigError(
                f"NEXUS_TIME_ZONE: metrics_1day cannot be made anew: {error.diag.message_detail}. Drop that, run this"
                " again, and then create it anew"
            ) from None
    connection.execute(sql.SQL(_SET).format(sql.Literal(f"SELECT {sql.Literal(zone).as_string(connection)}")))


def compute(connection: Connection) -> None:
    """Computes the rebuilt days, from the oldest on; continues if that was interrupted."""
    if connection.execute(IS_UNFINISHED).fetchone() != (True,):
        return
    [(finer,)] = connection.execute("SELECT days_made_from()").fetchall()
    months = connection.execute(sql.SQL(_MONTHS).format(sql.Identifier(str(finer)))).fetchall()
    for first, after in months:
        log.get("migrate").info("computing the daily values again", since=f"{first:%Y-%m-%d}")
        refresh(connection, "CALL refresh_range('metrics_1day', %s, %s, 30)", (first, after))


def describe(connection: Connection, *, has_aggregates: bool) -> str:
    """The time zone of the days, for `nexus db status`."""
    [(zone,)] = connection.execute("SELECT plant_time_zone()").fetchall()
    is_unfinished = has_aggregates and connection.execute(IS_UNFINISHED).fetchone() == (True,)
    return f"{zone}; still to be computed: run `nexus db migrate`" if is_unfinished else str(zone)


def _check(connection: Connection, zone: str) -> None:
    known = [str(name) for (name,) in connection.execute("SELECT name FROM pg_timezone_names")]
    if zone not in known:
        near = get_close_matches(zone, known, 1)
        raise ConfigError(
            f"NEXUS_TIME_ZONE: this server knows no time zone {zone!r}"
            + (f": did you mean {near[0]}?" if near else ": write one like Europe/Berlin.")
            + " The view pg_timezone_names lists them"
        )
