"""Receipts: what is committed is told in order, to whoever has waited longest first."""

import asyncio

from ingestion.consume.receipts import Receipts
from nexus.contract.receipt import decode_receipt


class Recorder:
    """Stands for the broker: keeps what is published."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, list[tuple[int, int]]]] = []

    async def publish(self, topic: str, payload: bytes) -> asyncio.Future[int]:
        self.sent.append((topic, decode_receipt(payload)))
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        answer.set_result(0)
        return answer


def sent(*committed: tuple[str, int, int]) -> list[tuple[str, list[tuple[int, int]]]]:
    async def scenario() -> list[tuple[str, list[tuple[int, int]]]]:
        receipts, broker = Receipts("g"), Recorder()
        for one in committed:
            receipts.add(*one)
        await receipts.send(broker)  # type: ignore[arg-type]
        return broker.sent

    return asyncio.run(scenario())


def test_who_has_waited_longest_is_told_first() -> None:
    """Somebody who makes up publishers without end must not keep those of the line waiting."""
    names = [f"{number:032x}" for number in range(100)]
    assert [topic for topic, _ in sent(*((name, 1, 1) for name in names))] == [f"receipt/{name}" for name in names]


def test_numbers_are_told_as_ranges_whatever_their_order() -> None:
    name = "0" * 32
    assert sent((name, 11, 20), (name, 31, 31), (name, 1, 10), (name, 32, 40), (name, 5, 12)) == [
        (f"receipt/{name}", [(1, 20), (31, 40)])
    ]
