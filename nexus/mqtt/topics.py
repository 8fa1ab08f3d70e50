"""Topics, and filters for subscriptions. Pure."""


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
