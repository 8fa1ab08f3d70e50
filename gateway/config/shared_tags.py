"""Equal tags and alarms of many devices as one object: a template's take their memory once."""

from collections.abc import Iterable
from typing import Any, TypeVar

T = TypeVar("T")


class SharedTags:
    """The tags, and what is said of tags, that there are so far."""

    def __init__(self) -> None:
        self._items: dict[Any, Any] = {}

    def of(self, items: Iterable[T]) -> tuple[T, ...]:
        """The same, of which those that are equal to earlier ones are these."""
        return tuple(map(self._known, items))

    def _known(self, one: T) -> T:
        try:
            known: T = self._items.setdefault(one, one)
        except TypeError:  # addresses of other packages' drivers need not have a hash
            return one
        return known
