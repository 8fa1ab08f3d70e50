"""Mistakes in configuration files: where they are and what would be right, in terms of the file's keys."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from nexus.process.wording import words

MOST_SHOWN = 200
_LONGEST = 60  # characters of a value that are shown
_ORDERS = " (CDAB is `word_order: little`, BADC is `byte_order: little`, DCBA is both, ABCD is none)"
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")
_SHORTEST_SECRET = 3  # shorter secrets would occur in every sentence


@dataclass(frozen=True)
class Diagnostic:
    """One mistake in a file, and what would be right; several `devices` may share it through a template."""

    file: Path
    line: int | None
    what: str
    devices: dict[str, None] = field(default_factory=dict)

    @property
    def message(self) -> str:
        """What is wrong, without its place."""
        shared = f" (in {len(self.devices)} devices)" if len(self.devices) > 1 else ""
        return f"{next(iter(self.devices), '')}{self.what}{shared}"

    def __str__(self) -> str:
        return f"{self.file}{'' if self.line is None else f':{self.line}'}: {self.message}"


class Diagnostics:
    """Collects diagnostics; values from the environment are not shown."""

    def __init__(self) -> None:
        self._found: dict[tuple[Path, int | None, str], Diagnostic] = {}
        self._count = 0
        self.warnings: list[Diagnostic] = []  # of what works, but may not be intended
        self._warned: set[tuple[Path, int | None]] = set()
        self._left_out = 0
        self._secrets: dict[str, str] = {}
        self._unfilled: set[tuple[Path, int | None, str]] = set()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(sorted(self._found.values(), key=_place))

    def hide(self, value: str, name: str) -> None:
        """Hides a variable's `value`: messages show its `name` instead."""
        if len(value) >= _SHORTEST_SECRET:
            self._secrets[value] = f"${{{name}}}"

    def unfilled(self, file: Path, line: int, variable: str) -> None:
        """`${NAME}` has no value, which is already reported: other mistakes in that value follow from it."""
        self._unfilled.add((file, line, variable))

    def add(self, file: Path, line: int | None, message: str, device: str = "") -> None:
        """Notes a mistake; once, if several devices share it. `device` comes before the message."""
        if any((file, line) == (where, at) and variable in message for where, at, variable in self._unfilled):
            return
        self._count += 1
        for value, name in self._secrets.items():
            message, device = message.replace(value, name), device.replace(value, name)
        if (known := self._found.get((file, line, message))) is not None:
            known.devices[device] = None
        elif len(self._found) == MOST_SHOWN:
            self._left_out += 1
        else:
            self._found[file, line, message] = Diagnostic(file, line, message, {device: None})

    def warn(self, file: Path, line: int | None, message: str) -> None:
        """Notes what is allowed, but hardly intended."""
        if len(self.warnings) < MOST_SHOWN and (file, line) not in self._warned:  # once for all devices of a template
            self._warned.add((file, line))
            self.warnings.append(Diagnostic(file, line, message))

    def __str__(self) -> str:
        more = [f"and {self._left_out} more faults"] if self._left_out else []
        return "\n".join([*map(str, self), *more])


def _place(one: Diagnostic) -> tuple[Path, int]:
    return one.file, one.line or 0


def shown(value: object) -> str:
    """A value as shown in messages: never long, and never the content of a container."""
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def messages_of(
    error: ValidationError, model: type[BaseModel], beside: Iterable[str] = ()
) -> list[tuple[str | None, str]]:
    """A model's messages, each with the key that it concerns; `beside` are valid keys of other models."""
    found: dict[tuple[str, ...], tuple[str | None, str]] = {}
    for fault in error.errors(include_url=False):
        inner, path = _resolve(model, fault["loc"])
        message = _message(fault, path, inner, beside)
        found.setdefault(path, (path[0] if path else None, message))  # a union reports once for each of its members
    return list(found.values())


def unknown(key: str, known: Iterable[str]) -> str:
    """The message for an unknown key."""
    return f"unknown key {key!r}{closest(key.rpartition('.')[2], known)}"


def closest(word: object, known: Iterable[str]) -> str:
    """The closest of `known`, or all of them."""
    known = list(known)
    close = get_close_matches(str(word), known, 1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"


def _as_text(fault: ErrorDetails) -> str:
    """The remedy for a number that is written as a text."""
    value = fault.get("input")
    if fault["type"] not in ("float_type", "float_parsing", "int_type", "int_parsing") or not isinstance(value, str):
        return ""
    number = value.strip().replace(",", ".")
    return f", not the text {shown(value)}" + (f": write {number}" if _NUMBER.fullmatch(number) else "")


def _resolve(model: type[BaseModel], place: tuple[int | str, ...]) -> tuple[type[BaseModel], tuple[str, ...]]:
    """The path of keys to a fault, without pydantic's own parts, and the model of the last one."""
    path: list[str] = []
    inside = True
    for part in place:
        if not inside or not isinstance(part, str):
            break
        path.append(part if len(part) <= _LONGEST else f"{part[:_LONGEST]}…")
        nested = _model(model.model_fields.get(part))
        inside = nested is not None and len(path) < len(place)
        model = nested if nested is not None and inside else model
    return model, tuple(path)


def _model(field: FieldInfo | None) -> type[BaseModel] | None:
    kinds = () if field is None else (field.annotation, *get_args(field.annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _message(fault: ErrorDetails, path: tuple[str, ...], model: type[BaseModel], beside: Iterable[str]) -> str:
    kind = fault["type"]
    key = ".".join(path)
    if kind == "extra_forbidden":
        return unknown(key, [*model.model_fields, *(beside if len(path) == 1 else ())])
    if kind == "missing":
        return f"key {key!r} is missing"
    if path and kind != "list_type" and fault.get("input", "") is None:
        field = model.model_fields.get(path[-1])
        other = "" if field is None or field.is_required() else ", or leave the key out"
        return f"key {key!r} has no value: write one after the colon{other}"
    if kind in ("model_type", "model_attributes_type", "dict_type", "mapping_type"):
        inner = _model(model.model_fields.get(path[-1])) if path else None
        text = f"must be a mapping of keys: {', '.join((inner or model).model_fields)}"
    else:
        text = words(fault, model.model_fields.get(path[-1]) if path else None) + _as_text(fault)
        if path and path[-1] in ("word_order", "byte_order"):
            text += _ORDERS
    if not path:
        return text
    return f"{key} {text}" if text.startswith("must ") else f"{key}: {text}"
