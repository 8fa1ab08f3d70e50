"""Signals: how the values of simulated devices change over time."""

import math
from random import Random
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from nexus.process.duration import Seconds

_STRICT = ConfigDict(extra="forbid", frozen=True)
_random = Random()  # noqa: S311  simulates a plant, no secret


class Wave(Protocol):
    """A running signal. `now` in seconds since the start."""

    def __call__(self, now: float, /) -> float | str: ...


class Constant(BaseModel):
    """Always the same value."""

    model_config = _STRICT
    kind: Literal["constant"]
    value: float | str

    def start(self) -> Wave:
        return lambda _: self.value


class Sine(BaseModel):
    """Swings between min and max once a period."""

    model_config = _STRICT
    kind: Literal["sine"]
    min: float
    max: float
    period: Seconds = Field(60.0, gt=0)

    def start(self) -> Wave:
        middle, half = (self.max + self.min) / 2, (self.max - self.min) / 2
        return lambda now: middle + half * math.sin(2 * math.pi * now / self.period)


class Ramp(BaseModel):
    """Rises from min to max in a period, then starts again."""

    model_config = _STRICT
    kind: Literal["ramp"]
    min: float
    max: float
    period: Seconds = Field(60.0, gt=0)

    def start(self) -> Wave:
        return lambda now: self.min + (self.max - self.min) * (now % self.period / self.period)


class Square(BaseModel):
    """Half a period low, half a period high."""

    model_config = _STRICT
    kind: Literal["square"]
    low: float = 0
    high: float = 1
    period: Seconds = Field(10.0, gt=0)

    def start(self) -> Wave:
        return lambda now: self.high if now % self.period >= self.period / 2 else self.low


class Counter(BaseModel):
    """Rises by `step`: with every read, so that a missing or doubled value shows, or once in `every`."""

    model_config = _STRICT
    kind: Literal["counter"]
    start_at: int = 0
    step: int = 1
    every: Seconds | None = None

    def start(self) -> Wave:
        if self.every is not None:
            every = self.every
            return lambda now: self.start_at + self.step * int(now / every)
        value = self.start_at - self.step

        def count(_: float) -> float:
            nonlocal value
            value += self.step
            return value

        return count


class RandomWalk(BaseModel):
    """Wanders by up to `step` a read, within min and max."""

    model_config = _STRICT
    kind: Literal["random_walk"]
    min: float
    max: float
    step: float = Field(1.0, gt=0)

    def start(self) -> Wave:
        value = (self.min + self.max) / 2

        def walk(_: float) -> float:
            nonlocal value
            value = min(self.max, max(self.min, value + _random.uniform(-self.step, self.step)))
            return value

        return walk


class String(BaseModel):
    """One text after the other, each for a period."""

    model_config = _STRICT
    kind: Literal["string"]
    values: list[str] = Field(min_length=1)
    period: Seconds = Field(10.0, gt=0)

    def start(self) -> Wave:
        return lambda now: self.values[int(now / self.period) % len(self.values)]


Signal = Annotated[Constant | Sine | Ramp | Square | Counter | RandomWalk | String, Field(discriminator="kind")]
