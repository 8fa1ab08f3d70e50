"""A publisher's name and its sequence numbers: `p`, `n` and `m` of a message, and when they are trusted."""

import re

import msgspec

_NAME = re.compile(r"[0-9a-f]{32}")
_END = 2**53  # the largest integer that every JSON parser keeps exactly
_MOST_KNOWN = 10_000

_known: set[str] = set()


def is_publisher(name: object) -> bool:
    """Whether it is 128 bits as hex digits, as a gateway's spool makes them."""
    return name.__class__ is str and (name in _known or _is_new_publisher(name))


def _is_new_publisher(name: str) -> bool:
    if not _NAME.fullmatch(name):
        return False
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    _known.add(name)
    return True


Numbers = tuple[str | None, tuple[int, int], bool]  # publisher, first and last, whether they were refused
UNNUMBERED: Numbers = (None, (0, -1), False)
_MISNUMBERED: Numbers = (None, (0, -1), True)


def numbers(publisher: object, first: object, last: object, readings: int) -> Numbers:
    """What a message of so many readings says of its numbers: one each, and nothing beyond, or they are not believed.

    A message that claimed more would make its publisher forget readings that nobody has.
    """
    if publisher is None:
        return UNNUMBERED
    if last is None:
        last = first
    if (  # by class: true is not a number, and this is a hot path
        first.__class__ is int
        and last.__class__ is int
        and first > 0
        and last < _END
        and last - first + 1 == readings
        and is_publisher(publisher)
    ):
        return publisher, (first, last), False  # type: ignore[return-value]
    return _MISNUMBERED


NOTHING = msgspec.Raw(b"null")


class _In(msgspec.Struct, gc=False):
    """The numbers of a message that is otherwise unreadable, and how many readings it has."""

    p: msgspec.Raw = NOTHING
    n: msgspec.Raw = NOTHING
    m: msgspec.Raw = NOTHING
    v: msgspec.Raw = NOTHING


_decoder = msgspec.json.Decoder(_In)
_tags_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


def sender(payload: bytes) -> tuple[str | None, tuple[int, int]]:
    """Publisher and numbers of a message that is otherwise unreadable, as far as they can be believed."""
    try:
        message = _decoder.decode(payload)
        readings = len(_tags_decoder.decode(message.v)) if bytes(message.v)[:1] == b"{" else 1
    except _UNREADABLE:
        return None, (0, -1)
    return numbers(*loosely(message.p, message.n, message.m), readings)[:2]


def loosely(*raws: msgspec.Raw) -> tuple[object, object, object]:
    """`p`, `n` and `m`, of any type, so that wrong ones do not spoil the rest of the message."""
    found: list[object] = []
    for raw in raws:
        try:
            found.append(msgspec.json.decode(raw))
        except _UNREADABLE:
            found.append(False)
    return found[0], found[1], found[2]
