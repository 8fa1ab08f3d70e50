"""Deliveries to batches: which rows are written together, and when. Pure."""

from dataclasses import dataclass, field

from ingestion.rows import Row


@dataclass(frozen=True, slots=True)
class Reject:
    """What cannot be stored, and why."""

    topic: str
    payload: bytes
    reason: str


@dataclass(slots=True, eq=False)
class Batch:
    """Rows of one transaction, and how many deliveries they came in; `began` when the first of them came."""

    rows: list[Row] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    deliveries: int = 0
    began: float = 0.0

    @property
    def points(self) -> int:
        """What it weighs against the sizes in settings."""
        return len(self.rows) + len(self.rejects)

    def add(self, rows: list[Row], rejects: list[Reject], now: float) -> None:
        """Takes what one delivery gave."""
        if self.deliveries == 0:
            self.began = now
        self.deliveries += 1
        self.rows += rows
        self.rejects += rejects

    def due_in(self, now: float, points: int, seconds: float) -> float | None:
        """Seconds until it should be written: 0 when it is full, None while it is empty."""
        if self.deliveries == 0:
            return None
        return 0.0 if self.points >= points else max(0.0, self.began + seconds - now)
