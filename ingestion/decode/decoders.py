"""Decoders of payloads: chosen by topic from a table in settings; our own two formats are the default."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Literal

import jmespath
import msgspec
from jmespath.exceptions import JMESPathError
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from nexus import mqtt
from nexus.contract import codec, topic
from nexus.contract.codec import DecodeError, Fault, Message
from nexus.contract.reading import Quality, Value

Decode = Callable[[str, bytes, int], Message]  # topic, payload, and when it arrived (epoch ms)

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_EXACT_INT = 2**53  # beyond this a float loses digits
_WORDS = {"true": True, "false": False}
_MOST_KNOWN = 16_000_000  # approximate bytes of topics whose decoder is remembered
_TOPIC_BYTES = 200
_UNITS = {"s": 1000.0, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
_MAGNITUDES = ((1e17, "ns"), (1e14, "us"), (1e11, "ms"))  # unit by magnitude


class Rule(BaseModel):
    """How payloads on `topic`, an MQTT filter, are decoded. The other keys are for `json`, as JMESPath expressions.

    `value` gives the topic's single value. `values` gives several, each stored below the topic by its name: a mapping
    of names to expressions, or one expression that gives an object. Without `time`, the time of arrival counts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    topic: str
    decoder: Literal["nexus", "plain", "json"]
    value: str | None = None
    values: str | dict[str, str] | None = None
    time: str | None = None
    time_unit: Literal["auto", "s", "ms", "us", "ns"] = "auto"
    quality: str | None = None
    unit: str | None = None
    units: dict[str, str] = Field(default_factory=dict)

    @field_validator("topic")
    @classmethod
    def _is_filter(cls, text: str) -> str:
        if not mqtt.is_filter(text) or text.startswith("$"):
            raise ValueError(f"{text!r} is not an MQTT filter: + stands for one level, # for the rest")
        return text

    @model_validator(mode="after")
    def _is_whole(self) -> "Rule":
        given = self.model_fields_set - {"topic", "decoder"}
        if self.decoder != "json" and given:
            raise ValueError(f"{', '.join(sorted(given))}: only the decoder json takes these")
        if self.decoder == "json" and (self.value is None) == (self.values is None):
            raise ValueError("the decoder json needs either value or values")
        several = self.values.values() if isinstance(self.values, dict) else [self.values]
        for expression in (self.value, *several, self.time, self.quality, self.unit):
            if expression is not None:
                _compiled(expression)
        return self


