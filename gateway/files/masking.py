"""Masks passwords written out in a device file; variables are shown as written. Pure."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.config.variables import allowed
from nexus.config.block import Block
from nexus.config.diagnostics import Diagnostics
from nexus.config.yaml_source import Reader

MASK = "********"
_KEY = "password"
_VARIABLE = re.compile(r"""["']?\$\{[A-Za-z_]\w*\}["']?""")
_PLAIN = r"(?!\#)(?:\$\{[^}\n]*\}|[^\s,}]|[ \t]+(?=[^\s#]))+"
_WRITTEN = re.compile(
    rf"""(?P<key>\b{_KEY}["']?[ \t]*:[ \t]*)(?P<value>"(?:[^"\\\n]|\\.)*"|'(?:[^'\n]|'')*'|{_PLAIN})"""
)
_NAMED = re.compile(r"\$\{([A-Za-z_]\w*)\}")


def masked(text: str) -> str | None:
    """The text with written-out passwords masked; None if one cannot be masked safely."""
    shown = _WRITTEN.sub(_replaced, text)
    return None if any(secret in shown for secret in _secrets(text)) else shown


def _replaced(match: re.Match[str]) -> str:
    value = match["value"].rstrip()
    if _VARIABLE.fullmatch(value):
        return match[0]
    return f"{match['key']}{MASK}{match['value'][len(value) :]}"


def _secrets(text: str) -> Iterator[str]:
    """The passwords in the YAML, without those that come from variables."""
    names = set(_NAMED.findall(text))
    found = Reader(Diagnostics(), dict.fromkeys(names, ""), allowed("")).read(
        Path("x"), text.encode("utf-8", "replace")
    )
    return (value for value in _passwords(found) if value)


def _passwords(value: Any) -> Iterator[str]:
    if isinstance(value, Block):
        for key, inner in value.items():
            if key == _KEY and isinstance(inner, str | int | float):
                yield str(inner)
            else:
                yield from _passwords(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _passwords(inner)
