"""What alarms cost where the values are read, against a bare comparison in the same run. Prints JSON.

    python -m tests.benchmarks.alarms [--seconds N]

A scan has 20 tags, each with alarms; every value differs from the one before, as measurements do. The cases take turns,
and of each the least CPU time of many rounds counts: the machine is shared.
"""

import argparse
import gc
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from nexus.alarms.definition import Above, AlarmDefinition, Below, Equals, Rate, Stale, Unchanged, When
from nexus.alarms.device import DeviceAlarms
from nexus.alarms.expression import parse
from nexus.contract.reading import Reading, Value

TAGS, SCANS = 20, 500
RATE = 20_000  # tags a second, of which a share of a core is said
START = 1_703_289_600_000
LAST = f"tag_{TAGS - 1}"

Scans = list[list[Reading]]
Run = Callable[[Scans], None]

HIGH = AlarmDefinition("high", "", Above(80), deadband=2)
LEVELS = (
    replace(HIGH, name="very high", condition=Above(95)),
    HIGH,
    replace(HIGH, name="low", condition=Below(10)),
    replace(HIGH, name="very low", condition=Below(5)),
)


def scans(value: Callable[[int, int], Value], begin: int = START) -> Scans:
    """`value` of the scan and the tag."""
    return [
        [Reading(f"tag_{tag}", begin + scan * 1000, value(scan, tag)) for tag in range(TAGS)] for scan in range(SCANS)
    ]


def measured(scan: int, tag: int) -> Value:
    """Between the limits, and never the same."""
    return 50 + (scan * 7 + tag * 3) % 20 + tag / 100


def flipping(scan: int, tag: int) -> Value:
    """Beyond the limit in every second scan."""
    return 90.0 if (scan + tag) % 2 else 50.0


def comparing(scans: Scans) -> None:
    """The least that can be done: each value against one limit, if it is a number."""
    active = 0
    for scan in scans:
        for reading in scan:
            value = reading.value
            if type(value) is float and value > 80.0:
                active += 1


def passing(scans: Scans) -> None:
    """A scan without alarms."""
    for scan in scans:
        for _ in scan:
            pass


def watched(*definitions: AlarmDefinition) -> Run:
    """Each tag with these alarms."""
    return each(lambda _tag, _next: definitions)


def each(definitions: Callable[[str, str], Iterable[AlarmDefinition]]) -> Run:
    """The alarms of each tag, which may name the next one."""
    names = [f"tag_{tag}" for tag in range(TAGS)]
    alarms = DeviceAlarms(
        replace(one, tag=tag)
        for tag, following in zip(names, [*names[1:], names[0]], strict=True)
        for one in definitions(tag, following)
    )

    def run(scans: Scans) -> None:
        for scan in scans:
            alarms.read(scan, scan[0].time)

    return run


def expression(tag: str, other: str) -> list[AlarmDefinition]:
    return [replace(HIGH, condition=When(parse(f"{tag} > 1000 or {other} < 0")), deadband=0)]


def true_expression(tag: str, other: str) -> list[AlarmDefinition]:
    return [replace(HIGH, condition=When(parse(f"{tag} > 0 and {other} > 0")), deadband=0)]


def cases() -> dict[str, tuple[Run, Scans]]:
    """What is measured, on which scans."""
    values = scans(measured)
    whole = scans(lambda scan, tag: 50 + (scan * 7 + tag) % 20)
    states = scans(lambda scan, tag: bool(tag % 2))  # noqa: ARG005
    with_limit = scans(lambda scan, tag: 1000.0 if tag == TAGS - 1 else measured(scan, tag))
    of_two = parse("tag_0 > 1000 or tag_1 < 0")
    return {
        "no alarms": (passing, values),
        "a comparison": (comparing, values),
        "a limit": (watched(HIGH), values),
        "a limit, whole numbers": (watched(HIGH), whole),
        "four limits": (watched(*LEVELS), values),
        "a limit, a stale tag": (watched(HIGH, replace(HIGH, name="stale", condition=Stale(30), deadband=0)), values),
        "a state": (watched(replace(HIGH, condition=Equals(7), deadband=0)), states),
        "a rate": (watched(replace(HIGH, condition=Rate(1000, 10))), values),
        "unchanged": (watched(replace(HIGH, condition=Unchanged(600))), values),
        "an expression of the same two tags": (watched(replace(HIGH, condition=When(of_two), deadband=0)), values),
        "an expression of its tag and another": (each(expression), values),
        "an expression that stays true": (each(true_expression), values),
        "a limit that is another tag": (watched(replace(HIGH, condition=Above(LAST))), with_limit),
        "a limit, raised or cleared by each value": (watched(HIGH), scans(flipping)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    end = time.monotonic() + parser.parse_args().seconds
    found = cases()
    best = dict.fromkeys(found, float("inf"))
    gc.disable()  # the readings of a gateway are not kept either
    while time.monotonic() < end:
        for name, (run, scans) in found.items():
            began = time.process_time()
            run(scans)
            best[name] = min(best[name], time.process_time() - began)
    floor = best["a comparison"]
    result = {
        name: {
            "us_a_value": round(seconds / SCANS / TAGS * 1e6, 4),
            "times_a_comparison": round(seconds / floor, 2),
            f"percent_of_a_core_at_{RATE}_tags_a_second": round(100 * RATE * seconds / SCANS / TAGS, 2),
        }
        for name, seconds in best.items()
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
