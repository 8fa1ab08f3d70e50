"""What was set aside: shown, tried again after a fix, or thrown away."""

from dataclasses import dataclass
from datetime import timedelta
from time import time

import psycopg
from psycopg import sql

from ingestion.batch import Batch
from ingestion.bulk import Bulk
from ingestion.decoders import Decoders
from ingestion.encoding import Encoding
from ingestion.exact import Exact
from ingestion.rows import Encoder, Window
from ingestion.settings import Settings
from ingestion.writer import Writer
from nexus.contract.codec import DecodeError, Message

_AT_ONCE = 500
_SHOWN_BYTES = 100

Connection = psycopg.Connection[tuple[object, ...]]


@dataclass(frozen=True)
class Which:
    """Rejects whose topic is like `topic` (* stands for anything), whose reason holds `reason`, older than `age`."""

    topic: str | None = None
    reason: str | None = None
    age: timedelta | None = None

    @property
    def condition(self) -> sql.Composed:
        parts: list[sql.Composable] = [sql.SQL("true")]
        if self.topic is not None:
            parts.append(sql.SQL("topic LIKE {}").format(sql.Literal(_like(self.topic).replace("*", "%"))))
        if self.reason is not None:
            parts.append(sql.SQL("reason ILIKE {}").format(sql.Literal(f"%{_like(self.reason)}%")))
        if self.age is not None:
            parts.append(sql.SQL("time < now() - {}::interval").format(sql.Literal(self.age)))
        return sql.SQL(" AND ").join(parts)


def shown(connection: Connection, which: Which, limit: int) -> list[str]:
    """The newest, a line each, and how many there are by reason."""
    query = sql.SQL("SELECT id, time::text, topic, reason, payload FROM rejects WHERE {} ORDER BY id DESC LIMIT {}")
    found = connection.execute(query.format(which.condition, limit)).fetchall()
    lines = ["  ".join((*map(str, row[:4]), _short(row[4]))) for row in found]
    counts = sql.SQL("SELECT count(*), left(reason, 100) FROM rejects WHERE {} GROUP BY 2 ORDER BY 1 DESC LIMIT 20")
    lines += [f"{number:>8}  {reason}" for number, reason in connection.execute(counts.format(which.condition))]
    return lines


def purge(connection: Connection, which: Which) -> int:
    """Throws away; gives how many."""
    return connection.execute(sql.SQL("DELETE FROM rejects WHERE {}").format(which.condition)).rowcount


async def retry(connection: Connection, which: Which, settings: Settings) -> tuple[int, int]:
    """Decodes and writes again; what succeeds is a reject no more. Gives how many did, and how many did not.

    Raises DatabaseAway.
    """
    decoders, encoder = Decoders(settings.decoders), Encoder()
    query = sql.SQL(
        "SELECT id, topic, coalesce(source, topic), payload FROM rejects"
        " WHERE {} AND id > {} AND id <= {} ORDER BY id LIMIT {}"
    )
    # Not those that are set aside meanwhile, by others or by the database's refusing them again.
    [newest] = connection.execute("SELECT coalesce(max(id), 0) FROM rejects").fetchone() or (0,)
    after = stored = refused = 0
    way = Exact() if settings.ingest_mode == "exact" else Bulk(Encoding(decoders))
    async with Writer(settings.database_url, way) as writer:
        await writer.write(Batch())  # so that it knows what is late
        while found := connection.execute(query.format(which.condition, after, newest, _AT_ONCE)).fetchall():
            batch, done = Batch(), []
            for id_, topic, source, payload in found:
                after = int(str(id_))
                message = _again(decoders, str(source), str(topic), bytes(payload))  # type: ignore[call-overload]
                window = Window.at(int(time() * 1000), writer.horizon_ms)
                if message is None or encoder.encode(message, window, batch.rows, batch.late):
                    refused += 1
                else:
                    done.append(after)
            again = (await writer.write(batch)).rejects  # by the database, which has set them aside anew
            connection.execute("DELETE FROM rejects WHERE id = ANY(%s)", (done,))
            stored, refused = stored + len(done) - again, refused + again
    return stored, refused


def _again(decoders: Decoders, source: str, topic: str, payload: bytes) -> Message | None:
    """What a message says now of the topic that was refused; None if it is still nothing."""
    try:
        message = decoders.decode(source, payload)
    except DecodeError:
        return None
    if source == topic:
        return None if message.faults else message
    values = {tag: value for tag, value in message.values.items() if f"{source}/{tag}" == topic}
    qualities, units, times = message.qualities, message.units, message.times
    return Message(source, message.time, values, qualities, units, times) if values else None


def _like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _short(payload: object) -> str:
    data = bytes(payload)  # type: ignore[call-overload]
    return repr(data[:_SHOWN_BYTES])[2:-1] + ("…" if len(data) > _SHOWN_BYTES else "")
