"""`nexus db status`: the tier and what it lacks, migrations, sizes, and the health of the jobs.

Any role may ask; what it may not see is shown as hidden.
"""

import psycopg

from db import days, rights
from db.migrate import Connection, Tier, applied, names, tier

Lines = list[tuple[str, str]]

_HIDDEN = "this role may not see it"
_LACKS_APACHE = ["continuous aggregates (views instead)", "columnstore", "retention and refresh policies"]
_LACKS = {
    Tier.COMMUNITY: [],
    Tier.APACHE: _LACKS_APACHE,
    Tier.PLAIN: ["hypertables", *_LACKS_APACHE],
}
_CHUNKS = """
SELECT count(*), count(*) FILTER (WHERE is_compressed), coalesce(min(range_start)::date::text, '-')
FROM timescaledb_information.chunks WHERE hypertable_name = 'metrics'
"""
_LOCKS = """
SELECT (SELECT coalesce(sum(CASE WHEN is_compressed THEN 4 ELSE 2 END), 0)
        FROM timescaledb_information.chunks WHERE hypertable_name = 'metrics')::int,
       current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int,
       current_setting('max_locks_per_transaction')::int
"""
_COMPRESSION = """
SELECT pg_size_pretty(sum(before_compression_total_bytes)), pg_size_pretty(sum(after_compression_total_bytes)),
       round(sum(before_compression_total_bytes) / nullif(sum(after_compression_total_bytes), 0), 1)
FROM hypertable_compression_stats('metrics')
"""
_AGGREGATES = """
SELECT view_name, pg_size_pretty(hypertable_size(format('%I.%I', materialization_hypertable_schema,
                                                        materialization_hypertable_name)::regclass))
FROM timescaledb_information.continuous_aggregates ORDER BY view_name
"""
_ALARMS = "SELECT count(*) FILTER (WHERE state <> 'normal') || ' of ' || count(*) FROM alarm_states"
_ALARM_EVENTS = "SELECT pg_size_pretty(pg_total_relation_size('alarm_events'))"
_JOBS = "SELECT task, schedule::text, failed, finished::text, failures, error FROM job_states()"


def status(connection: Connection) -> tuple[Lines, bool]:
    """Rows of (item, state), and whether the schema is up to date."""
    found = tier(connection)
    rows = [
        ("server", _text(connection, "SHOW server_version")),
        ("role", _text(connection, "SELECT current_user")),
        ("tier", str(found)),
        ("missing in this tier", ", ".join(_LACKS[found]) or "nothing"),
    ]
    try:
        done = applied(connection)
    except psycopg.errors.InsufficientPrivilege:
        return [*rows, ("migrations", f"{_HIDDEN}, or `nexus db migrate` has to be run")], False
    missing = [name for name in names() if name not in done]
    rows += [("migrations applied", str(len(done))), ("migrations missing", ", ".join(missing) or "none")]
    if not missing:
        rows.append(("public rights", rights.describe(connection)))
        zone = days.describe(connection, has_aggregates=found is Tier.COMMUNITY)
        rows.append(("time zone of the daily values", zone))
        rows.append(("topics", _text(connection, "SELECT count(*) FROM topics")))
        rows.append(("rejects", _text(connection, "SELECT count(*) FROM rejects")))
        rows.append(("alarms that are not normal", _text(connection, _ALARMS)))
        rows.append(("size of alarm_events", _text(connection, _ALARM_EVENTS)))
        rows += _plain(connection) if found is Tier.PLAIN else _hypertable(connection)
        if found is Tier.COMMUNITY:
            rows += _community(connection)
    return rows, not missing


def _ask(connection: Connection, query: str) -> list[tuple[object, ...]] | None:
    """The database's answer; None if this role may not see it."""
    try:
        return connection.execute(query.encode()).fetchall()
    except psycopg.errors.InsufficientPrivilege:
        return None


def _text(connection: Connection, query: str) -> str:
    rows = _ask(connection, query)
    return _HIDDEN if rows is None else str(rows[0][0]) if rows else "?"


def _plain(connection: Connection) -> Lines:
    return [("size of metrics", _text(connection, "SELECT pg_size_pretty(pg_total_relation_size('metrics'))"))]


def _hypertable(connection: Connection) -> Lines:
    rows = [("size of metrics", _text(connection, "SELECT pg_size_pretty(hypertable_size('metrics'))"))]
    for chunks, compressed, first in _ask(connection, _CHUNKS) or [(_HIDDEN, "?", "-")]:
        rows.append(("chunks", f"{chunks}, of them {compressed} in the columnstore; the first from {first}"))
    for needed, transactions, each in _ask(connection, _LOCKS) or []:
        said = locks(int(str(needed)), int(str(transactions)), int(str(each)))
        rows.append(("locks of a query without a time", said))
    return rows


def locks(needed: int, transactions: int, each: int) -> str:
    """How many of the server's locks a query takes, and the remedy when a few at once would take too many."""
    text = f"{needed} of {transactions * each}"
    if needed * 4 <= transactions * each:
        return text
    return (
        f"{text}: some of them at once will fail with `out of shared memory`; set max_locks_per_transaction to"
        f" {needed * 4 // transactions + 1} and restart the server, or drop old chunks"
    )


def _community(connection: Connection) -> Lines:
    rows = []
    for before, after, ratio in _ask(connection, _COMPRESSION) or [(None, None, None)]:
        rows.append(("compression", f"{before} became {after}: {ratio} to 1" if ratio else "nothing compressed yet"))
    rows.append(("late rows waiting", _text(connection, "SELECT count(*) FROM metrics_late")))
    lacking = _text(connection, "SELECT days_not_rolled_up()")
    rows.append(("days not in the rollups", f"{lacking}: run `nexus db refresh`" if lacking != "0" else "none"))
    rows += [(f"size of {name}", str(size)) for name, size in _ask(connection, _AGGREGATES) or []]
    for task, schedule, failed, finished, failures, error in _ask(connection, _JOBS) or []:
        state = "failed" if failed else f"last done {finished}" if finished else "not yet run"
        trouble = f"; failed {failures} times lately, last: {error}" if failures else ""
        rows.append((f"job {task}", f"every {schedule}, {state}{trouble}"))
    return rows
