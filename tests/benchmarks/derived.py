"""Expressions and derived tags: what a value costs, beside the same in plain Python. Prints JSON, in microseconds.

    python -m tests.benchmarks.derived [--rounds N]

Floors: of an expression, the lambda that somebody would write by hand; of derived tags, that lambda and making the
reading. Each figure is the best of five runs.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from functools import partial
from time import process_time
from typing import Any

from nexus.alarms.expression import parse
from nexus.contract.reading import Reading, Value
from nexus.readings.calculation import Calculation
from nexus.readings.definition import DerivedTag

VALUES: Mapping[str, Any] = {"voltage": 230.0, "current": 12.5, "temperature": 84.5, "stopped": False, "status": 10}
EXPRESSIONS: Mapping[str, Callable[[Mapping[str, Any]], Value]] = {
    "voltage * current / 1000": lambda v: v["voltage"] * v["current"] / 1000,
    "temperature > 80 and not stopped": lambda v: v["temperature"] > 80 and not v["stopped"],
    "10 < temperature < 90 or bit(status, 3)": lambda v: 10 < v["temperature"] < 90 or bool(v["status"] >> 3 & 1),
    "max(voltage, current) - min(voltage, current)": lambda v: (
        max(v["voltage"], v["current"]) - min(v["voltage"], v["current"])
    ),
}
TAGS = 100


def best(work: Callable[[], object], rounds: int, values: int = 1) -> float:
    """Microseconds of CPU a value."""
    times = []
    for _ in range(5):
        began = process_time()
        for _ in range(rounds):
            work()
        times.append(process_time() - began)
    return round(min(times) / rounds / values * 1e6, 3)


def expressions(rounds: int) -> dict[str, Any]:
    found = {}
    for text, by_hand in EXPRESSIONS.items():
        expression = parse(text)
        found[text] = {
            "us": best(partial(expression.evaluate, VALUES), rounds),
            "floor_us": best(partial(by_hand, VALUES), rounds),
        }
    return found


def derived(rounds: int) -> dict[str, Any]:
    """A scan of a device of which each tag has one that is derived from it."""
    names = [f"t{number}" for number in range(TAGS)]
    by_kind = {
        "expression": [DerivedTag(f"d{name}", "expression", parse(f"{name} * 2.5 + 1")) for name in names],
        "total": [DerivedTag(f"d{name}", "total", parse(name), 3600.0) for name in names],
    }
    found: dict[str, Any] = {}
    for kind, tags in by_kind.items():
        calculation = Calculation(tags, {})
        now = [0]

        def scan(calculation: Calculation = calculation, now: list[int] = now) -> list[Reading]:
            now[0] += 1_000
            return calculation.after([Reading(name, now[0], 3.5) for name in names], now[0])

        assert len(scan()) == TAGS
        found[kind] = best(scan, rounds // TAGS, TAGS)

    def floor() -> list[Reading]:
        readings = [Reading(name, 1_000, 3.5) for name in names]
        return [Reading("d", one.time, float(one.value or 0) * 2.5 + 1) for one in readings]

    return {"us": found, "floor_us": best(floor, rounds // TAGS, TAGS)}


def main() -> None:
    """Prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200_000)
    rounds = parser.parse_args().rounds
    print(json.dumps({"expressions": expressions(rounds), "derived_value": derived(rounds)}, indent=2))


if __name__ == "__main__":
    main()
