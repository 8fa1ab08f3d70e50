"""What an unquoted YAML scalar means: YAML 1.2, where `no`, `12:30` and `2026-01-31` are texts. Pure."""

import re
from typing import Any

from nexus.config.diagnostics import shown

LONGEST = 4096  # characters of a text
_MOST_DIGITS = 30

_INT = re.compile(r"[-+]?[0-9]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NUMERIC = frozenset("+-.0123456789")
_NAMED: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **{sign + text: float(sign + "inf") for sign in ("", "+", "-") for text in (".inf", ".Inf", ".INF")},
}


def plain(text: str) -> Any:
    """None, a boolean, a number (leading zeros are decimal), or the text itself. Raises ValueError for huge numbers."""
    if text in _NAMED:
        return _NAMED[text]
    if text[0] not in _NUMERIC:
        return text
    is_int = _INT.fullmatch(text) is not None
    is_hex = not is_int and _HEX.fullmatch(text) is not None
    if not is_int and not is_hex and _FLOAT.fullmatch(text) is None:
        return text
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} digits: write it shorter, or in quotes if it is a text")
    return int(text) if is_int else int(text, 16) if is_hex else float(text)


def text_fault(text: str) -> str | None:
    """What is wrong with a text, if anything."""
    if len(text) > LONGEST:
        return f"a text of {len(text):,} characters is longer than any that is meant here"
    if not text.isprintable() and _CONTROL.search(text):
        return f"{shown(text)} holds a line break, or another control character: remove it"
    return None
