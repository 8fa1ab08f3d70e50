"""May we try the device yet? Closed, open after failures in a row, half-open for one probe. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum


class State(IntEnum):
    """As shown in metrics."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


@dataclass(slots=True)
class Breaker:
    """A device's circuit breaker; `failures` in a row open it, and then one failed probe opens it again."""

    failures: int
    delay: Callable[[int], float]  # seconds to stay open, by how often it has opened in a row (1, 2, …)
    state: State = State.CLOSED
    failed: int = 0
    openings: int = 0
    until: float = 0.0

    def may_try(self, now: float) -> bool:
        """Whether a try is allowed at `now`; turns an open breaker half-open when its delay is over."""
        if self.state is State.OPEN and now >= self.until:
            self.state = State.HALF_OPEN
        return self.state is not State.OPEN

    def waits(self, now: float, seconds: float | None) -> bool:
        """Nothing was tried: the device gets its turn `seconds` later. False while the breaker is closed."""
        if seconds is None or self.state is State.CLOSED:
            return False
        self.state, self.until = State.OPEN, now + seconds
        return True

    def succeed(self) -> bool:
        """Notes a success; tells whether that closed the breaker."""
        reopened, self.state = self.state is not State.CLOSED, State.CLOSED
        self.failed = self.openings = 0
        return reopened

    def fail(self, now: float) -> bool:
        """Notes a failure; tells whether that opened a closed breaker."""
        self.failed += 1
        if self.state is State.CLOSED and self.failed < self.failures:
            return False
        opened = self.state is State.CLOSED
        self.state = State.OPEN
        self.openings += 1
        self.until = now + self.delay(self.openings)
        return opened
