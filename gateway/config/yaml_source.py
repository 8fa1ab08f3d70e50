"""YAML with the line of each key, `${VARIABLES}` filled in, and no surprises of YAML 1.1.

Built straight from the events of libyaml: ten times as fast as its nodes, an alias is the same object and no copy, and
size and depth have an end before memory has.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from gateway.config.diagnostics import Diagnostics, shown

DEEPEST = 32
LONGEST = 4096  # characters of a text
MOST_NODES = 5_000_000  # of all files, copies by `<<` among them: 5,000 devices of 20 tags have 1.3 million

# Of these keys, and no others, the value may come from the environment: they say where a device is, and who we are to
# it. Everything else is published, logged or shown.
CONNECTING = frozenset(
    {
        "host",
        "port",
        "serial",
        "endpoint",
        "username",
        "password",
        "password_file",
        "certificate",
        "key",
        "trust",
    }
)

_VARIABLE = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_INT = re.compile(r"[-+]?[0-9]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_MOST_DIGITS = 30
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NAMED: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **{sign + text: float(sign + "inf") for sign in ("", "+", "-") for text in (".inf", ".Inf", ".INF")},
}
_NUMERIC = frozenset("+-.0123456789")
_TEXT = "tag:yaml.org,2002:str"


class Block(dict[str, Any]):
    """A mapping, and where it and its keys stand."""

    __slots__ = ("file", "line", "lines")

    def __init__(self, file: Path, line: int) -> None:
        super().__init__()
        self.file = file
        self.line = line
        self.lines: dict[str, int] = {}  # of keys that stand on other lines

    def of(self, key: object) -> int:
        """The line of a key, or of the whole if it has no such key."""
        return self.lines.get(key, self.line) if isinstance(key, str) else self.line


class Items(list[Any]):
    """A sequence, and the lines of its items."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: list[int] = []


def merged(base: Block, over: Block) -> Block:
    """`over` on `base`, standing where `over` stands; keys from `base` keep their lines if the file is the same."""
    made = Block(over.file, over.line)
    made.update(base)
    made.update(over)
    if base.file == over.file:
        made.lines = {key: base.of(key) for key in base}
    made.lines |= {key: over.of(key) for key in over}
    return made


class Reader:
    """Turns the text of files into mappings and lists; faults are collected, not raised."""

    def __init__(
        self, diagnostics: Diagnostics, environment: Mapping[str, str] = os.environ, prefix: str = "DEVICE_"
    ) -> None:
        self._diagnostics = diagnostics
        self._environment = environment
        self._prefix = prefix
        self._left = MOST_NODES

    def read(self, file: Path, data: bytes) -> Any:
        """The file's content; None if it has none, or after a fault."""
        left = self._left
        try:
            return _Document(self, file, data.decode("utf-8-sig")).read()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = min(mark.line + 1, len(data.splitlines())) if mark else None  # not after the end
            self._diagnostics.add(file, line, f"this is not YAML: {error.problem or error.context}")
        except yaml.YAMLError as error:
            reason = getattr(error, "reason", None) or str(error).partition("\n")[0]
            self._diagnostics.add(file, None, f"this is not YAML: {reason}")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            self._diagnostics.add(file, line, "this is not UTF-8 text: save the file as UTF-8")
        except _TooMuchError as error:
            self._left = left  # nothing of it is kept
            self._diagnostics.add(file, error.line, error.message)
        return None

    def count(self, nodes: int, line: int) -> None:
        """So many values more."""
        self._left -= nodes
        if self._left < 0:
            raise _TooMuchError(line, f"with this the files hold more than {MOST_NODES:,} values: use templates")

    def fault(self, file: Path, line: int, message: str) -> None:
        """Notes what is wrong."""
        self._diagnostics.add(file, line, message)

    def filled(self, text: str, key: str | None, file: Path, line: int) -> str:
        """`text`, the value of `key`, with its variables."""

        def value(match: re.Match[str]) -> str:
            if match[0] == "$$":
                return "$"
            if (fault := self._refused(match[1], key)) is not None:
                self._diagnostics.add(file, line, fault)
                self._diagnostics.unfilled(file, line, match[0])
                return match[0]
            found = self._environment[match[1]]
            self._diagnostics.hide(found, match[1])
            return found

        return _VARIABLE.sub(value, text)

    def _refused(self, name: str, key: str | None) -> str | None:
        if key not in CONNECTING:
            where = ", ".join(sorted(CONNECTING))
            return f"${{{name}}} cannot stand here, but only as the value of {where}; write $$ for a dollar"
        if not name.startswith(self._prefix):
            prefix = f"{self._prefix} (NEXUS_DEVICE_PREFIX)"
            return f"${{{name}}} is not for device files: their variables begin with {prefix}"
        if (found := self._environment.get(name)) is None:
            return f"the environment has no variable {name}: set it, or write $$ for a dollar"
        if not found.isprintable():
            return f"the variable {name} holds a line break, or other characters that are no text"
        return None


def _untagged(tag: str) -> str:
    return f"the tag {tag.replace('tag:yaml.org,2002:', '!!')[:60]} is not known here: leave it out"


