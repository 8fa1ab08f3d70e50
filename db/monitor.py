"""`nexus db monitor`: the database's metrics: sizes, jobs, rejects, the age of the last backup."""

import asyncio

import psycopg
from prometheus_client import CollectorRegistry, Gauge
from psycopg import AsyncConnection

from db.migrate import LICENSE, Tier, tier_of
from nexus.process import lines, log, probe, settings, supervisor
from nexus.process.run import run_until

QUERY_SECONDS = 10.0
RETRY_SECONDS = 2.0
ANSWER_SECONDS = 60.0

registry = CollectorRegistry()
registry.register(supervisor.faults)
registry.register(lines.lost)


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(f"nexus_database_{name}", text, labels, registry=registry)


up = _gauge("up", "1 while the database answers")
job_failed = _gauge("job_failed", "1 while the last run of a TimescaleDB job has failed", "task")
job_finished = _gauge("job_success_timestamp_seconds", "When a TimescaleDB job last succeeded", "task")

_SETTINGS = "SET statement_timeout = '50s'; SET application_name = 'nexus monitor'"
_ALWAYS = {
    "SELECT pg_database_size(current_database())": [_gauge("size_bytes", "Size of the whole database")],
    "SELECT (SELECT count(*) FROM topics), (SELECT count(*) FROM rejects), pg_total_relation_size('rejects')": [
        _gauge("topics", "Topics that were ever stored"),
        _gauge("rejects", "Rejects kept"),
        _gauge("rejects_bytes", "Disk space of the rejects"),
    ],
    "SELECT sum(numbackends), current_setting('max_connections')::int FROM pg_stat_database": [
        _gauge("connections", "Open connections"),
        _gauge("connections_max", "Allowed connections"),
    ],
    "SELECT max(age(datfrozenxid)) FROM pg_database": [
        _gauge("transaction_ids_age", "Transactions since the oldest unfrozen row"),
    ],
    "SELECT count(*), count(*) FILTER (WHERE stale) FROM alarms_standing": [
        _gauge("alarms_standing", "Alarms whose condition holds, and that nothing hides"),
        _gauge("alarms_stale", "Of these, alarms that were raised more than 24 hours ago"),
    ],
    "SELECT extract(epoch FROM finished), seconds, bytes FROM backups ORDER BY finished DESC LIMIT 1": [
        _gauge("backup_timestamp_seconds", "When the last backup was complete; 0: there is none"),
        _gauge("backup_seconds", "Duration of the last backup"),
        _gauge("backup_bytes", "Size of the last backup"),
    ],
}
_CHUNKS = """
WITH chunk AS (
    SELECT is_compressed, range_start, range_end FROM timescaledb_information.chunks WHERE hypertable_name = 'metrics'
), policy AS (
    SELECT now() - (config->>'compress_after')::interval - INTERVAL '1 day' AS compressed_until
    FROM timescaledb_information.jobs WHERE proc_name = 'compress_old_chunks'
)
SELECT count(*), count(*) FILTER (WHERE is_compressed),
       count(*) FILTER (WHERE NOT is_compressed AND range_end < (SELECT compressed_until FROM policy)),
       greatest(0, extract(epoch FROM kept_from() - min(range_end))),
       count(*) FILTER (WHERE range_end - range_start > INTERVAL '1 day' OR range_end > now() + INTERVAL '2 days')
FROM chunk
"""
_COMMUNITY = {
    "SELECT count(*) FROM metrics_late": [_gauge("late_rows", "Rows that wait to be moved into compressed chunks")],
    _CHUNKS: [
        _gauge("chunks", "Chunks of the table"),
        _gauge("chunks_compressed", "Of these, chunks in the columnstore"),
        _gauge("chunks_overdue", "Chunks that should have been in the columnstore for a day or longer"),
        _gauge("retention_overdue_seconds", "How long ago the oldest chunk should have been dropped; 0: there is none"),
        _gauge("chunks_misplaced", "Chunks longer than a day, or beyond tomorrow: they are dropped late, or never"),
    ],
    "SELECT days_not_rolled_up()": [_gauge("days_not_rolled_up", "Days that are missing from the rollups")],
    "SELECT sum(before_compression_total_bytes), sum(after_compression_total_bytes)"
    " FROM hypertable_compression_stats('metrics')": [
        _gauge("compressed_before_bytes", "Size of the compressed chunks before compression"),
        _gauge("compressed_after_bytes", "Size of the compressed chunks now"),
    ],
}
_JOBS = "SELECT task, failed::int, extract(epoch FROM finished) FROM job_states()"
# The error of an older schema.
_OLD = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedFunction)
# Jobs on TimescaleDB Community: each has its series before it first fails.
TASKS = (
    "compress_old_chunks",
    "drop_old_chunks",
    "drop_old_records",
    "forget_committed",
    "merge_late",
    "policy_refresh_continuous_aggregate metrics_1day",
    "policy_refresh_continuous_aggregate metrics_1hour",
    "policy_refresh_continuous_aggregate metrics_1min",
)
for _task in TASKS:
    job_failed.labels(_task)


class _Monitor:
    """Queries periodically, over one connection that is reopened after an error."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: AsyncConnection | None = None
        self._log = log.get("monitor")
        self.trouble: str | None = "not asked yet"

    async def run(self) -> None:
        """Queries until cancelled."""
        while True:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._query()
                self._note(None)
            except _OLD as error:
                self._note(f"{str(error).splitlines()[0]}: run `nexus db migrate`")
            except (psycopg.Error, TimeoutError) as error:
                self._note(str(error).strip() or f"no answer within {ANSWER_SECONDS:g} s")
                await self.close()
            await asyncio.sleep(RETRY_SECONDS if self.trouble else QUERY_SECONDS)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _note(self, trouble: str | None) -> None:
        up.set(trouble is None)
        if trouble is not None and self.trouble != trouble:
            self._log.error("database away", reason=trouble)
        if trouble is None and self.trouble is not None:
            self._log.info("the database answers")
        self.trouble = trouble

    async def _query(self) -> None:
        if self._connection is None:
            self._connection = await AsyncConnection.connect(
                self._url, autocommit=True, connect_timeout=5, client_encoding="utf8"
            )
            await self._connection.execute(_SETTINGS)
        is_community = tier_of(next(iter(await self._rows(self._connection, LICENSE)), None)) is Tier.COMMUNITY
        for query, gauges in (_ALWAYS | _COMMUNITY if is_community else _ALWAYS).items():
            for row in await self._rows(self._connection, query):
                for gauge, value in zip(gauges, row, strict=True):
                    gauge.set(float(str(value)) if value is not None else 0.0)
        jobs = await self._rows(self._connection, _JOBS) if is_community else []
        for gauge in (job_failed, job_finished):
            gauge.clear()  # jobs may have been removed
        for job, failed, finished in jobs:
            job_failed.labels(job).set(int(str(failed or 0)))
            job_finished.labels(job).set(float(str(finished or 0)))

    async def _rows(self, connection: AsyncConnection, query: str) -> list[tuple[object, ...]]:
        return await (await connection.execute(query.encode())).fetchall()


async def serve(stop: asyncio.Event, url: str) -> None:
    """Runs until `stop` is set. Raises ConfigError."""
    process = settings.load(settings.Process)
    monitor = _Monitor(url)

    def waiting_for() -> list[str]:
        return [f"the database: {monitor.trouble}"] if monitor.trouble else []

    async with probe.serve(process, registry, waiting_for):
        try:
            await run_until(stop, monitor.run())
        finally:
            await monitor.close()
