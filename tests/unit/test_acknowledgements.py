"""What a PUBACK means is the same for a live message and for one from the disk."""

from pathlib import Path

import pytest

from gateway import metrics
from gateway.delivery.acknowledgements import Verdict, verdict
from gateway.delivery.blocked_topics import BlockedTopics
from gateway.delivery.control_topics import ControlTopics
from gateway.delivery.in_flight import InFlight
from gateway.delivery.outbox import Outbox
from gateway.delivery.publish_options import PublishOptions
from gateway.delivery.publisher import Publisher
from gateway.delivery.replay import Replay
from gateway.delivery.spool_folder import claimed
from gateway.delivery.spool_gauges import SpoolGauges
from nexus import mqtt
from nexus.contract.reading import Reading

OPTIONS = PublishOptions("plc", "device", {})


@pytest.mark.parametrize(
    ("code", "keep_unmatched", "meaning"),
    [
        (0, True, Verdict.TAKEN),
        (mqtt.NO_MATCHING_SUBSCRIBERS, True, Verdict.NO_SUBSCRIBERS),
        (mqtt.NO_MATCHING_SUBSCRIBERS, False, Verdict.TAKEN),
        (0x87, True, Verdict.DENIED),
        (0x97, True, Verdict.DENIED),
        (0x99, True, Verdict.REFUSED),
        (mqtt.PACKET_TOO_LARGE, True, Verdict.TOO_LARGE),
    ],
)
def test_what_a_code_means(code: int, keep_unmatched: bool, meaning: Verdict) -> None:
    assert verdict(code, keep_unmatched=keep_unmatched) is meaning


class Broker:
    """A connection that answers everything with one code."""

    maximum_packet_size, send_quota, window, lost = 10**6, 100, 100, None

    def __init__(self, code: int) -> None:
        self.code = code

    def send_many(self, messages: list[tuple[str, bytes]], done) -> None:  # type: ignore[no-untyped-def]
        done(self.code, len(messages))

    async def has_quota(self) -> None:
        pass


def counted(code: int) -> tuple[float, float, float]:
    reason = mqtt.reason(code) if code >= mqtt.REFUSED else "-"
    found = (metrics.published, metrics.refused.labels(reason), metrics.dropped.labels("refused"))
    return tuple(metric._value.get() for metric in found)


@pytest.mark.parametrize("code", [0, mqtt.NO_MATCHING_SUBSCRIBERS, 0x87, 0x99, mqtt.PACKET_TOO_LARGE])
async def test_it_is_counted_alike_live_and_from_the_disk(code: int, tmp_path: Path) -> None:
    broker, found = Broker(code), []
    for live in (True, False):
        async with claimed(tmp_path / str(live), 10**9, 1000.0) as spool:
            outbox, blocked = Outbox(spool, 1000, "auto"), BlockedTopics()
            await outbox.open()
            in_flight = InFlight(outbox, blocked)
            publisher = Publisher(outbox, in_flight, blocked, ControlTopics())
            before = counted(code)
            if live:
                publisher._connection = broker  # type: ignore[assignment]
                publisher.scan(OPTIONS, [Reading("t", 1, 1.0)])
                assert not in_flight.batches
            else:
                publisher.scan(OPTIONS, [Reading("t", 1, 1.0)])
                await outbox.flush()
                replay = Replay(outbox, in_flight, SpoolGauges(spool), broker, blocked=blocked, control=ControlTopics())  # type: ignore[arg-type]
                await replay._step()
            found.append(tuple(after - old for after, old in zip(counted(code), before, strict=True)))
    assert found[0] == found[1]
    assert sum(found[0]) == {0: 1, 0x87: 1, 0x99: 2}.get(code, 0)
