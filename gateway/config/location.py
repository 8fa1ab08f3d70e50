"""Where in the files, and in which device and tag, something is being checked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from gateway.config.block import Block
from gateway.config.diagnostics import Diagnostics, messages_of, shown

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """A mapping of a file; `label` says whose it is."""

    diagnostics: Diagnostics
    block: Block
    label: str

    def fault(self, key: str | None, message: str) -> None:
        """Notes what is wrong, at the line of `key`."""
        self.diagnostics.add(self.block.file, self.block.line_of(key), f"{self.label}: {message}")

    def warn(self, key: str | None, message: str) -> None:
        """Notes what is allowed, but hardly meant."""
        self.diagnostics.warn(self.block.file, self.block.line_of(key), f"{self.label}: {message}")

    def warn_of_unseen(self, key: str, name: str) -> None:
        """Of a name that looks like another one: two topics could not be told apart."""
        if name != name.strip() or not name.isprintable():
            self.warn(key, f"{key} {shown(name)} has spaces at an end, or characters that cannot be seen: remove them")

    def checked(self, kind: type[M], raw: dict[str, Any], beside: Iterable[str] = ()) -> M | None:
        """`raw` as a model, or None if it is wrong; keys of `beside` are offered as right spellings too."""
        wrong = [key for key, value in raw.items() if isinstance(value, bool) and not _takes_truth(kind, key)]
        for name in wrong:  # pydantic would take true for 1
            self.fault(name, f"{name} must be a number, not true or false")
        try:
            found = kind.model_validate(raw)
            return None if wrong else found
        except ValidationError as error:
            for key, message in messages_of(error, kind, beside):
                self.fault(key, message)
            return None


def without_wrong_keys(kind: type[M], raw: Mapping[str, object]) -> M | None:
    """By which an address can be read beside a wrong key; None if it may hang on that key."""
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
    # Of what is no number the model itself says so.
    return known is None or not {int, float}.intersection((known.annotation, *get_args(known.annotation)))
