"""Equal tags of many devices as one object: a template's take their memory once."""

from collections.abc import Iterable

from gateway.drivers.driver import Tag


class SharedTags:
    """The tags that there are so far."""

    def __init__(self) -> None:
        self._tags: dict[Tag, Tag] = {}

    def of(self, tags: Iterable[Tag]) -> tuple[Tag, ...]:
        """The same tags, of which those that are equal to earlier ones are these."""
        return tuple(map(self._known, tags))

    def _known(self, tag: Tag) -> Tag:
        try:
            return self._tags.setdefault(tag, tag)
        except TypeError:  # addresses of other packages' drivers need not have a hash
            return tag
