"""Whose frame is due when: one timer for all clients, whose frames are spread over the second. Pure."""

from console.live.client import Client

TICKS = 50  # a second


class Wheel:
    """Clients by the tick at which their next frame is due."""

    def __init__(self) -> None:
        self._slots: list[list[Client]] = [[] for _ in range(TICKS)]
        self._tick = 0
        self._next = 0  # where the next newcomer goes

    def add(self, client: Client) -> None:
        """A newcomer: one after the other they are spread over the ticks."""
        self._next = (self._next + 1) % _ticks(client)
        self._slots[(self._tick + 1 + self._next) % TICKS].append(client)

    def turn(self) -> list[Client]:
        """Those whose frame is due at the next tick; each is due again by its rate, as long as it is open."""
        self._tick = tick = (self._tick + 1) % TICKS
        due = [client for client in self._slots[tick] if client.is_open]
        self._slots[tick] = []
        for client in due:
            self._slots[(tick + _ticks(client)) % TICKS].append(client)
        return due


def _ticks(client: Client) -> int:
    """Between two of its frames; never more frames than it asked for."""
    return -(-TICKS // client.rate)
