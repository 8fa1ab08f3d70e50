"""Runs one migration at a time; no step waits so long for a lock that others queue up behind it."""

from collections.abc import Callable
from typing import LiteralString, TypeVar

import psycopg
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from nexus.process import log
from nexus.process.errors import ConfigError

LOCK_SECONDS = 2.0
PATIENCE_SECONDS = 120.0

Connection = psycopg.Connection[tuple[object, ...]]
_Result = TypeVar("_Result")

# This mode conflicts with itself, and with no lock of readers or writers.
_EXCLUSIVE = "LOCK TABLE nexus_migrations IN SHARE UPDATE EXCLUSIVE MODE"
_LOCKED = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
_HOLDERS = """
SELECT pid, usename, coalesce(nullif(application_name, ''), 'unnamed'), coalesce(state, 'state hidden'),
       coalesce(date_trunc('second', clock_timestamp() - xact_start)::text, 'an unknown time')
FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND coalesce(clock_timestamp() - xact_start > make_interval(secs => %s), true)
  AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'relation' AND granted AND relation >= 16384
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
ORDER BY xact_start LIMIT 3
"""


def exclusively(connection: Connection, step: str, do: Callable[[], _Result]) -> _Result:
    """Runs `do` in a transaction while no other migration runs, and returns its result.

    Raises ConfigError, which names the holders, if a lock cannot be had within PATIENCE_SECONDS.
    """

    def waiting(state: RetryCallState) -> None:
        if state.attempt_number == 1:
            log.get("migrate").warning("waiting for a lock", step=step, held_by=_holders(connection))

    def once() -> _Result:
        with connection.transaction():
            connection.execute(_EXCLUSIVE)
            connection.execute("SELECT set_config('lock_timeout', %s, true)", (f"{LOCK_SECONDS:g}s",))
            return do()

    attempts = Retrying(
        retry=retry_if_exception_type(_LOCKED),
        stop=stop_after_delay(PATIENCE_SECONDS),
        wait=wait_random_exponential(max=10),
        before_sleep=waiting,
        reraise=True,
    )
    try:
        return attempts(once)
    except _LOCKED:
        raise ConfigError(
            f"{step}: no lock for {PATIENCE_SECONDS:g} s, and nothing of this step is done. {_holders(connection)}."
            " Wait for them or end them with SELECT pg_terminate_backend(pid), and run this again"
        ) from None


def refresh(connection: Connection, call: LiteralString, given: tuple[object, ...]) -> tuple[object, ...] | None:
    """Refreshes, trying again while a policy refreshes the same buckets; returns the call's row."""
    attempts = Retrying(
        retry=retry_if_exception_type(psycopg.errors.LockNotAvailable),
        stop=stop_after_delay(PATIENCE_SECONDS),
        wait=wait_random_exponential(max=5),
        reraise=True,
    )
    done = attempts(connection.execute, call, given)
    return done.fetchone() if done.description else None


def _holders(connection: Connection) -> str:
    """Names who has held locks longer than we wait for one."""
    found = connection.execute(_HOLDERS, (LOCK_SECONDS,)).fetchall()
    named = (f"pid {pid} ({user}, {application}: {state}, for {age})" for pid, user, application, state, age in found)
    return f"Locks are held by {', '.join(named)}" if found else "Whoever held it has released it since"
