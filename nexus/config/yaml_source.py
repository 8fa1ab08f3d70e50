"""YAML files as mappings and lists that know their lines; docs/decisions/015-yaml.md says why from libyaml's events.

An alias is the same object, not a copy, and size and depth are bounded well below what memory allows.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from nexus.config.block import Block, Items
from nexus.config.diagnostics import Diagnostics, shown
from nexus.config.scalars import LONGEST, plain, text_fault
from nexus.config.variables import Allowed, Variables
from nexus.config.yaml_problems import problem_of

DEEPEST = 32
MOST_NODES = 5_000_000  # in all files, copies by `<<` included: 5,000 devices with 20 tags each have 1.3 million

_TEXT = "tag:yaml.org,2002:str"


class Reader:
    """Reads files one after the other; mistakes are collected, not raised."""

    def __init__(self, diagnostics: Diagnostics, environment: Mapping[str, str], allowed: Allowed) -> None:
        self._diagnostics = diagnostics
        self._variables = Variables(environment, allowed, diagnostics)
        self._left = MOST_NODES

    def read(self, file: Path, data: bytes) -> Any:
        """The file's content; None if it is empty, or invalid as a whole."""
        text = ""
        try:
            text = data.decode("utf-8-sig")
            document = _Document(file, text, self._diagnostics, self._variables, self._left)
            found = document.read()
            self._left = document.left
            return found
        except yaml.MarkedYAMLError as error:
            line, problem = problem_of(error, text)
            self._diagnostics.add(file, line, f"this is not YAML: {problem}")
        except yaml.YAMLError as error:
            reason = getattr(error, "reason", None) or str(error).partition("\n")[0]
            self._diagnostics.add(file, None, f"this is not YAML: {reason}")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            self._diagnostics.add(file, line, "this is not UTF-8 text: save the file as UTF-8")
        except _TooLargeError as error:
            self._diagnostics.add(file, error.line, str(error))
        return None


def _with_comma(given: Any, event: Any) -> str | None:
    """The number that was probably meant: `{scale: 0,1}` reads as the value 0 and another key 1."""
    is_number = all(type(one) is yaml.ScalarEvent and one.implicit[0] for one in (given, event))
    if not is_number or not event.value.isdecimal() or not given.value.lstrip("+-").isdecimal():
        return None
    return f"{given.value}.{event.value}"


class _TooLargeError(Exception):
    """The file is refused as a whole."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class _Document:
    """Builds one file's content from its events; counts its values against `left`."""

    def __init__(self, file: Path, text: str, diagnostics: Diagnostics, variables: Variables, left: int) -> None:
        self._file = file
        self._next: Callable[[], Any] = yaml.CSafeLoader(text).get_event
        self._diagnostics = diagnostics
        self._variables = variables
        self._anchors: dict[str, Any] = {}
        self.left = left

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
            raise _TooLargeError(line, f"this is nested more than {DEEPEST} deep: no file needs that")
        self._count(1, line)
        if event.tag is not None:
            self._unknown_tag(event)
        if event.anchor is not None:
            self._anchors.pop(event.anchor, None)
        made = self._mapping(line, depth + 1) if kind is yaml.MappingStartEvent else self._sequence(line, depth + 1)
        if event.anchor is not None:
            self._anchors[event.anchor] = made  # only now: an alias within its own anchor would be endless
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
        key, given = None, None
        while type(event := self._next()) is not yaml.MappingEndEvent:
            if (number := _with_comma(given, event)) is not None:  # of the key before
                self._fault(event, f"{key}: the decimal sign is a point: write {number}")
                if key is not None:
                    block[key] = float(number)
                self._value(self._next(), None, depth)
                continue
            key = self._key(event, depth)
            given = self._next()
            value = self._value(given, key, depth)
            self._count(2, line)
            if key is None:
                continue
            if key == "<<" and event.implicit[0]:
                bases += self._bases(event, value)
                continue
            at = event.start_mark.line + 1
            if key in block:
                self._fault(event, f"key {shown(key)} appears twice in this mapping: remove one")
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
            self._fault(event, f"key {shown(event.value)} is not a text: put it in quotes")
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
            self._fault(event, f"*{event.anchor} refers to nothing: there is no &{event.anchor} that ends above it")
            return None
        found = self._anchors[event.anchor]
        # A variable is filled in where the alias is used, not where its anchor is.
        return self._scalar(found, key) if type(found) is yaml.ScalarEvent else found

    def _scalar(self, event: Any, key: str | None) -> Any:
        text: str = event.value
        if event.tag is not None and event.tag not in ("!", _TEXT):
            self._unknown_tag(event)
        elif event.implicit[0]:
            try:
                found = plain(text)
            except ValueError as error:
                self._fault(event, str(error))
                return 0
            if not isinstance(found, str):
                return found
        if (fault := text_fault(text)) is not None:
            self._fault(event, fault)
        if len(text) > LONGEST:
            return text[:LONGEST]
        return self._variables.fill(text, key, self._file, event.start_mark.line + 1) if "$" in text else text

    def _count(self, nodes: int, line: int) -> None:
        self.left -= nodes
        if self.left < 0:
            raise _TooLargeError(line, f"with this the files hold more than {MOST_NODES:,} values: use templates")

    def _unknown_tag(self, event: Any) -> None:
        tag = event.tag.replace("tag:yaml.org,2002:", "!!")[:60]
        self._fault(event, f"the tag {tag} is not known here: leave it out")

    def _fault(self, event: Any, message: str) -> None:
        self._diagnostics.add(self._file, event.start_mark.line + 1, message)