class Decoders:
    """Decodes by topic: with the first rule that matches, or else our own formats."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = [(rule.topic, _decoder(rule)) for rule in rules]
        self._known: dict[str, Decode] = {}
        self._known_bytes = 0

    def decode(self, name: str, payload: bytes, arrived: int) -> Message:
        """Decodes a payload that arrived then (epoch ms). Raises DecodeError."""
        if not self._rules:
            return codec.decode(name, payload)
        if (found := self._known.get(name)) is None:
            self._known_bytes += _TOPIC_BYTES + 4 * len(name)
            if self._known_bytes > _MOST_KNOWN:
                self._known.clear()
                self._known_bytes = 0
            matching = (decode for pattern, decode in self._rules if mqtt.matches(pattern, name))
            found = self._known[name] = next(matching, _ours)
        return found(name, payload, arrived)


def filters(group: str, rules: Sequence[Rule]) -> list[str]:
    """Filters to subscribe to: readings, what else gateways have stored, and the topics of rules outside them."""
    beyond = (rule.topic for rule in rules if not rule.topic.startswith(topic.ROOT))
    others = (f"$share/{group}/{name}" for name in dict.fromkeys(beyond))
    own = (topic.shared_filter, topic.shared_audit_filter, topic.shared_completeness_filter, topic.shared_alarm_filter)
    return [*(of(group) for of in own), *others]


def _decoder(rule: Rule) -> Decode:
    if rule.decoder == "nexus":
        return _ours
    return _plain if rule.decoder == "plain" else _Json(rule).decode


def _ours(name: str, payload: bytes, _: int) -> Message:
    return codec.decode(name, payload)


def _plain(name: str, payload: bytes, arrived: int) -> Message:
    """A bare number, true, false, or a text; its time is that of arrival."""
    try:
        text = payload.decode().strip()
    except UnicodeDecodeError:
        raise DecodeError("not a number, and no text in UTF-8") from None
    if not text:
        raise DecodeError("the payload is empty")
    value: Value = _number(text) if _NUMBER.fullmatch(text) else _WORDS.get(text.lower(), text)
    if value is None:
        return Message(name, arrived, {"": None}, {"": Quality.BAD})
    return Message(name, arrived, {"": value})


def _number(text: str) -> float | int | None:
    """A float; an integer where that would lose digits; None for what no float can hold."""
    number = float(text)
    if not isfinite(number):
        return None
    if abs(number) >= _EXACT_INT and text.lstrip("+-").isdecimal():
        return int(text)
    return number


class _Json:
    """Decodes other vendors' JSON."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._paths = {name: _compiled(expression) for name, expression in _named(rule).items()}
        self._object = _compiled(rule.values) if isinstance(rule.values, str) else None
        self._time, self._quality, self._unit = (
            _compiled(text) if text is not None else None for text in (rule.time, rule.quality, rule.unit)
        )

    def decode(self, name: str, payload: bytes, arrived: int) -> Message:
        try:
            content = msgspec.json.decode(payload)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise DecodeError(f"not JSON: {error}") from None
        try:
            found = self._values(content)
            at = _milliseconds(self._time.search(content), self._rule.time_unit) if self._time else arrived
            quality = codec.quality(self._quality.search(content)) if self._quality else None
            unit = self._unit.search(content) if self._unit else None
        except (JMESPathError, ArithmeticError, ValueError) as error:
            raise DecodeError(str(error)) from None
        values = {tag: value for tag, value in found.items() if _is_value(value)}
        wrong = [tag for tag, value in found.items() if not _is_value(value)]
        if not values:
            raise DecodeError("no number, text, true or false where the rule looks for values")
        units = dict.fromkeys(values, unit) if isinstance(unit, str) else {}
        return Message(
            name,
            at,
            values,
            {} if quality is None else dict.fromkeys(values, quality),
            units | self._rule.units,
            faults=[Fault(tag, "not a number, text, true or false") for tag in wrong],
        )

    def _values(self, content: Any) -> dict[str, Any]:
        if self._object is None:
            found = {tag: path.search(content) for tag, path in self._paths.items()}
            return {tag: value for tag, value in found.items() if value is not None} or found
        found = self._object.search(content)
        if not isinstance(found, dict):
            raise DecodeError(f"{self._rule.values!r} is not an object here")
        return {tag: value for tag, value in found.items() if tag}


def _is_value(found: object) -> bool:
    """Whether this can be a reading's value; an expression may compute infinity."""
    return isinstance(found, Value) and not (isinstance(found, float) and not isfinite(found))


def _named(rule: Rule) -> dict[str, str]:
    if rule.value is not None:
        return {"": rule.value}
    return rule.values if isinstance(rule.values, dict) else {}


def _compiled(expression: str) -> Any:
    try:
        return jmespath.compile(expression)
    except JMESPathError as error:
        raise ValueError(f"{expression!r} is not JMESPath: {str(error).splitlines()[0]}") from None


def _milliseconds(found: Any, unit: str) -> int:
    """Epoch milliseconds of a number, or of a time as ISO 8601 writes it; without an offset it is UTC."""
    if isinstance(found, str) and not _NUMBER.fullmatch(found):
        try:
            moment = datetime.fromisoformat(found)
        except ValueError:
            raise DecodeError(f"time {found!r} is neither a number nor in ISO 8601") from None
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    if isinstance(found, bool) or not isinstance(found, int | float | str):
        raise DecodeError("there is no time where the rule looks for it")
    try:
        number = float(found)
    except OverflowError:
        raise DecodeError("the time is too large a number") from None
    if unit == "auto":
        unit = next((name for least, name in _MAGNITUDES if abs(number) >= least), "s")
    return codec.milliseconds(number * _UNITS[unit])
