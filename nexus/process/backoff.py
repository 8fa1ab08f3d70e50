"""Growing, jittered pauses between tries, where no call is retried that tenacity could wrap."""

import random

FIRST_SECONDS, LONGEST_SECONDS = 0.5, 30.0
STABLE_SECONDS = 60.0  # after running for so long, the first pause applies again


def delay(tries: int, first: float, longest: float) -> float:
    """Seconds before the next try, after so many in a row (1, 2, …): doubled each time, with up to half of it added.

    Also the longest pauses differ, so that many who lost the same thing do not come back at once.
    """
    doubled = min(longest / 1.5, first * 2.0 ** min(tries - 1, 64))
    return max(first, doubled * random.uniform(1.0, 1.5))  # noqa: S311  spreads load, protects nothing


class Backoff:
    """The pauses of something that is started again whenever it fails."""

    def __init__(self, longest: float = LONGEST_SECONDS) -> None:
        self._longest = longest
        self._tries = 0

    def pause(self, ran: float) -> float:
        """Seconds to wait now that it has failed after running for `ran` seconds."""
        self._tries = 1 if ran > STABLE_SECONDS else self._tries + 1
        return delay(self._tries, FIRST_SECONDS, self._longest)
