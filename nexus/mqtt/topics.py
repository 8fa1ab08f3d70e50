"""Topics, and the filters that one subscribes with. Pure."""


def is_topic(text: str) -> bool:
    """Whether one can publish on this."""
    return bool(text) and "+" not in text and "#" not in text and "\0" not in text


def is_filter(text: str) -> bool:
    """Whether one can subscribe to this."""
    levels = text.split("/")
    whole = all(level == "+" or not {"+", "#"} & set(level) for level in levels[:-1])
    return bool(text) and "\0" not in text and whole and (levels[-1] in "+#" or not {"+", "#"} & set(levels[-1]))


def matches(pattern: str, topic: str) -> bool:
    """Whether a topic is one that a filter speaks of. Wildcards do not take topics of the broker's own, `$…`."""
    if topic.startswith("$") and not pattern.startswith("$"):
        return False
    wanted, found = pattern.split("/"), topic.split("/")
    if wanted[-1] == "#":
        wanted.pop()
        found = found[: len(wanted)] if len(found) >= len(wanted) else found
    return len(wanted) == len(found) and all(one in ("+", other) for one, other in zip(wanted, found, strict=True))
