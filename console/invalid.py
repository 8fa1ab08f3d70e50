"""What is wrong with a request, in words that say what to send instead; pydantic's own name no remedy."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_TIME = "write it like 2026-11-26T15:10:08Z (RFC 3339)"
_DECODED_PLUS = re.compile(r"T.* \d\d(:?\d\d)?$")
_PLUS = "in a URL write %2B for +, which is a space there, like 2026-11-26T15:10:08%2B01:00"
_WHOLE = "write a whole number"
_NUMBER = "write a number"
_BOOLEAN = "write true or false"

_NO_TIME = ("datetime_type", "datetime_parsing", "datetime_from_date_parsing")

Context = Mapping[str, Any]
_WORDS: Mapping[str, Callable[[Context], str]] = {
    "missing": lambda _: "is missing: send it too",
    "extra_forbidden": lambda _: "is not known here: leave it out, or check its spelling",
    "less_than": lambda of: f"send less than {of['lt']}",
    "less_than_equal": lambda of: f"send at most {of['le']}",
    "greater_than": lambda of: f"send more than {of['gt']}",
    "greater_than_equal": lambda of: f"send at least {of['ge']}",
    "string_too_short": lambda of: f"write at least {of['min_length']} characters",
    "string_too_long": lambda of: f"write at most {of['max_length']} characters",
    "too_short": lambda of: f"send at least {of['min_length']}, not {of['actual_length']}",
    "too_long": lambda of: f"send at most {of['max_length']} at once, not {of['actual_length']}",
    "literal_error": lambda of: f"write {of['expected']}",
    "enum": lambda of: f"write {of['expected']}",
    "string_type": lambda _: "write a text",
    "list_type": lambda _: "send a list",
    "dict_type": lambda _: "send an object",
    "model_attributes_type": lambda _: 'send an object in JSON, with the header "Content-Type: application/json"',
    "finite_number": lambda _: "write a finite number",
    "timezone_aware": lambda _: f"has no time zone: {_TIME}",
    "json_invalid": lambda of: f"is not JSON: {of['error']}",
    "value_error": lambda of: str(of["error"]),
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), lambda _: _WHOLE),
    **dict.fromkeys(("float_type", "float_parsing"), lambda _: _NUMBER),
    **dict.fromkeys(("bool_type", "bool_parsing"), lambda _: _BOOLEAN),
    **dict.fromkeys(_NO_TIME, lambda _: _TIME),
}


def said(faults: Sequence[Any]) -> str:
    """Each of pydantic's faults with its place: `points: send at most 10000`."""
    return "; ".join(f"{_place(fault)}: {_words(fault)}" for fault in faults)


def _place(fault: Mapping[str, Any]) -> str:
    # A body that is not JSON has the number of a character for a place.
    inner = () if fault["type"] == "json_invalid" else fault["loc"][1:]
    return ".".join(map(str, inner)) or "body"


def _words(fault: Mapping[str, Any]) -> str:
    if fault["type"] in _NO_TIME and _DECODED_PLUS.search(str(fault.get("input"))):
        return _PLUS
    words = _WORDS.get(fault["type"])
    return words(fault.get("ctx", {})) if words else fault["msg"]
