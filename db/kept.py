"""Settings that a migration keeps: those not given stay as they are in the database."""

from typing import Any

from db.exclusive import Connection
from db.settings import Settings, check_ages
from nexus.process import log

# Existing jobs have the ages of the last migration, or what an operator has set with alter_job.
_JOBS = """
SELECT proc_name, config, (extract(epoch FROM (config->>'compress_after')::interval) / 86400)::int
FROM timescaledb_information.jobs WHERE proc_name IN ('compress_old_chunks', 'drop_old_chunks', 'drop_old_records')
"""
_ROLLUPS = ("1min", "1hour", "1day")
_RECORDS = {"rejects": "rejects", "audit": "audit", "alarm_events": "alarms"}  # table, and its setting


def completed(connection: Connection, settings: Settings, *, has_jobs: bool) -> Settings:
    """The settings, completed by those in the database. Raises ConfigError for a contradiction."""
    found: dict[str, Any] = _basics(connection) | (_ages(connection) if has_jobs else {})
    kept = {name: value for name, value in found.items() if name not in settings.model_fields_set}
    whole = settings.model_copy(update=kept)
    check_ages(whole)
    if other := {name: value for name, value in kept.items() if value != getattr(settings, name)}:
        shown = {f"NEXUS_{name.upper()}": _shown(value) for name, value in sorted(other.items())}
        log.get("migrate").info("not given, and so kept as the database has it", **shown)
    return whole


def _basics(connection: Connection) -> dict[str, Any]:
    [(zone, is_unique)] = connection.execute(
        "SELECT plant_time_zone(), indisunique FROM pg_index WHERE indexrelid = 'metrics_topic_time'::regclass"
    ).fetchall()
    return {"time_zone": zone, "ingest_mode": "exact" if is_unique else "bulk"}


def _ages(connection: Connection) -> dict[str, Any]:
    """Days by setting; an age that a job does not have is "never"."""
    found: dict[str, Any] = {}
    for job, config, days in connection.execute(_JOBS):
        ages: Any = config
        if job == "compress_old_chunks":
            found["compress_after"] = days
        elif job == "drop_old_chunks":
            found["retention"] = ages["metrics"]
            found |= {f"retention_{rollup}": ages.get(f"metrics_{rollup}") for rollup in _ROLLUPS}
        else:
            found |= {f"retention_{name}": ages.get(table) for table, name in _RECORDS.items()}
    return found


def _shown(value: object) -> str:
    return "never" if value is None else f"{value}d" if isinstance(value, int) else str(value)
