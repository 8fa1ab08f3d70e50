"""Expressions in a device file, checked against the tags of the device."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from nexus.alarms.expression import Expression, ExpressionError, parse
from nexus.config.block import Block
from nexus.config.location import WrongKeyError

Kind = Literal["number", "boolean", "text"]


@dataclass(frozen=True, slots=True)
class KnownTag:
    """What is known of a tag's values: of what kind they are, if its driver tells, and every how many seconds it is
    read, if that is regular.
    """

    kind: Kind | None = None
    interval: float | None = None


def refuse_torn(raw: Block) -> None:
    """Raises WrongKeyError where YAML took the comma of `min(a, b)` for one between keys."""
    for key, value in raw.items():
        if value is None and ")" in key:
            raise WrongKeyError(key, "an expression with a comma must be in quotes here, between { and }")


def read_expression(key: str, text: str, known: Mapping[str, KnownTag], *, is_condition: bool) -> Expression:
    """The expression of `key`; a condition's result must not be a text. Raises WrongKeyError."""
    try:
        expression = parse(text, known)
    except ExpressionError as error:
        raise WrongKeyError(key, f"{key}: {error}") from None
    if (fault := _fault(expression, known, is_condition=is_condition)) is not None:
        raise WrongKeyError(key, f"{key}: {fault}")
    return expression


def kind_of(expression: Expression, known: Mapping[str, KnownTag]) -> Kind | None:
    """What kind of results it has, if that is known."""
    if expression.kind == "tag":
        [name] = expression.names
        return known[name].kind
    return expression.kind


def _fault(expression: Expression, known: Mapping[str, KnownTag], *, is_condition: bool) -> str | None:
    if not expression.names:
        return "this names no tag, and so never changes"
    for name in sorted(expression.numbers):
        if known[name].kind == "text":
            return f"tag {name} is a text, and a number is needed: compare it, as in {name} == 'RUN'"
    for name in sorted(expression.texts):
        if known[name].kind in ("number", "boolean"):
            return f"tag {name} is a {known[name].kind}, and is compared with a text"
    if is_condition and kind_of(expression, known) == "text":
        return f"this is a text, which is neither true nor false: compare it, as in {expression.text} == 'RUN'"
    return None
