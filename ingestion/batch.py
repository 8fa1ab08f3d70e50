"""Deliveries to batches: which rows are written together, and when. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ingestion.rows import Rows, Window


@dataclass(frozen=True, slots=True)
class Reject:
    """What cannot be stored, and why; `source` is the topic that it came on, where `topic` is one beneath it."""

    topic: str
    payload: bytes
    reason: str
    source: str | None = None


@dataclass(slots=True, eq=False)
class Batch:
    """What is written in one transaction; `late` are rows for chunks that are compressed, or aggregated, already.

    `began` when the first delivery came; `acknowledge` is called for each once all is committed, and `receipts` are
    publishers, with the first and last of the numbers that are in it. `deliveries`, topic and payload, are there if the
    way into the table may have to look at them again, and the window by which they were judged.
    """

    rows: Rows = field(default_factory=Rows)
    late: Rows = field(default_factory=Rows)
    rejects: list[Reject] = field(default_factory=list)
    acknowledge: list[Callable[[], None]] = field(default_factory=list)
    receipts: list[tuple[str, int, int]] = field(default_factory=list)
    deliveries: list[tuple[str, bytes]] = field(default_factory=list)
    window: Window | None = None
    size: int = 0  # bytes of the messages, about
    began: float = 0.0
    committed: bool = False

    @property
    def points(self) -> int:
        """What it weighs against the sizes in settings."""
        return self.rows.count + self.late.count + len(self.rejects)

    def due_in(self, now: float, points: int, seconds: float) -> float | None:
        """Seconds until it should be written: 0 when it is full, None while it is empty."""
        if not self.acknowledge:
            return None
        return 0.0 if self.points >= points else max(0.0, self.began + seconds - now)
