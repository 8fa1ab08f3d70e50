"""The ids that a gateway announces itself by: a new one at each start, and after it had to stop polling. Pure."""

from collections import deque
from collections.abc import Callable

MOST_IDS = 1000  # of our own that we recognise: an old message may come back late


class Instance:
    """Our id; `new_id` generates random ones, `before` is that of our previous process, which is known to be gone."""

    def __init__(self, new_id: Callable[[], str], before: str | None = None) -> None:
        self._new_id = new_id
        self.id = new_id()
        self._ids = deque([before or self.id, self.id], MOST_IDS)
        self._number = 0

    @property
    def ids(self) -> set[str]:
        """The ids that are or were ours."""
        return set(self._ids)

    def is_ours(self, one: str) -> bool:
        """Whether the id is or was ours."""
        return one in self._ids

    def renew(self) -> None:
        """Takes a new id."""
        self.id = self._new_id()
        self._ids.append(self.id)

    def next_number(self) -> int:
        """The sequence number of our next presence."""
        self._number += 1
        return self._number
