"""What gateways of a group tell each other of their devices."""

from collections.abc import Callable

import pytest

from gateway.cluster import catalogue
from gateway.cluster.catalogue import Catalogue
from gateway.cluster.device_list import DeviceList
from gateway.cluster.problems import Problems
from gateway.delivery.control_topics import FIRST_PAUSE, FIRST_SECONDS, STRIKES, ControlTopics
from nexus.contract.presence import chunks, decode_chunk, digest

MARKS = dict.fromkeys(range(1, 10_000), 7)  # several chunks
COUNT = len(list(chunks(MARKS)))


class Broker:
    """A connection whose answers are given by hand."""

    send_quota = 100

    def __init__(self) -> None:
        self.said: list[tuple[str, Callable[[int], None]]] = []

    def send(self, name: str, _: bytes, done: Callable[[int], None], *, retain: bool) -> None:
        assert retain
        self.said.append((name, done))

    def answer(self, code: int) -> list[str]:
        said, self.said = self.said, []
        for _, done in said:
            done(code)
        return [name for name, _ in said]


class Telling:
    def __init__(self) -> None:
        self.now = 1000.0
        self.control, self.problems, self.broker = ControlTopics(), Problems(), Broker()
        self.list = DeviceList("g", "a", self.control, self.problems)
        self.list._clock = lambda: self.now

    def tell(self) -> None:
        self.list.tell(self.broker, digest(MARKS), MARKS)  # type: ignore[arg-type]


async def test_a_device_list_that_is_refused_is_said_and_tried_again() -> None:
    telling = Telling()
    telling.tell()
    assert len(telling.broker.answer(0x87)) == COUNT
    [problem] = telling.problems.all
    assert "the broker refuses our device list on gateway/g/a/devices/" in problem
    assert len(telling.control.denied) == COUNT
    telling.tell()
    assert telling.broker.said == [], "not at once"
    telling.now += FIRST_SECONDS
    telling.tell()
    assert len(telling.broker.answer(0)) == COUNT
    assert telling.problems.all == []
    assert not telling.control.denied


async def test_a_broker_that_hangs_up_over_a_device_list_does_so_a_few_times_only() -> None:
    telling = Telling()
    hung_up = 0
    for _ in range(40):
        telling.list.connected()
        telling.tell()
        if telling.broker.said:
            telling.broker.said.clear()
            telling.control.disconnected(telling.now, excused=False)
            hung_up += 1
        telling.now += FIRST_PAUSE
    assert hung_up <= STRIKES * COUNT + 1


def test_chunks_that_do_not_make_their_digest_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded, known = 0, Catalogue()
    name = digest(MARKS)
    right = list(chunks(MARKS))
    wrong = right[0][:-1] + bytes([right[0][-1] ^ 1])
    for payload in (wrong, *right[1:]):
        known.take(payload)
    decode = decode_chunk

    def counting(payload: bytes) -> object:
        nonlocal decoded
        decoded += 1
        return decode(payload)

    monkeypatch.setattr(catalogue, "decode_chunk", counting)
    for _ in range(5):
        assert known.find(name) is None
    assert decoded == COUNT
    known.take(right[0])
    assert known.find(name) == MARKS
