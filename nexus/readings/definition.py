"""What a device file says of a derived tag: an expression over other tags, or a total of one."""

from dataclasses import dataclass
from typing import Literal

from nexus.alarms.expression import Expression
from nexus.contract.totals import TotalKind
from nexus.readings.report import Report

Kind = Literal["expression", TotalKind]


@dataclass(frozen=True, slots=True)
class DerivedTag:
    """A tag of which the device knows nothing.

    Its value is that of the `expression`; or of a `total` the integral over time of what the expression gives for each
    `per` seconds; of a `runtime` the time for which it was true, by `per` seconds; and of a `count` how many times it
    became true.
    `interval` in seconds is that of its slowest input.
    """

    name: str
    kind: Kind
    expression: Expression
    per: float = 1.0
    unit: str | None = None
    report: Report | None = None
    interval: float = 1.0