class _TooMuchError(Exception):
    """The file is refused as a whole."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


class _Document:
    """One file on its way from events to what it says."""

    def __init__(self, reader: Reader, file: Path, text: str) -> None:
        self._reader = reader
        self._file = file
        self._next: Callable[[], Any] = yaml.CSafeLoader(text).get_event
        self._anchors: dict[str, Any] = {}
        self._count = reader.count

    def read(self) -> Any:
        self._next()
        if isinstance(self._next(), yaml.StreamEndEvent):
            return None
        found = self._value(self._next(), None, 0)
        self._next()
        if not isinstance(more := self._next(), yaml.StreamEndEvent):
            self._fault(more, "a second document begins here: a file holds one, remove the `---`")
        return found

    def _value(self, event: Any, key: str | None, depth: int) -> Any:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            if event.anchor is not None:
                self._anchors[event.anchor] = event
            return self._scalar(event, key)
        if kind is yaml.AliasEvent:
            return self._alias(event, key)
        line = event.start_mark.line + 1
        if depth == DEEPEST:
            raise _TooMuchError(line, f"this is nested more than {DEEPEST} deep: a device file is not")
        self._count(1, line)
        if event.tag is not None:
            self._fault(event, _untagged(event.tag))
        if event.anchor is not None:
            self._anchors.pop(event.anchor, None)
        made = self._mapping(line, depth + 1) if kind is yaml.MappingStartEvent else self._sequence(line, depth + 1)
        if event.anchor is not None:
            self._anchors[event.anchor] = made  # only now: what contains itself has no end
        return made

    def _sequence(self, line: int, depth: int) -> Items:
        items = Items(line)
        while type(event := self._next()) is not yaml.SequenceEndEvent:
            items.append(self._value(event, None, depth))
            items.lines.append(event.start_mark.line + 1)
            self._count(1, line)
        return items

    def _mapping(self, line: int, depth: int) -> Block:
        block = Block(self._file, line)
        bases: list[Block] = []
        while type(event := self._next()) is not yaml.MappingEndEvent:
            key = self._key(event, depth)
            value = self._value(self._next(), key, depth)
            self._count(2, line)
            if key is None:
                continue
            if key == "<<" and event.implicit[0]:
                bases += self._bases(event, value)
                continue
            at = event.start_mark.line + 1
            if key in block:
                self._fault(event, f"key {shown(key)} stands twice in this mapping: remove one")
            block[key] = value
            if at != line:
                block.lines[key] = at
        for base in bases:
            self._count(len(base), line)
            block.update({key: value for key, value in base.items() if key not in block})
        return block

    def _key(self, event: Any, depth: int) -> str | None:
        if type(event) is yaml.ScalarEvent:
            key = event.value if event.value == "<<" else self._scalar(event, None)
            if isinstance(key, str):
                return key
            self._fault(event, f"key {shown(event.value)} is no text: put it in quotes")
            return None
        self._value(event, None, depth)
        self._fault(event, "a key is a text, and no list or mapping")
        return None

    def _bases(self, event: Any, value: Any) -> list[Block]:
        found = value if isinstance(value, list) else [value]
        if all(isinstance(one, Block) for one in found):
            return found
        self._fault(event, "`<<` takes a mapping, or a list of them")
        return []

    def _alias(self, event: Any, key: str | None) -> Any:
        if event.anchor not in self._anchors:
            self._fault(event, f"*{event.anchor} stands for nothing: there is no &{event.anchor} that ends above it")
            return None
        found = self._anchors[event.anchor]
        # A variable is filled in where it is used, not where it was named.
        return self._scalar(found, key) if type(found) is yaml.ScalarEvent else found

    def _scalar(self, event: Any, key: str | None) -> Any:
        text: str = event.value
        if event.tag is not None and event.tag not in ("!", _TEXT):
            self._fault(event, _untagged(event.tag))
        elif event.implicit[0]:
            if text in _NAMED:
                return _NAMED[text]
            if text[0] in _NUMERIC and (number := self._number(event, text)) is not None:
                return number
        if len(text) > LONGEST:
            self._fault(event, f"a text of {len(text):,} characters is longer than any that is meant here")
            return text[:LONGEST]
        if not text.isprintable() and _CONTROL.search(text):
            self._fault(event, f"{shown(text)} holds a line break, or another control character: remove it")
        return self._reader.filled(text, key, self._file, event.start_mark.line + 1) if "$" in text else text

    def _number(self, event: Any, text: str) -> int | float | None:
        """Numbers with leading zeros are decimal, as in 00001, and 1:30 is none."""
        is_int = _INT.fullmatch(text) is not None
        if len(text) > _MOST_DIGITS and (is_int or _HEX.fullmatch(text) or _FLOAT.fullmatch(text)):
            self._fault(event, f"a number of {len(text)} digits: write it shorter, or in quotes if it is a text")
            return 0
        if is_int:
            return int(text)
        if _HEX.fullmatch(text):
            return int(text, 16)
        return float(text) if _FLOAT.fullmatch(text) else None

    def _fault(self, event: Any, message: str) -> None:
        self._reader.fault(self._file, event.start_mark.line + 1, message)
