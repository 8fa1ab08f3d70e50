"""A route as the file has it."""

from collections.abc import Collection
from datetime import time, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from console.notify.channels.parts import STRICT, Texts, listed
from console.notify.event import Told
from console.notify.routes import Route, Step
from console.notify.windows import Window, read_days, read_hours
from nexus.config.block import Block
from nexus.config.diagnostics import closest, shown
from nexus.config.location import SourceLocation
from nexus.contract.alarm import Priority
from nexus.process.duration import Seconds


def _filters(found: tuple[str, ...]) -> tuple[str, ...]:
    for text in found:
        levels = text.split("/")
        if "" in levels:
            raise ValueError(f"{shown(text)} has an empty level: write it like plant/line1/#")
        if "#" in levels[:-1] or any(len(level) > 1 and {"+", "#"}.intersection(level) for level in levels):
            raise ValueError(f"{shown(text)} is no filter: + stands for one level, and # only at the end for all below")
    return found


class _StepKeys(BaseModel):
    model_config = STRICT
    after: Seconds = Field(ge=1, le=7 * 86_400)
    to: Texts = Field(min_length=1)


class _Keys(BaseModel):
    model_config = STRICT
    name: str = Field(min_length=1, max_length=100)
    to: Texts = Field(min_length=1)
    priority: Annotated[tuple[Priority, ...], BeforeValidator(listed)] = ()
    device: Annotated[Texts, AfterValidator(_filters)] = ()
    alarm: Texts = ()
    days: Annotated[Any, AfterValidator(lambda found: read_days([str(one) for one in listed(found)]))] = Window().days
    hours: Annotated[Any, AfterValidator(lambda found: read_hours(str(found)))] = (time(0), time(0))
    tell: Annotated[tuple[Told, ...], BeforeValidator(listed)] = ("raised",)
    escalate: list[Any] = []


def read_route(location: SourceLocation, receivers: Collection[str]) -> Route | None:
    """The route; None if something is wrong with it, which is noted."""
    before = len(location.diagnostics)
    keys = location.checked(_Keys, dict(location.block))
    _check_receivers(location, receivers)
    raw = location.block.get("escalate")
    steps = [_step(location, one, receivers) for one in raw] if isinstance(raw, list) else []
    if keys is None or len(location.diagnostics) > before:
        return None
    return Route(
        keys.name,
        tuple(dict.fromkeys(keys.to)),
        frozenset(keys.priority),
        keys.device,
        frozenset(keys.alarm),
        Window(keys.days, *keys.hours),
        frozenset(keys.tell),
        tuple(step for step in steps if step is not None),
    )


def _step(location: SourceLocation, raw: object, receivers: Collection[str]) -> Step | None:
    if not isinstance(raw, Block):
        location.fault("escalate", "escalate must be a list of mappings like {after: 10m, to: manager}")
        return None
    inner = SourceLocation(location.diagnostics, raw, location.label, f"{location.part}, escalate")
    keys = inner.checked(_StepKeys, dict(raw))
    _check_receivers(inner, receivers)
    return None if keys is None else Step(timedelta(seconds=keys.after), tuple(dict.fromkeys(keys.to)))


def _check_receivers(location: SourceLocation, receivers: Collection[str]) -> None:
    given = location.block.get("to")
    for one in given if isinstance(given, list) else [given]:
        if isinstance(one, str) and one not in receivers:
            location.fault("to", f"there is no receiver {shown(one)}{closest(one, receivers) if receivers else ''}")
