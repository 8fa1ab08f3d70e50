"""Tells an Alertmanager again what stands, before it takes that for over; also after it has lost its memory."""

import asyncio

from console import metrics
from console.historian.alarms import COLUMNS, message_of
from console.notify import outbox
from console.notify.channels import alertmanager
from console.notify.channels.alertmanager import Alertmanager
from console.notify.channels.outcome import LaterError, RefusedError
from console.notify.config import Config
from console.notify.ledger import Ledger
from console.notify.worker import Worker
from nexus.process import log, supervisor

_STANDING = f"SELECT {COLUMNS} FROM alarms_now WHERE active"  # noqa: S608


async def tell_again(worker: Worker, config: Config, ledger: Ledger) -> None:
    """Until cancelled. Raises psycopg.Error when the session is lost."""
    channel, was_away = config.receivers[worker.name].channel, False
    assert isinstance(channel, Alertmanager)
    while True:
        # In the receiver's turn: what we have read is told before an end that comes after it, and does not undo it.
        async with worker.turn:
            failure = await _tell(worker, channel, config, ledger)
        if failure is not None:
            metrics.notifications.labels("alertmanager", "resend failed").inc()
            if not was_away:
                said = "what stands cannot be told again"
                log.get("notify").warning(said, receiver=worker.name, reason=failure)
        was_away = failure is not None
        await asyncio.sleep(channel.resend)


async def _tell(worker: Worker, channel: Alertmanager, config: Config, ledger: Ledger) -> str | None:
    """Why it was not told; None if it was."""
    async with ledger.transaction() as connection:
        rows = await (await connection.execute(_STANDING)).fetchall()
        now = await outbox.clock(connection)
    firing = config.routes.firing([message_of(row) for row in rows], worker.name, now)
    try:
        await alertmanager.tell(channel, worker.name, firing, worker.means.address, worker.means.names)
    except (LaterError, RefusedError) as error:
        return str(error)
    except Exception as error:  # what nobody foresaw delays no other receiver
        supervisor.failed("peer", f"resend to {worker.name}", error)
        return repr(error)
    return None
