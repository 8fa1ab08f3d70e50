"""Shared by all insert strategies: COPY, bisecting around refused rows, rejects, and the list of topics."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from uuid import UUID

import psycopg
from psycopg import AsyncConnection

from ingestion.consume.batch import Reject
from ingestion.decode.rows import COLUMNS, Row, Rows, copy_data, parsed
from ingestion.store.database import explain, is_of_the_data
from ingestion.store.quota import Quota
from nexus.contract import topic as topics
from nexus.contract.codec import encode_tag
from nexus.contract.reading import Reading

LARGEST_REJECT = 1_000_000
_LONGEST_REASON = 500  # characters; the index on it holds 2,704 bytes
_MOST_TOPICS = 200_000  # topics known to be in the list, by their hashes: some 15 MB

_COPY = f"COPY {{}} ({COLUMNS}) FROM STDIN (FORMAT BINARY)"
_REJECT = """
INSERT INTO rejects (topic, payload, reason, source, tags, time, key)
VALUES (%s, %s, %s, %s, %s, coalesce(to_timestamp(%s::float8 / 1000), now()), %s) ON CONFLICT DO NOTHING
"""
_TOPICS = "INSERT INTO topics (topic) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING"

EncodedRows = list[bytes]
Insert = Callable[[EncodedRows], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch's rows; `lost` are topic and time (epoch ms) of those for which the quota had no room."""

    rows: int
    duplicates: int
    rejects: int
    conflicts: int = 0  # of the rejects, those with another value in the table
    lost: frozenset[tuple[str, int]] = frozenset()

    def __add__(self, other: "Written") -> "Written":
        return Written(
            self.rows + other.rows,
            self.duplicates + other.duplicates,
            self.rejects + other.rejects,
            self.conflicts + other.conflicts,
            self.lost | other.lost,
        )


async def copy_rows(connection: AsyncConnection, table: str, rows: EncodedRows) -> int:
    """COPYs rows of COLUMNS; returns 0, the number of rows that were there already."""
    if rows:
        async with connection.cursor() as cursor, cursor.copy(_COPY.format(table)) as copy:
            await copy.write(copy_data(rows))
    return 0


async def insert_bisecting(connection: AsyncConnection, rows: EncodedRows, insert: Insert) -> tuple[int, list[Reject]]:
    """Inserts rows, and finds those that the database refuses by bisecting; gives the sum of `insert`, and them."""
    if not rows:
        return 0, []
    try:
        async with connection.transaction():
            return await insert(rows), []
    except psycopg.Error as error:
        if not is_of_the_data(error):
            raise
        if len(rows) == 1:
            return 0, [row_reject(rows[0], f"the database refused it: {explain(error)}")]
    middle = len(rows) // 2
    before, refused_before = await insert_bisecting(connection, rows[:middle], insert)
    after, refused_after = await insert_bisecting(connection, rows[middle:], insert)
    return before + after, refused_before + refused_after


class Topics:
    """Keeps the list of topics complete, and remembers what is in it."""

    def __init__(self) -> None:
        self._known: set[int] = set()

    def forget(self) -> None:
        """Forgets all: after a reconnection it may be another database."""
        self._known.clear()

    async def add(self, connection: AsyncConnection, rows: Rows, late: Rows, gone: Collection[str] = ()) -> set[str]:
        """Adds new topics, except `gone`; returns them, to be `known` once they are committed."""
        if len(self._known) > _MOST_TOPICS:
            self._known.clear()
        known = self._known
        new = {topic for some in (rows, late) for topic in some.by_topic if hash(topic) not in known}.difference(gone)
        if new:
            await connection.execute(_TOPICS, (sorted(new),))  # in order, so that two writers cannot deadlock
        return new

    def known(self, topics: set[str]) -> None:
        self._known.update(map(hash, topics))


async def insert_rejects(connection: AsyncConnection, rejects: Sequence[Reject]) -> None:
    """Inserts rejects, each once."""
    if rejects:
        async with connection.cursor() as cursor:
            await cursor.executemany(_REJECT, [_storable(reject) for reject in rejects])


def row_reject(row: bytes, reason: str) -> Reject:
    """A row as a reject in our own format, without tags: it is decoded like that whatever decoder its topic has."""
    return value_reject(parsed(row), reason)


def value_reject(row: Row, reason: str) -> Reject:
    """The same for a decoded row."""
    text, value = row.value_str, row.value
    said = value if text is None else text if value is None else int(text)
    payload = encode_tag(Reading("", row.time, said, row.quality), row.unit)
    return Reject(row.topic, payload, reason, tags=(), time=row.time)


def admit(quota: Quota, rejects: Sequence[Reject]) -> tuple[list[Reject], frozenset[tuple[str, int]]]:
    """The rejects that fit into the quota, and topic and time of the others."""
    admitted = quota.admitted(rejects)
    if len(admitted) == len(rejects):
        return admitted, frozenset()
    kept = set(map(id, admitted))
    return admitted, frozenset((one.topic, one.time or 0) for one in rejects if id(one) not in kept)


def _storable(reject: Reject) -> tuple[object, ...]:
    """The reject's columns, bounded, and with characters that the database accepts."""
    source = reject.source if reject.source != reject.topic else None
    return (
        _shortened(reject.topic),
        reject.payload[:LARGEST_REJECT],
        _text(reject.reason[:_LONGEST_REASON]) + _cut(reject.payload),
        None if source is None else _shortened(source),
        None if reject.tags is None else [_text(tag) for tag in reject.tags],
        reject.arrived,
        _key(reject),
    )


def _shortened(topic: str) -> str:
    """Shortened, but still too long to be a topic: it must not be tried again as another one."""
    topic = _text(topic)
    return topic if len(topic) <= topics.LONGEST else topic[: topics.LONGEST - 1] + "…"


def _cut(payload: bytes) -> str:
    """The note on a payload that is not kept whole."""
    if len(payload) <= LARGEST_REJECT:
        return ""
    return f" (of {len(payload):,} bytes only the first {LARGEST_REJECT:,} are kept: it cannot be tried again)"


def _key(reject: Reject) -> UUID | None:
    """A key that stays the same when a reject is delivered again, or written again because an answer was lost."""
    if reject.arrived is None and not reject.once:
        return None
    digest = blake2b(_text(reject.came_on).encode(), digest_size=16)
    digest.update(b"" if reject.once else b"\0%d\0" % (reject.arrived or 0))
    digest.update(reject.payload)
    return UUID(bytes=digest.digest())


def _text(text: str) -> str:
    return text.replace("\0", "�").encode("utf-8", "replace").decode()
