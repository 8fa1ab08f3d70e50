"""How many requests a second are taken for one device. Pure."""


class Allowance:
    """So many a second by device; `now` in seconds."""

    def __init__(self, a_second: int) -> None:
        self._most = a_second
        self._began = 0.0
        self._taken: dict[str, int] = {}  # in this second, by device

    def take(self, path: str, now: float) -> int:
        """By how many this request exceeds what is allowed; 0 if it may be taken."""
        if now - self._began > 1:
            self._began = now
            self._taken.clear()
        self._taken[path] = self._taken.get(path, 0) + 1
        return max(0, self._taken[path] - self._most)
