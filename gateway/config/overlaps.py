"""Tags of a device that overlap in its memory: readable, but hardly ever intended. Pure."""

from collections.abc import Iterable, Iterator

from gateway.drivers.driver import Extent


def overlaps(extents: Iterable[tuple[str, Extent]]) -> Iterator[tuple[str, str, Extent]]:
    """Each tag that begins within another one, with that other one and its place. The very same place is none.

    The same place under two names is how a value is read as two types, or at two intervals.
    """
    furthest: tuple[str, Extent] | None = None
    for name, extent in sorted(extents, key=lambda one: (one[1].space, one[1].start, -one[1].count)):
        if furthest is None or extent.space != furthest[1].space or extent.start >= furthest[1].end:
            furthest = (name, extent)
        elif (extent.start, extent.count) != (furthest[1].start, furthest[1].count):
            yield name, furthest[0], furthest[1]
            if extent.end > furthest[1].end:
                furthest = (name, extent)
