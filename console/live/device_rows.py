"""Device states as JSON, each made once a change, however many are sent it. Pure."""

from collections.abc import Callable, Iterator

from console.live.retained import Retained

MOST_KEPT = 100_000


class DeviceRows:
    """The devices in the order of their last change; `row` makes one's JSON."""

    def __init__(self, retained: Retained, row: Callable[[str], bytes]) -> None:
        self._retained = retained
        self._row = row
        self._rows: dict[str, tuple[int, bytes]] = {}  # and the change that it shows

    @property
    def last_change(self) -> int:
        """The number of the newest change."""
        return self._retained.last_change

    def changed(self, seen: int) -> Iterator[tuple[int, str]]:
        """Number and path of each device that has changed since, the last first."""
        for path, number in reversed(self._retained.changes.items()):
            if number <= seen:
                return
            yield number, path

    def all(self) -> list[tuple[str, bytes]]:
        """Path and row of each device, by path."""
        changes = self._retained.changes
        return [(path, self.row(changes.get(path, 0), path)) for path in self._retained.paths]

    def row(self, number: int, path: str) -> bytes:
        """The device as it is after that change."""
        if (known := self._rows.get(path)) is None or known[0] != number:
            if len(self._rows) >= MOST_KEPT:
                self._rows.clear()
            known = self._rows[path] = (number, self._row(path))
        return known[1]
