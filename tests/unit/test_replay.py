"""How much of the backlog leaves at once."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.delivery import replay
from gateway.delivery.batch import Batch
from gateway.delivery.blocked_topics import BlockedTopics
from gateway.delivery.control_topics import ControlTopics
from gateway.delivery.outbox import Outbox
from gateway.delivery.replay import MESSAGES_AT_ONCE, Replay
from gateway.delivery.spool_folder import claimed

WAY = 0.05  # seconds there and back


@pytest.mark.parametrize(
    ("each", "at_once"), [(0.0, range(MESSAGES_AT_ONCE, MESSAGES_AT_ONCE + 1)), (WAY, range(1, 3))]
)
async def test_a_slow_link_gets_little_at_once_and_a_long_one_does_not(
    each: float, at_once: range, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "ROUND_SECONDS", WAY / 2)
    loop = asyncio.get_running_loop()

    class Link:
        free_at = 0.0

        async def send(self, *_: object) -> SimpleNamespace:
            self.free_at = max(self.free_at, loop.time()) + each
            answered = loop.create_future()
            loop.call_at(self.free_at + WAY, answered.set_result, None)
            return SimpleNamespace(answered=answered)

    async with claimed(tmp_path, 10**9, 1000.0) as spool:
        outbox, connection = Outbox(spool, 1000, "never"), SimpleNamespace(maximum_packet_size=10**6)
        one = Replay(
            outbox,
            Link(),  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            connection,  # type: ignore[arg-type]
            blocked=BlockedTopics(),
            control=ControlTopics(),
        )
        for _ in range(8):
            await one._send([Batch("dev/plc", b"{}", 1) for _ in range(one._at_once)])
    assert one._at_once in at_once
