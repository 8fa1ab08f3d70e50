"""What `nexus db status` says: the tier, what it lacks, the migrations, and the sizes."""

from db.migrate import Connection, Tier, applied, names, tier

_LACKS_APACHE = ["continuous aggregates (views instead)", "columnstore", "retention and refresh policies"]
_LACKS = {
    Tier.COMMUNITY: [],
    Tier.APACHE: _LACKS_APACHE,
    Tier.PLAIN: [
        "hypertables",
        "continuous aggregates (views instead)",
        "columnstore",
        "retention and refresh policies",
    ],
}


def status(connection: Connection) -> tuple[list[tuple[str, str]], bool]:
    """Rows of (what, how it is), and whether the schema is the newest."""
    found = tier(connection)
    done = applied(connection)
    missing = [name for name in names() if name not in done]
    rows = [
        ("server", str(connection.execute("SHOW server_version").fetchone()[0])),  # type: ignore[index]  # always a row
        ("tier", str(found)),
        ("missing in this tier", ", ".join(_LACKS[found]) or "nothing"),
        ("migrations applied", str(len(done))),
        ("migrations missing", ", ".join(missing) or "none"),
    ]
    if not missing:
        rows += _sizes(connection, found)
    return rows, not missing


def _sizes(connection: Connection, found: Tier) -> list[tuple[str, str]]:
    rejects = connection.execute("SELECT count(*) FROM rejects").fetchone()
    shown = [("rejects", str(rejects[0] if rejects else 0))]
    if found is Tier.PLAIN:
        size = connection.execute("SELECT pg_size_pretty(pg_total_relation_size('metrics'))").fetchone()
        return [*shown, ("size of metrics", str(size[0] if size else "?"))]
    size = connection.execute("SELECT pg_size_pretty(hypertable_size('metrics'))").fetchone()
    chunks = connection.execute(
        "SELECT count(*), count(*) FILTER (WHERE is_compressed) FROM timescaledb_information.chunks"
        " WHERE hypertable_name = 'metrics'"
    ).fetchone()
    shown.append(("size of metrics", str(size[0] if size else "?")))
    if chunks is not None:
        shown.append(("chunks", f"{chunks[0]}, of them {chunks[1]} in the columnstore"))
    for name, schedule, outcome in connection.execute(
        "SELECT coalesce(j.hypertable_name, '') || ' ' || j.proc_name, j.schedule_interval::text,"
        " coalesce(s.last_run_status, 'not yet run')"
        " FROM timescaledb_information.jobs j LEFT JOIN timescaledb_information.job_stats s USING (job_id)"
        " WHERE j.job_id >= 1000 ORDER BY 1"
    ):
        shown.append((f"job {name}", f"every {schedule}, {outcome}"))
    return shown
