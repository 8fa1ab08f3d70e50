"""YAML with the line of each key, `${VARIABLES}` filled in, and no surprises of YAML 1.1."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_VARIABLE = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_BOOL = "tag:yaml.org,2002:bool"
_SURPRISES = (_BOOL, "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:int")


class _Loader(yaml.SafeLoader):
    """Booleans are only true and false: a tag may be called `on`, a unit `no`; and 1:30 is no number."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag not in _SURPRISES]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^(?:[-+]?[0-9]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")
)


def _decimal_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    """Numbers with leading zeros are decimal, as in 00001, and not octal."""
    text = loader.construct_scalar(node)
    return int(text, 16) if text.startswith("0x") else int(text)


_Loader.add_constructor("tag:yaml.org,2002:int", _decimal_int)


@dataclass(frozen=True)
class Place:
    """Where a mapping or sequence stands, and each of its keys or items."""

    file: Path
    line: int
    lines: Mapping[Any, int] = field(default_factory=dict)

    def of(self, key: object) -> int:
        """The line of a key, or of the whole if it has no such key."""
        return self.lines.get(key, self.line)


@dataclass(frozen=True)
class Fault:
    """What is wrong at one place of a file, and what would be right."""

    file: Path
    line: int | None
    message: str

    def __str__(self) -> str:
        return f"{self.file}{'' if self.line is None else f':{self.line}'}: {self.message}"


class Reader:
    """Reads files and remembers where each mapping and sequence came from; faults are collected, not raised."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self.faults: list[Fault] = []
        self._environment = environment
        self._places: dict[int, Place] = {}
        self._kept: list[object] = []  # so that no id is used twice

    def read(self, file: Path) -> Any:
        """The file's content, or None after a fault."""
        try:
            loader = _Loader(file.read_text(encoding="utf-8"))
            try:
                node = loader.get_single_node()
                return None if node is None else self._build(loader, node, file)
            finally:
                loader.dispose()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self.fault(file, mark.line + 1 if mark else None, f"this is not YAML: {error.problem or error.context}")
        except yaml.YAMLError as error:
            self.fault(file, None, f"this is not YAML: {error}")
        except UnicodeDecodeError as error:
            self.fault(file, None, f"this is not UTF-8 text: {error.reason} at byte {error.start}")
        except OSError as error:
            self.fault(file, None, f"cannot be read: {error.strerror}")
        except RecursionError:
            self.fault(file, None, "is nested too deeply, or contains itself")
        return None

    def place(self, container: object) -> Place:
        """Where a mapping or sequence that `read` or `merge` gave stands."""
        return self._places[id(container)]

    def merge(self, base: dict[Any, Any], over: dict[Any, Any]) -> dict[Any, Any]:
        """`over` on `base`, standing where `over` stands; keys from `base` keep their lines if the file is the same."""
        merged = {**base, **over}
        below, above = self.place(base), self.place(over)
        lines = {**(below.lines if below.file == above.file else {}), **above.lines}
        self._keep(merged, Place(above.file, above.line, lines))
        return merged

    def fault(self, file: Path, line: int | None, message: str) -> None:
        """Notes what is wrong."""
        self.faults.append(Fault(file, line, message))

    def _keep(self, container: Any, place: Place) -> Any:
        self._kept.append(container)
        self._places[id(container)] = place
        return container

    def _build(self, loader: _Loader, node: yaml.Node, file: Path) -> Any:
        line = node.start_mark.line + 1
        if isinstance(node, yaml.SequenceNode):
            items = [self._build(loader, item, file) for item in node.value]
            lines = {index: item.start_mark.line + 1 for index, item in enumerate(node.value)}
            return self._keep(items, Place(file, line, lines))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(loader, node, file, line)
        value = loader.construct_object(node)
        return self._filled(value, file, line) if isinstance(value, str) else value

    def _mapping(self, loader: _Loader, node: yaml.MappingNode, file: Path, line: int) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                self.fault(file, key.start_mark.line + 1, f"key {key.value!r} stands twice in this mapping: remove one")
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                seen.add(key.value)
        loader.flatten_mapping(node)
        built, lines = {}, {}
        for key_node, value in node.value:
            key = loader.construct_object(key_node)
            if not isinstance(key, str):
                self.fault(file, key_node.start_mark.line + 1, f"key {key_node.value!r} is no text: put it in quotes")
                continue
            built[key] = self._build(loader, value, file)
            lines[key] = key_node.start_mark.line + 1
        return self._keep(built, Place(file, line, lines))

    def _filled(self, text: str, file: Path, line: int) -> str:
        def value(match: re.Match[str]) -> str:
            if match[0] == "$$":
                return "$"
            if (found := self._environment.get(match[1])) is None:
                self.fault(file, line, f"the environment has no variable {match[1]}: set it, or write $$ for a dollar")
                return ""
            return found

        return _VARIABLE.sub(value, text)
