"""Groups deliveries into batches: which rows are written together, and when. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Protocol

import msgspec

from ingestion.decode.rows import Rows, Window
from nexus.contract.alarm import AlarmMessage
from nexus.contract.audit import Record
from nexus.contract.completeness import Completeness

_MESSAGE_BYTES = 400  # what Python needs around a small one
_CHARACTER_BYTES = 8  # bytes per character of a text that is not ASCII, with its copy in UTF-8, at most
_TAG_BYTES = 150  # around a text, and around its copy when it is written


class Acknowledge(Protocol):
    """Acknowledges messages of a connection by their packet ids, so that the broker may forget them."""

    def __call__(self, *packet_ids: int | None) -> None: ...


class Delivery(msgspec.Struct, frozen=True):
    """A message, and the function that acknowledges it, together with others of its connection.

    `arrived` in epoch ms; `session` is the number of the broker's session, which sends it again unless it is of QoS 0
    and has no packet id.
    """

    topic: str
    payload: bytes
    packet_id: int | None
    acknowledge: Acknowledge
    arrived: int
    session: int = 0

    @property
    def size(self) -> int:
        """Approximate bytes. A broker may send more messages than the receive maximum allows: Mosquitto 2.0.11 does."""
        topic = len(self.topic) * (1 if self.topic.isascii() else _CHARACTER_BYTES)
        return _MESSAGE_BYTES + topic + len(self.payload)


@dataclass(frozen=True, slots=True)
class Reject:
    """What cannot be stored, and why.

    `source` is the topic of the message, if `topic` is one below it. `tags` are the refused tags of a message whose
    other tags are stored; empty if the payload is a row in our own format. `arrived` in epoch ms. `publisher` is set
    for a message that wants a receipt, `time` (epoch ms) for a row.
    """

    topic: str
    payload: bytes
    reason: str
    source: str | None = None
    tags: tuple[str, ...] | None = None
    arrived: int | None = None
    publisher: str | None = None
    time: int | None = None

    @property
    def came_on(self) -> str:
        """The topic of the message."""
        return self.source or self.topic

    @property
    def once(self) -> bool:
        """Whether an equal payload is always a repetition; otherwise only one that arrived at the same time is."""
        return self.publisher is not None or self.tags == ()

    @property
    def size(self) -> int:
        """Approximate bytes beside those of the message: the names of many refused tags take several times as many."""
        return sum(_TAG_BYTES + len(tag) for tag in self.tags or ())


@dataclass(slots=True, eq=False)
class Batch:
    """What is written in one transaction; `late` rows belong to chunks that are already compressed or aggregated.

    `began` is when the first delivery arrived. Deliveries are acknowledged once everything is committed; until then
    they can be decoded again, with the time window of their arrival. `receipts` are publisher, first and last number.
    """

    rows: Rows = field(default_factory=Rows)
    late: Rows = field(default_factory=Rows)
    records: list[Record | Completeness | AlarmMessage] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    receipts: list[tuple[str, int, int]] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)  # one per delivery
    size: int = 0  # approximate bytes of the messages, their rows and their rejects
    began: float = 0.0
    committed: bool = False

    @property
    def points(self) -> int:
        """Its size as the settings count: rows, rejects and records."""
        return self.rows.count + self.late.count + len(self.rejects) + len(self.records)

    def due_in(self, now: float, points: int, seconds: float) -> float | None:
        """Seconds until it should be written: 0 when it is full, None while it is empty."""
        if not self.deliveries:
            return None
        return 0.0 if self.points >= points else max(0.0, self.began + seconds - now)


def acknowledge(deliveries: Iterable[Delivery]) -> None:
    """Acknowledges these messages, in order."""
    for together, some in groupby(deliveries, attrgetter("acknowledge")):
        together(*(delivery.packet_id for delivery in some))
