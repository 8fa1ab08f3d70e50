"""Derived tags: read, checked for cycles, and put into the order in which they are calculated."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import get_args

from nexus.alarms.expression import ExpressionError, parse
from nexus.config.block import Block
from nexus.config.expressions import KnownTag, kind_of, read_expression, refuse_torn
from nexus.config.keys import DerivedKeys
from nexus.config.location import SourceLocation, WrongKeyError, reported
from nexus.readings.definition import DerivedTag, Kind

SOURCES: tuple[Kind, ...] = get_args(Kind)
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class _Found:
    location: SourceLocation
    keys: DerivedKeys
    key: Kind
    text: str


def is_derived(raw: Block) -> bool:
    """Whether a tag is calculated, rather than read from the device."""
    return any(key in raw for key in SOURCES)


def read_derived(
    locations: Sequence[SourceLocation], known: dict[str, KnownTag], keys_of_read: Collection[str] = ()
) -> list[DerivedTag]:
    """The valid ones, each after those that it is derived from; the others are reported.

    `known` are all tags of the device, these included, of which more is known afterwards; `keys_of_read` are the keys
    of tags that are read from a device.
    """
    found: dict[str, _Found] = {}
    for location in locations:
        if (one := reported(location, _read, location, keys_of_read)) is not None:
            found[one.keys.name] = one
    made = (reported(found[name].location, _made, found[name], known) for name in _ordered(found))
    return [tag for tag in made if tag is not None]


def _read(location: SourceLocation, keys_of_read: Collection[str]) -> _Found | None:
    """Its keys. Raises WrongKeyError."""
    raw = location.block
    refuse_torn(raw)
    for key in (raw.keys() & set(keys_of_read)) - DerivedKeys.model_fields.keys():
        raise WrongKeyError(key, f"{key} is for tags that are read from the device: leave it out")
    if (keys := location.checked(DerivedKeys, raw)) is None:
        return None
    given = [key for key in SOURCES if key in raw]
    if len(given) > 1:
        raise WrongKeyError(given[1], f"is derived by {' and '.join(given)}: write a tag for each")
    [key] = given
    if (keys.per is not None) != (key == "total"):
        raise WrongKeyError("per", "total needs `per`, the time that its rate is given for: s, min or h")
    return _Found(location, keys, key, str(raw[key]))


def _ordered(found: dict[str, _Found]) -> list[str]:
    """Their names, in the order in which they are calculated; those in a cycle are reported, and left out."""
    inputs: dict[str, frozenset[str]] = {}
    for name, one in found.items():
        inputs[name] = frozenset()
        with suppress(ExpressionError):  # reported later, when more is known
            inputs[name] = parse(one.text).names & found.keys()
    while True:
        try:
            return list(TopologicalSorter(inputs).static_order())
        except CycleError as error:
            *names, last = error.args[1][::-1]
            chain = " ← ".join([*names, last])
            found[last].location.fault(found[last].key, f"is derived from itself: {chain}")
            inputs = {name: some - {last} for name, some in inputs.items() if name != last}


def _made(one: _Found, known: dict[str, KnownTag]) -> DerivedTag:
    """Raises WrongKeyError."""
    keys, is_total = one.keys, one.key != "expression"
    expression = read_expression(one.key, one.text, known, is_condition=is_total)
    kind = kind_of(expression, known)
    if one.key == "total" and kind == "boolean":
        raise WrongKeyError("total", "this is true or false, and no rate: write `runtime` for the hours it is true")
    interval = max(known[tag].interval or 0.0 for tag in expression.names)
    known[keys.name] = KnownTag("number" if is_total else kind, interval or None)
    per, unit = keys.per or "s", keys.unit
    if one.key == "runtime":
        per, unit = "h", unit or "h"
    return DerivedTag(keys.name, one.key, expression, _SECONDS[per], unit, keys.report, interval)
