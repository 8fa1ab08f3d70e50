"""What `nexus db status` says: the tier and what it lacks, the migrations, sizes, and the health of the jobs."""

from db.migrate import Connection, Tier, applied, names, tier

Lines = list[tuple[str, str]]

_LACKS_APACHE = ["continuous aggregates (views instead)", "columnstore", "retention and refresh policies"]
_LACKS = {
    Tier.COMMUNITY: [],
    Tier.APACHE: _LACKS_APACHE,
    Tier.PLAIN: ["hypertables", *_LACKS_APACHE],
}
_COUNTS = "SELECT (SELECT count(*) FROM topics), (SELECT count(*) FROM rejects)"
_CHUNKS = """
SELECT count(*), count(*) FILTER (WHERE is_compressed), coalesce(min(range_start)::date::text, '-')
FROM timescaledb_information.chunks WHERE hypertable_name = 'metrics'
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
_JOBS = """
SELECT j.proc_name || coalesce(' of ' || coalesce(c.view_name, j.hypertable_name), ''), j.schedule_interval::text,
       coalesce(s.last_run_status, 'not yet run'), coalesce(s.total_failures, 0), s.last_successful_finish::text,
       (SELECT e.err_message FROM timescaledb_information.job_errors e
        WHERE e.job_id = j.job_id ORDER BY e.finish_time DESC LIMIT 1)
FROM timescaledb_information.jobs j
LEFT JOIN timescaledb_information.job_stats s USING (job_id)
LEFT JOIN timescaledb_information.continuous_aggregates c ON c.materialization_hypertable_name = j.hypertable_name
WHERE j.job_id >= 1000 ORDER BY 1
"""


def status(connection: Connection) -> tuple[Lines, bool]:
    """Rows of (what, how it is), and whether the schema is the newest."""
    found = tier(connection)
    done = applied(connection)
    missing = [name for name in names() if name not in done]
    rows = [
        ("server", _text(connection, "SHOW server_version")),
        ("tier", str(found)),
        ("missing in this tier", ", ".join(_LACKS[found]) or "nothing"),
        ("migrations applied", str(len(done))),
        ("migrations missing", ", ".join(missing) or "none"),
    ]
    if not missing:
        topics, rejects = connection.execute(_COUNTS).fetchone() or (0, 0)
        rows += [("topics", str(topics)), ("rejects", str(rejects))]
        rows += _plain(connection) if found is Tier.PLAIN else _hypertable(connection)
        if found is Tier.COMMUNITY:
            rows += _community(connection)
    return rows, not missing


def _text(connection: Connection, query: str) -> str:
    row = connection.execute(query.encode()).fetchone()
    return str(row[0]) if row else "?"


def _plain(connection: Connection) -> Lines:
    return [("size of metrics", _text(connection, "SELECT pg_size_pretty(pg_total_relation_size('metrics'))"))]


def _hypertable(connection: Connection) -> Lines:
    chunks, compressed, first = connection.execute(_CHUNKS).fetchone() or (0, 0, "-")
    return [
        ("size of metrics", _text(connection, "SELECT pg_size_pretty(hypertable_size('metrics'))")),
        ("chunks", f"{chunks}, of them {compressed} in the columnstore; the first from {first}"),
    ]


def _community(connection: Connection) -> Lines:
    before, after, ratio = connection.execute(_COMPRESSION).fetchone() or (None, None, None)
    rows = [("compression", f"{before} became {after}: {ratio} to 1" if ratio else "nothing compressed yet")]
    rows.append(("late rows waiting", _text(connection, "SELECT count(*) FROM metrics_late")))
    rows += [(f"size of {name}", str(size)) for name, size in connection.execute(_AGGREGATES)]
    for name, schedule, outcome, failures, finished, error in connection.execute(_JOBS):
        trouble = f", failed {failures} times, last: {error}" if failures else ""
        since = f", last done {finished}" if finished else ""
        rows.append((f"job {name}", f"every {schedule}, {outcome}{since}{trouble}"))
    return rows
