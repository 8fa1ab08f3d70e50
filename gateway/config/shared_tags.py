"""Equal tags and alarms of many devices as one object, so that a template's take memory once."""

from collections.abc import Iterable
from typing import Any, TypeVar

T = TypeVar("T")


class SharedTags:
    """The distinct tags, and objects about tags, seen so far."""

    def __init__(self) -> None:
        self._items: dict[Any, Any] = {}

    def of(self, items: Iterable[T]) -> tuple[T, ...]:
        """The items, each replaced by an equal earlier one if there is one."""
        return tuple(map(self._known, items))

    def _known(self, one: T) -> T:
        try:
            known: T = self._items.setdefault(one, one)
        except TypeError:  # addresses of other packages' drivers need not have a hash
            return one
        return known
