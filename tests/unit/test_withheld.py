"""Which receipts are left when some readings are stored nowhere."""

import json

from ingestion.consume.batch import Batch
from ingestion.decode.decoders import Decoders
from ingestion.decode.encoding import Encoding
from ingestion.decode.rows import Window
from ingestion.store.withheld import receipts_left
from tests.deliveries import delivery

AT = 1_700_000_000_000
ONE, TWO = "01" * 16, "02" * 16


def arrived(encoding: Encoding, *messages: tuple[str, dict[str, object]]) -> Batch:
    batch, window = Batch(), Window.at(AT, 0)
    for topic, content in messages:
        payload = json.dumps({"ts": AT} | content).encode()
        batch.deliveries.append(delivery(topic, payload))
        batch.windows.append(window)
        encoding.add(batch, topic, payload, window)
    return batch


def test_only_the_numbers_of_what_is_lost_are_withheld() -> None:
    encoding = Encoding(Decoders([]))
    batch = arrived(
        encoding,
        ("dev/a/t", {"v": 1, "p": ONE, "n": 7}),
        ("dev/a", {"v": {"x": 1, "y": 2, "z": 3}, "t": {"y": AT - 5}, "p": TWO, "n": 1, "m": 3}),
        ("dev/b/t", {"v": 1, "p": ONE, "n": 8}),
        ("dev/c/t", {"v": 1}),
    )
    everything = [(ONE, 7, 7), (TWO, 1, 3), (ONE, 8, 8)]
    assert receipts_left(encoding, batch, ()) == everything
    assert receipts_left(encoding, batch, {("dev/a/t", AT - 1), ("dev/a/y", AT), ("dev/c/t", AT)}) == everything
    left = receipts_left(encoding, batch, {("dev/a/t", AT), ("dev/a/y", AT - 5)})
    assert left == [(TWO, 1, 1), (TWO, 3, 3), (ONE, 8, 8)]


def test_a_message_whose_numbers_cannot_be_told_apart_is_withheld_whole() -> None:
    encoding = Encoding(Decoders([]))
    batch = arrived(encoding, ("dev/a", {"v": {"x": 1, "y": [2]}, "p": ONE, "n": 1, "m": 2}))
    assert receipts_left(encoding, batch, {("dev/a/x", AT)}) == []
