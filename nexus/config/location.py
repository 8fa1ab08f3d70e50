"""The place in a file that is being checked, with its device and tag."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, ParamSpec, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from nexus.config.block import Block
from nexus.config.diagnostics import Diagnostics, messages_of, shown, unknown

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")
P = ParamSpec("P")

# Control characters, and Unicode's noncharacters.
_NONCHARACTERS = "".join(chr(plane * 0x10000 + end) for plane in range(17) for end in (0xFFFE, 0xFFFF))
_REFUSED = re.compile(f"[\x00-\x1f\x7f-\x9f\ufdd0-\ufdef{_NONCHARACTERS}]")
_ALIKE = 0.75  # of two keys; `name` and `username` are 0.67


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """A mapping of a file; `label` says whose it is, and `part` which part of that."""

    diagnostics: Diagnostics
    block: Block
    label: str
    part: str = ""

    def fault(self, key: str | None, message: str) -> None:
        """Notes a mistake, at the line of `key`."""
        self.diagnostics.add(self.block.file, self.block.line_of(key), f"{self.part}: {message}", self.label)

    def warn(self, key: str | None, message: str) -> None:
        """Notes what is allowed, but hardly intended."""
        self.diagnostics.warn(self.block.file, self.block.line_of(key), f"{self.label}{self.part}: {message}")

    def check_seen(self, key: str, name: str) -> None:
        """Refuses a name that brokers disconnect over; warns of one that looks like another."""
        if refused := _REFUSED.search(name):
            self.fault(key, f"{key} {shown(name)} has the character U+{ord(refused[0]):04X}, on which brokers hang up")
        elif name != name.strip() or not name.isprintable():
            self.warn(key, f"{key} {shown(name)} has spaces at an end, or characters that cannot be seen: remove them")

    def checked(
        self, kind: type[M], raw: dict[str, Any], beside: Iterable[str] = (), context: object = None
    ) -> M | None:
        """`raw` as a model, or None if it is wrong; keys of `beside` are offered as right spellings too.

        `context` is what the model's validators are told.
        """
        wrong = [key for key, value in raw.items() if isinstance(value, bool) and not _takes_truth(kind, key)]
        for name in wrong:  # pydantic would take true for 1
            self.fault(name, f"{name} must be a number, not true or false")
        try:
            found = kind.model_validate(raw, context=context)
            return None if wrong else found
        except ValidationError as error:
            for key, message in messages_of(error, kind, beside):
                if (misspelt := self._misspelt(kind, key)) is not None:
                    self.fault(misspelt, unknown(misspelt, (str(key),)))
                else:
                    self.fault(key, message)
            return None

    def _misspelt(self, kind: type[BaseModel], missing: str | None) -> str | None:
        """The key that was probably meant to be a missing one."""
        if missing is None or missing in self.block or missing not in kind.model_fields:
            return None
        others = [key for key in self.block if isinstance(key, str) and key not in kind.model_fields]
        return next(iter(get_close_matches(missing, others, 1, _ALIKE)), None)


class WrongKeyError(Exception):
    """What is wrong with the value of a key, or with the whole block."""

    def __init__(self, key: str | None, message: str) -> None:
        super().__init__(message)
        self.key = key


def reported(location: SourceLocation, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """The result of `read`; None if it raises a WrongKeyError, which is noted."""
    try:
        return read(*args, **kwargs)
    except WrongKeyError as error:
        location.fault(error.key, str(error))
        return None


def shown_name(raw: Block) -> str:
    """The name of a device, a tag or an alarm for messages, as far as it has one."""
    name = raw.get("name") or "(no name)"
    return name if isinstance(name, str) and len(name) < 100 else shown(name)


def without_wrong_keys(kind: type[M], raw: Mapping[str, object]) -> M | None:
    """The keys without wrong ones, so that an address can still be checked; None if it may depend on those."""
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False, include_context=False)
    if any(one["type"] == "literal_error" for one in errors):
        return None
    wrong = {one["loc"][0] for one in errors if one["loc"]}
    return kind.model_construct(None, **{key: value for key, value in raw.items() if key not in wrong})


@cache
def _takes_truth(kind: type[BaseModel], key: str) -> bool:
    known = kind.model_fields.get(key)
    # Other types are refused by the model itself.
    return known is None or not {int, float}.intersection((known.annotation, *get_args(known.annotation)))
