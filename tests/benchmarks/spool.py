"""What a full spool costs: opening it, and taking what is new, at each size. Prints JSON.

    python -m tests.benchmarks.spool [BYTES …]

The disk is shared with others: compare the sizes of one run.
"""

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from gateway import metrics
from gateway.delivery.batch import Batch
from gateway.delivery.spool import Spool
from gateway.delivery.spool_folder import claimed

READINGS = 100  # a message, of about 50 bytes each
MESSAGES = 2000  # that are timed, in transactions of 200
AGE = 1e6


def entries(first: int, count: int) -> list[Batch]:
    payload = b'{"ts":1,"v":{' + b"x" * 50 * READINGS + b"}}"
    return [Batch(f"dev/d{n % 100}", payload, READINGS, n * READINGS + 1) for n in range(first, first + count)]


async def fill(spool: Spool) -> int:
    """Until the oldest has to go; gives how many messages that were."""
    number = 0
    before = dropped()
    while dropped() == before:
        await spool.write(entries(number, 200))
        number += 200
    return number


def dropped() -> float:
    return float(metrics.dropped.labels("bytes")._value.get())


async def measured(size: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="nexus-bench-") as name:
        async with claimed(Path(name), size, AGE) as spool:
            await spool.open()
            number = await fill(spool)
            began, before = time.perf_counter(), dropped()
            for _ in range(MESSAGES // 200):
                await spool.write(entries(number, 200))
                number += 200
            took = time.perf_counter() - began
            kept = spool.contents.readings
        files = sum(file.stat().st_size for file in Path(name).glob("spool-0.db*"))
        async with claimed(Path(name), size, AGE) as spool:
            began = time.perf_counter()
            await spool.open()
            opening = time.perf_counter() - began
            assert spool.contents.readings == kept
    return {
        "bound_bytes": size,
        "file_share_of_bound": round(files / size, 3),
        "readings_kept": kept,
        "messages_a_second_when_full": round(MESSAGES / took),
        "readings_dropped": round(dropped() - before),
        "open_seconds": round(opening, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bytes", nargs="*", type=int, default=[10_000_000, 100_000_000, 1_000_000_000])
    sizes = parser.parse_args().bytes
    print(json.dumps([asyncio.run(measured(size)) for size in sizes], indent=2))


if __name__ == "__main__":
    main()
