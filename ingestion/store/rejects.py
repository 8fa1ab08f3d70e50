"""Rejects: listed, tried again after a fix, or deleted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Any, LiteralString, NamedTuple

import msgspec
import psycopg
from psycopg import AsyncConnection, sql

from ingestion.consume.batch import Batch
from ingestion.decode.decoders import Decoders
from ingestion.decode.encoding import Encoding
from ingestion.decode.rows import Window
from ingestion.settings import Settings
from ingestion.store.bulk import BulkInsert
from ingestion.store.database import BatchRefusedError, DatabaseAwayError
from ingestion.store.exact import ExactInsert
from ingestion.store.lateness import ask
from ingestion.store.tables import LARGEST_REJECT, Written
from ingestion.store.writer import InsertStrategy, Writer
from nexus.contract.codec import Message
from nexus.process.clock import now_ms

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
    """The newest rejects, a line each, and how many there are by reason."""
    query = sql.SQL("SELECT id, time::text, topic, reason, payload FROM rejects WHERE {} ORDER BY id DESC LIMIT {}")
    found = connection.execute(query.format(which.condition, limit)).fetchall()
    if not found:
        return []
    lines = ["number  arrived  topic  reason  payload"]
    lines += ["  ".join((*(_plain(str(one)) for one in row[:4]), _short(row[4]))) for row in found]
    total = connection.execute(sql.SQL("SELECT count(*) FROM rejects WHERE {}").format(which.condition)).fetchone()
    lines += ["", f"{total[0] if total else 0} in all; by reason:"]
    counts = sql.SQL("SELECT count(*), left(reason, 100) FROM rejects WHERE {} GROUP BY 2 ORDER BY 1 DESC LIMIT 20")
    lines += [
        f"{number:>8}  {_plain(str(reason))}" for number, reason in connection.execute(counts.format(which.condition))
    ]
    return lines


def purge(connection: Connection, which: Which) -> int:
    """Deletes rejects; returns how many."""
    return connection.execute(sql.SQL("DELETE FROM rejects WHERE {}").format(which.condition)).rowcount


@dataclass(frozen=True)
class Retried:
    """What became of rejects that were tried again; `repeated` are values that the table had already.

    Of the `refused`, so many are `cut`: what is not kept whole cannot be read.
    """

    stored: int = 0
    refused: int = 0
    repeated: int = 0
    cut: int = 0

    def __add__(self, other: "Retried") -> "Retried":
        return Retried(
            self.stored + other.stored,
            self.refused + other.refused,
            self.repeated + other.repeated,
            self.cut + other.cut,
        )


class One(NamedTuple):
    """A reject, and when it arrived, in epoch ms."""

    id: int
    source: str
    tags: frozenset[str] | None
    payload: bytes
    arrived: int


async def retry(connection: Connection, which: Which, settings: Settings) -> Retried:
    """Decodes and writes rejects again; those that succeed are deleted. Raises DatabaseAwayError."""
    query = sql.SQL(
        "SELECT id, topic, coalesce(source, topic), tags, payload, (extract(epoch FROM time) * 1000)::bigint"
        " FROM rejects WHERE {} AND id > {} AND id <= {} ORDER BY id LIMIT {}"
    )
    newest = (connection.execute("SELECT coalesce(max(id), 0) FROM rejects").fetchone() or (0,))[0]
    after, done = 0, Retried()
    async with Retry(settings, "DELETE FROM rejects WHERE id = ANY(%s)") as again:
        while rows := connection.execute(query.format(which.condition, after, newest, _AT_ONCE)).fetchall():
            found = [one_of(row) for row in rows]
            after = found[-1].id
            done += await again.store(found)
    return done


class Retry:
    """Stores what rejects hold, and takes those away by the query `drop`, in one transaction. A context manager."""

    def __init__(self, settings: Settings, drop: LiteralString) -> None:
        self._url = settings.database_url
        self._encoding = Encoding(Decoders(settings.decoders))
        strategy = BulkInsert(self._encoding) if settings.ingest_mode == "bulk" else ExactInsert()
        self._trying = _Trying(strategy, drop)
        self._writer = Writer(self._url, self._trying)

    async def store(self, found: Sequence[One]) -> Retried:
        """Tries some rejects again; those that succeed are deleted. Raises DatabaseAwayError."""
        window = (await ask(self._url)).window(now_ms())
        try:
            return await self._again(window, found)
        except (BatchRefusedError, DatabaseAwayError):  # away, or all of them together take more locks than it has
            done = Retried()
            for one in found:
                try:
                    done += await self._again(window, [one])
                except BatchRefusedError:
                    done += Retried(refused=1)
            return done

    async def _again(self, window: Window, found: Sequence[One]) -> Retried:
        """Writes those that can be decoded now. Raises DatabaseAwayError, BatchRefusedError."""
        batch, done, ours = Batch(), [], Encoding(Decoders([]))
        for one in found:
            tried = Batch()
            wanted = partial(_only, one.tags) if one.tags else None
            by = ours if one.tags == frozenset() else self._encoding
            by.add(tried, one.source, one.payload, window, wanted=wanted, arrived=one.arrived)
            if tried.points and not tried.rejects:
                batch.rows.take(tried.rows)
                batch.late.take(tried.late)
                batch.records += tried.records
                done.append(one.id)
        self._trying.ids = done
        written = await self._writer.write(batch)
        again = min(written.rejects, len(done))
        cut = sum(len(one.payload) >= LARGEST_REJECT and one.id not in done for one in found)
        return Retried(len(done) - again, len(found) - len(done) + again, written.duplicates, cut)

    async def __aenter__(self) -> "Retry":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._writer.close()


class _Trying:
    """Wraps a strategy: deletes the rejects `ids` in the transaction that stores their content."""

    def __init__(self, strategy: InsertStrategy, drop: LiteralString) -> None:
        self._strategy = strategy
        self._drop = drop
        self.ids: list[int] = []

    @property
    def unique(self) -> bool:
        return self._strategy.unique

    def reconnected(self) -> None:
        self._strategy.reconnected()

    async def store(self, connection: AsyncConnection, batch: Batch) -> Written:
        try:
            async with connection.transaction():
                # First: what the database refuses is set aside anew, and must not be taken for what is tried here.
                await connection.execute(self._drop, (self.ids,))
                written = await self._strategy.store(connection, batch)
        except BaseException:
            self._strategy.reconnected()  # what it believes to be committed is not
            raise
        return written


def one_of(row: tuple[Any, ...]) -> One:
    """A row of id, topic, source, tags, payload, and epoch ms."""
    id_, topic, source, tags, payload, arrived = row
    if tags is None and source != topic:
        tags = [topic.removeprefix(f"{source}/")]
    return One(id_, source, None if tags is None else frozenset(tags), bytes(payload), arrived)


def _only(tags: frozenset[str], message: Message) -> Message | None:
    """Reduces a message to the tags that were refused; None if it has none of them."""
    values = {tag: value for tag, value in message.values.items() if tag in tags}
    faults = [fault for fault in message.faults if fault.tag in tags]
    if not values and not faults:
        return None
    return msgspec.structs.replace(message, values=values, faults=faults)


def _like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _short(payload: object) -> str:
    data = bytes(payload)  # type: ignore[call-overload]
    return repr(data[:_SHOWN_BYTES])[2:-1] + ("…" if len(data) > _SHOWN_BYTES else "")


def _plain(text: str) -> str:
    """Without control characters, which a terminal would obey: topics and reasons come from others."""
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)
