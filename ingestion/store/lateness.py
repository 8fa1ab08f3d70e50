"""Which rows are late, and which too old to keep: one task asks the database, on behalf of the whole ingester."""

import asyncio
from collections.abc import Callable
from time import time
from typing import NamedTuple

import psycopg

from ingestion.decode.rows import LATEST_AHEAD_MS, Window
from ingestion.store.database import ClocksApartError, DatabaseAwayError, connect, explain
from nexus.process import log

REFRESH_SECONDS = 60.0
RETRY_SECONDS = 1.0
CLOCKS_APART_SECONDS = LATEST_AHEAD_MS / 2000  # beyond this, good readings would be refused for their time
_ASK_SECONDS = 10.0
_ASK = """
SELECT coalesce(extract(epoch FROM late_before()) * 1000, 0)::bigint,
       coalesce(extract(epoch FROM kept_from()) * 1000, 0)::bigint,
       extract(epoch FROM clock_timestamp())::float8
"""


class Lateness(NamedTuple):
    """What decides, in epoch ms: rows from before `late_before_ms` go to a table of their own, from where the database
    merges them; rows from before `kept_from_ms` are older than what the database keeps, and refused.
    """

    late_before_ms: int
    kept_from_ms: int

    def window(self, now_ms: int, oldest_ms: int = 0) -> Window:
        """The times that are accepted at this moment, none from before `oldest_ms`."""
        return Window.at(now_ms, self.late_before_ms, max(self.kept_from_ms, oldest_ms))


async def ask(url: str) -> Lateness:
    """Asks once. Raises DatabaseAwayError, and ClocksApartError while no time can be judged by our clock."""
    try:
        async with asyncio.timeout(_ASK_SECONDS), await connect(url, "nexus lateness") as connection:
            found = await (await connection.execute(_ASK)).fetchone()
    except TimeoutError:
        raise DatabaseAwayError(f"no answer within {_ASK_SECONDS:g} s") from None
    except psycopg.Error as error:
        raise DatabaseAwayError(explain(error)) from error
    late_before_ms, kept_from_ms, clock = found or (0, 0, time())
    if abs(ahead := time() - clock) > CLOCKS_APART_SECONDS:
        far = f"{abs(ahead) / 60:,.0f} minutes {'ahead of' if ahead > 0 else 'behind'}"
        raise ClocksApartError(f"the clock of this host is {far} the database's: set the one that is wrong")
    return Lateness(late_before_ms, kept_from_ms)


class LatenessMonitor:
    """Keeps lateness up to date. An outage leaves it as it was; while the clocks are apart there is none."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._log = log.get("lateness")
        self.latest: Lateness | None = None
        self.fault: str | None = None  # why there is none

    async def run(self, on_change: Callable[[], None]) -> None:
        """Asks for ever, and calls `on_change` after each answer."""
        while True:
            await self._refresh()
            on_change()
            await asyncio.sleep(RETRY_SECONDS if self.latest is None else REFRESH_SECONDS)

    async def _refresh(self) -> None:
        try:
            self.latest = await ask(self._url)
        except ClocksApartError as error:
            self.latest = None
            self._note(str(error))
        except DatabaseAwayError as error:
            if self.latest is None:
                self._note(str(error))
        else:
            self._note(None)

    def _note(self, fault: str | None) -> None:
        if fault is not None and self.fault is None:
            self._log.error("late readings cannot be told apart: messages stay with the broker", error=fault)
        elif fault is None and self.fault is not None:
            self._log.info("late readings can be told apart again", after=self.fault)
        self.fault = fault
