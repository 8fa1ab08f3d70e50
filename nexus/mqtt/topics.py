"""Topics, and filters for subscriptions. Pure."""

from collections.abc import Iterable, Iterator

_MOST_BYTES = 16_000  # of the filters of a packet: small enough for any broker that does not say what it takes
_OVERHEAD = 8  # bytes of a filter beside its text, and of a packet


def packed(filters: Iterable[str], most_bytes: int) -> Iterator[list[str]]:
    """Filters, in order, in portions that fit into a packet of so many bytes; one that does not stands alone."""
    most = min(_MOST_BYTES, most_bytes - _OVERHEAD)
    some: list[str] = []
    room = most
    for one in filters:
        size = len(one.encode()) + _OVERHEAD
        if some and size > room:
            yield some
            some, room = [], most
        some.append(one)
        room -= size
    if some:
        yield some


def is_topic(text: str) -> bool:
    """Whether this is a valid topic to publish on."""
    return bool(text) and "+" not in text and "#" not in text and "\0" not in text


def is_filter(text: str) -> bool:
    """Whether this is a valid filter to subscribe with."""
    levels = text.split("/")
    whole = all(level == "+" or not {"+", "#"} & set(level) for level in levels[:-1])
    return bool(text) and "\0" not in text and whole and (levels[-1] in "+#" or not {"+", "#"} & set(levels[-1]))


def matches(pattern: str, topic: str) -> bool:
    """Whether a filter matches a topic. Wildcards do not match the broker's own topics, `$…`."""
    if topic.startswith("$") and not pattern.startswith("$"):
        return False
    wanted, found = pattern.split("/"), topic.split("/")
    if wanted[-1] == "#":
        wanted.pop()
        found = found[: len(wanted)] if len(found) >= len(wanted) else found
    return len(wanted) == len(found) and all(one in ("+", other) for one, other in zip(wanted, found, strict=True))
