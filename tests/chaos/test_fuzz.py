"""Whatever is published, it ends as rows or as rejects, and the ingester lives on.

20,000 messages; a million with NEXUS_CHAOS=full.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from nexus import mqtt
from nexus.mqtt import Client
from tests.chaos import FULL
from tests.parts import Mosquitto, Nexus, until

MESSAGES = 1_000_000 if FULL else 20_000
SECONDS = 1500 if FULL else 60
PARTS = 5

NOW = int(time.time() * 1000)
SEEDS = [
    b'{"v":84.5,"q":"good","ts":%d,"u":"\xc2\xb0C","p":"gw","n":7}' % NOW,
    b'{"ts":%d,"v":{"temperature":84.5,"running":true,"text":"x"},"q":{"text":"bad"},"u":{"temperature":"K"}}' % NOW,
    b'{"ts":%d,"v":{"a":1,"b":2.5},"t":{"b":%d},"p":"gw","n":1,"m":2}' % (NOW, NOW - 5),
    b'{"v":null,"ts":1.7e12,"q":192}',
    b'{"v":"a\\u0000b","ts":%d}' % NOW,
    b'{"v":18446744073709551616,"ts":%d}' % NOW,
    b"21.5",
    b"",
]
ODD = [
    b"\x00",
    b"\xff",
    b"\xed\xa0\x80",
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"1e999",
    b"NaN",
    b"-",
    b"\\ud800",
    b"null",
]


def payload(chance: random.Random) -> bytes:
    """A message, mostly damaged."""
    kind = chance.random()
    if kind < 0.1:
        return chance.randbytes(chance.randrange(200))
    if kind < 0.2:
        return json.dumps({"v": anything(chance, 3), "ts": anything(chance, 1), "q": anything(chance, 2)}).encode()
    data = bytearray(chance.choice(SEEDS))
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                data[at : at + 1] = chance.randbytes(1)
            case 1:
                data[at:at] = chance.choice(ODD)
            case 2:
                del data[at : at + chance.randrange(9)]
            case 3:
                data[at:at] = data[: chance.randrange(len(data) + 1)]
            case _:
                data[at:at] = b"%d" % chance.choice([0, -1, 2**31, 2**53 + 1, 2**63, 2**64, 10**30])
    return bytes(data)


def anything(chance: random.Random, depth: int) -> object:
    kind = chance.randrange(9 if depth else 6)
    plain = [
        None,
        True,
        chance.uniform(-1e300, 1e300),
        chance.randrange(-(2**70), 2**70),
        "x" * chance.randrange(99),
        NOW,
    ]
    if kind < 6:
        return plain[kind]
    inner = [anything(chance, depth - 1) for _ in range(chance.randrange(4))]
    return (
        inner
        if kind == 6
        else {f"{chance.choice(['', 'a', 'b/c', '+', 'ä', '😀'])}{n}": one for n, one in enumerate(inner)}
    )


def rss_mb(process: Nexus) -> float:
    return int(Path(f"/proc/{process.process.pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


@pytest.fixture
def chance() -> random.Random:
    seed = int(os.environ.get("NEXUS_CHAOS_SEED", time.time_ns()))
    sys.stdout.write(f"NEXUS_CHAOS_SEED={seed}\n")
    return random.Random(seed)


@pytest.mark.timeout(SECONDS + 120)
def test_whatever_is_published_ends_as_rows_or_rejects(
    nexus: Callable[..., Nexus], mosquitto: Callable[..., Mosquitto], database: str, chance: random.Random
) -> None:
    broker = mosquitto()
    unlimited = {"rejects_rows": str(10 * MESSAGES), "rejects_mb": "100000"}  # all that is refused is looked for
    ingester = nexus("ingest", mqtt_url=broker.url, database_url=database, batch_seconds="0.2", **unlimited)
    ingester.until_ready()

    async def publish(first: int, count: int) -> None:
        async with mqtt.connect(broker.login("gateway"), Client("fuzz")) as connection:
            for number in range(first, first + count):
                name = f"dev/{number}" + chance.choice(["", "/t", "/a/b/" + "c" * chance.randrange(400), "/😀"])
                last = await connection.publish(name, payload(chance))
            await last

    def written(count: int) -> Callable[[], bool]:
        def look() -> bool:
            taken = ingester.metric("nexus_ingestion_messages_total") >= count
            return (taken and ingester.metric("nexus_ingestion_oldest_seconds") == 0) or ingester.ended()

        return look

    sizes = []
    for part in range(PARTS):
        asyncio.run(publish(part * MESSAGES // PARTS, MESSAGES // PARTS))
        until(written((part + 1) * MESSAGES // PARTS), "all is written", SECONDS)
        sizes.append(round(rss_mb(ingester)))
    sys.stdout.write(f"resident MB after each part: {sizes}\n")
    assert sizes[-1] < sizes[0] + 40
    with psycopg.connect(database) as connection:
        found = connection.execute(
            "SELECT split_part(topic, '/', 2)::int FROM metrics UNION SELECT split_part(topic, '/', 2)::int FROM rejects"
        ).fetchall()
        kinds = connection.execute("SELECT (SELECT count(*) FROM metrics), (SELECT count(*) FROM rejects)").fetchone()
    lost = sorted(set(range(MESSAGES)) - {number for (number,) in found})
    assert not lost, (len(lost), lost[:20], ingester.log.read_text()[-3000:])
    assert kinds is not None
    assert min(kinds) > MESSAGES // 10
    assert ingester.metric("nexus_ingestion_database_up") == 1
    assert ingester.stop() == 0
