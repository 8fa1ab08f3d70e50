"""Expressions over the tags of a device, as in `temperature > 80 and not stopped`: read once, and evaluated often."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from math import isfinite

from nexus.alarms.functions import Run, compiled
from nexus.alarms.grammar import ExpressionError, Grammar, Kind
from nexus.contract.reading import Value

__all__ = ["EvaluationError", "Expression", "ExpressionError", "parse"]

FAULTS = (ArithmeticError, LookupError, TypeError, ValueError)  # of values that do not fit

_SMALLEST, _LARGEST = -(2**63), 2**64 - 1  # whole numbers that a reading may have


class EvaluationError(Exception):
    """There is no result for these values. The text is for the operator."""


@dataclass(frozen=True, slots=True)
class Expression:
    """`names` are the tags that it is about, `numbers` those that must be numbers, true or false, and `texts` texts.

    Of `kind` tag is one that is just a tag's name. `run` gives the bare result for all tags' values, or raises FAULTS.
    """

    text: str
    names: frozenset[str] = field(compare=False, repr=False)
    kind: Kind = field(compare=False, repr=False)
    numbers: frozenset[str] = field(compare=False, repr=False)
    texts: frozenset[str] = field(compare=False, repr=False)
    run: Run = field(compare=False, repr=False)

    def evaluate(self, values: Mapping[str, Value]) -> Value:
        """The result for the tags' values; those that are bad are None, or not there. Raises EvaluationError."""
        try:
            found = self.run(values)
        except FAULTS as error:
            raise EvaluationError(self._reason(error, values)) from None
        if found is True or found is False:
            return found
        if found is None:
            raise EvaluationError(self._unfit(values))
        if not isinstance(found, str) and not _is_sayable(found):
            raise EvaluationError("the result is larger than numbers are")
        return found

    def is_true(self, values: Mapping[str, Value]) -> bool:
        """The same as a condition: a number is true if it is not 0. Raises EvaluationError."""
        found = self.evaluate(values)
        if isinstance(found, str):
            raise EvaluationError(f"{self.text} is a text, which is neither true nor false")
        return bool(found)

    def _reason(self, error: Exception, values: Mapping[str, Value]) -> str:
        if isinstance(error, ZeroDivisionError):
            return "division by zero"
        if isinstance(error, ArithmeticError):
            return "a result is larger than numbers are"
        if isinstance(error, ValueError):
            return "bit() takes whole numbers, and ** no negative number to the power of a fraction"
        return self._unfit(values)

    def _unfit(self, values: Mapping[str, Value]) -> str:
        """Which tag's value does not fit."""
        for name in sorted(self.names):
            if values.get(name) is None:
                return f"tag {name} has no value"
            if name in self.numbers and isinstance(values[name], str):
                return f"tag {name} is a text, and a number is needed"
            if name in self.texts and not isinstance(values[name], str):
                return f"tag {name} is not a text, and is compared with one"
        return f"a text is compared with a number: {', '.join(sorted(self.names))}"

    def __reduce__(self) -> tuple[Callable[[str], "Expression"], tuple[str]]:
        return parse, (self.text,)  # code cannot be pickled


def parse(text: str, known: Collection[str] | None = None) -> Expression:
    """Reads an expression over the tags that are `known`, or over any. Raises ExpressionError."""
    expression, names = _parsed(text.strip())
    if known is None:
        return expression
    for name, column in names:
        if name not in known:
            raise ExpressionError(f"there is no tag {name!r} here{_meant(name, text, known)}", expression.text, column)
    return expression


@lru_cache(maxsize=10_000)  # devices of one template have the same ones
def _parsed(text: str) -> tuple[Expression, tuple[tuple[str, int], ...]]:
    grammar = Grammar(text)
    whole = grammar.read()
    names, numbers, texts = map(frozenset, (grammar.names, grammar.numbers, grammar.texts))
    expression = Expression(text, names, whole.kind, numbers, texts, compiled(whole.code))
    return expression, tuple(grammar.names.items())


def _is_sayable(number: float) -> bool:
    return isfinite(number) if isinstance(number, float) else _SMALLEST <= number <= _LARGEST


def _meant(name: str, text: str, known: Collection[str]) -> str:
    """What was probably meant by a name that is none."""
    for one in known:
        if one in text and name in one and one != name:  # temp-1 looks like temp minus 1
            return f'; write tag("{one}") for the tag {one}'
    close = get_close_matches(name, known, 1) or get_close_matches(name.lower(), known, 1)
    some = sorted(known)[:8]
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(some)}{' …' if len(known) > 8 else ''}"
