"""Problems of the group that need a person's attention; each is logged once."""

from gateway import metrics
from nexus.process import log


class Problems:
    """By kind; presences that no gateway can have sent, by topic."""

    def __init__(self) -> None:
        self._problems: dict[str, str] = {}
        self._refused_at: str | None = None
        self._log = log.get("cluster")

    @property
    def all(self) -> list[str]:
        """As they stand now."""
        return list(self._problems.values())

    def note(self, kind: str, text: str | None) -> None:
        """Notes and logs a problem once; None when it is over."""
        if text is None:
            self._problems.pop(kind, None)
        elif self._problems.get(kind) != text:
            self._problems[kind] = text
            self._log.error("the group has a problem", problem=text)

    def refuse(self, place: str, reason: str) -> None:
        """Notes a presence that no gateway can have sent, and where."""
        metrics.presences_refused.inc()
        if self._refused_at is None:
            self._log.error("an invalid presence was refused", where=place, reason=reason)
            self._refused_at = place
        if self._refused_at == place:
            self._problems["presence"] = f"{place} holds an invalid presence: {reason}"

    def accept(self, place: str) -> None:
        """What was refused there has been replaced by a valid presence."""
        if self._refused_at == place:
            self._refused_at = None
            del self._problems["presence"]
