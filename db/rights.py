"""Rights that PostgreSQL grants to PUBLIC, and that nobody needs in the historian's own database."""

from contextlib import suppress
from importlib.resources import files

import psycopg
from psycopg import sql

Connection = psycopg.Connection[tuple[object, ...]]

_OURS = (
    *("metrics", "metrics_late", "late_hours", "topics", "rejects", "audit", "backups"),
    *("committed", "consumers", "annotations", "completeness", "nexus_migrations"),
    *("alarm_events", "alarm_states"),
    *("rule_publishers", "rule_states", "rule_alarms", "rule_outbox"),
    *("notifications", "notification_attempts", "notification_queue", "notification_sender", "notification_waits"),
    *("console_users", "console_keys", "console_sessions", "console_secrets", "console_audit"),
)
# Neither the server's, nor an extension's (chunks included), nor ours.
_FOREIGN = """
SELECT format('%%I.%%I', nspname, relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('r', 'p', 'f') AND nspname !~ '^(pg_|information_schema$)'
  AND NOT (nspname = current_schema() AND relname = ANY (%s))
  AND NOT EXISTS (
      SELECT FROM pg_depend WHERE deptype = 'e' AND ((classid = 'pg_class'::regclass AND objid = c.oid)
          OR (classid = 'pg_namespace'::regclass AND objid = n.oid)))
ORDER BY 1
"""
_REVOKED = """
SELECT NOT (has_function_privilege('public', 'pg_advisory_lock(bigint)', 'execute')
            OR has_language_privilege('public', 'plpgsql', 'usage'))
"""
_SHOWN = 3


def foreign_tables(connection: Connection) -> list[str]:
    """Tables in this database that are not ours."""
    return [str(name) for (name,) in connection.execute(_FOREIGN, (list(_OURS),))]


def revoke(connection: Connection) -> None:
    """Revokes these rights from PUBLIC, as far as our role may; none of them if others have tables here."""
    _try(connection, "GRANT TEMPORARY ON DATABASE {} TO nexus_writer")
    _try(connection, "GRANT EXECUTE ON FUNCTION pg_try_advisory_lock(bigint) TO nexus_rules")
    if foreign_tables(connection):
        return
    _try(connection, "REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC")
    _try(connection, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    connection.execute((files("db") / "rights.sql").read_bytes())


def describe(connection: Connection) -> str:
    """The state of these rights, for `nexus db status`."""
    is_revoked = connection.execute(_REVOKED).fetchone() == (True,)
    others = foreign_tables(connection)
    if not others:
        return "revoked" if is_revoked else "not revoked: a superuser has to run `nexus db migrate`"
    named = ", ".join(others[:_SHOWN]) + (" and more" if len(others) > _SHOWN else "")
    state = "were revoked, and whose they are may need them" if is_revoked else "are left alone"
    return f"this database holds more than the historian ({named}), so they {state}: give it a database of its own"


def _try(connection: Connection, text: str) -> None:
    with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
        connection.execute(sql.SQL(text).format(sql.Identifier(connection.info.dbname)))
