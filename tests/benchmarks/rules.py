"""Rules across devices: what an input costs, in evaluation alone and with what is written of it. Prints JSON.

    python -m tests.benchmarks.rules [--inputs N] [--rules N]

Each rule has two inputs, a sum of them, an alarm on that and one on both: each input makes a reading, and one in a hundred an
event. Floor: decoding the same messages. Each figure is the best of three runs, in inputs a second of one core.
"""

import argparse
import json
from collections.abc import Callable
from time import process_time

from ingestion.rules.definition import Input, Rule
from ingestion.rules.engine import Engine
from nexus.alarms.definition import Above, AlarmDefinition, When
from nexus.alarms.expression import parse
from nexus.contract import codec
from nexus.contract.codec import encode_tag
from nexus.contract.reading import Reading
from nexus.readings.definition import DerivedTag

BATCH = 1_000  # messages of a transaction, at most
T0 = 1_700_000_000_000

Messages = list[tuple[str, bytes, int]]


def rule(number: int) -> Rule:
    inputs = Input("a", f"plant/line{number}/plc1/power"), Input("b", f"plant/line{number}/plc2/power")
    alarms = (
        AlarmDefinition("high", "total", Above(500.0), deadband=10.0),
        AlarmDefinition("uneven", "", When(parse("abs(a - b) > 300"))),
    )
    return Rule(
        f"r{number}", f"plant/line{number}/rules", inputs, (DerivedTag("total", "expression", parse("a + b")),), alarms
    )


def messages(rules: list[Rule], count: int) -> Messages:
    """In turns of all inputs, of which one in a hundred is so high that the alarm is raised, or clears."""
    topics = [one.topic for of in rules for one in of.inputs]
    found: Messages = []
    for number in range(count):
        at, turn = T0 + number, number // len(topics)
        value = 400.0 if turn % 100 >= 50 and turn % 50 == 0 else 100.0 + turn % 7
        found.append((topics[number % len(topics)], encode_tag(Reading("power", at, value), "kW"), at))
    return found


def best(work: Callable[[], object], count: int) -> int:
    times = []
    for _ in range(3):
        began = process_time()
        work()
        times.append(process_time() - began)
    return round(count / min(times))


def evaluated(rules: list[Rule], found: Messages) -> tuple[int, int]:
    """How many messages, and transactions, it makes."""
    engine = Engine(rules, 60_000, {}, [])
    engine.begin(T0 - 1)
    said = commits = 0
    for begin in range(0, len(found), BATCH):
        for topic, payload, now in found[begin : begin + BATCH]:
            for part in engine.parts(topic, payload):
                engine.take(part, now)
        update = engine.drain()
        said += len(update.said)
        commits += 1
    return said, commits


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--rules", type=int, default=100)
    given = parser.parse_args()
    rules = [rule(number) for number in range(given.rules)]
    found = messages(rules, given.inputs)
    said, commits = evaluated(rules, found)
    result = {
        "inputs": given.inputs,
        "rules": given.rules,
        "messages_said": said,
        "transactions": commits,
        "inputs_per_second_per_core": best(lambda: evaluated(rules, found), given.inputs),
        "decoding_alone_per_second_per_core": best(
            lambda: [codec.decode(topic, payload) for topic, payload, _ in found], given.inputs
        ),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
