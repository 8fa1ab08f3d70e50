"""Topics on which only gateways may speak. Pure."""

from collections.abc import Collection, Iterable, Sequence

from nexus.contract import topic


def standing_in(topics: Iterable[str], paths: Sequence[str], tags: Collection[str]) -> list[str]:
    """Those of `topics` at, above or below a device's topic or a tag's; `paths` are of devices, `tags` are topics."""
    devices = {topic.device(path) for path in paths}
    above = {up for device in devices for up in _up(device)}
    return sorted(
        {one for one in topics if one in above or any(up in devices or up in tags for up in (one, *_up(one)))}
    )


def _up(name: str) -> Iterable[str]:
    """All that it is below."""
    while len(name := name.rpartition("/")[0]) > len(topic.ROOT):
        yield name
