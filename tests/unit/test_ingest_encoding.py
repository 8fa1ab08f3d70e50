"""A message into a batch: one reject each at most, and its numbers only if they are believed."""

import pytest

from ingestion import metrics
from ingestion.batch import Batch
from ingestion.decoders import Decoders
from ingestion.encoding import Encoding
from ingestion.quota import Quota
from ingestion.rows import Window
from nexus.contract import codec

NOW = 1_800_000_000_000
WINDOW = Window.at(NOW, 0)
GATEWAY = "0f" * 16


def batch(payload: bytes, topic: str = "dev/x", encoding: Encoding | None = None) -> Batch:
    found = Batch()
    (encoding or Encoding(Decoders([]))).add(found, topic, payload, WINDOW)
    return found


def test_a_message_of_which_everything_is_refused_is_one_reject() -> None:
    values = ",".join(f'"t{number}":1' for number in range(100))
    found = batch(b'{"ts":%d,"v":{%s}}' % (NOW + 7_200_000, values.encode()))
    [reject] = found.rejects
    assert (reject.topic, reject.source, reject.tags, reject.arrived) == ("dev/x", None, None, NOW)
    assert "an hour ahead" in reject.reason
    assert "100 values" in reject.reason


def test_a_reject_names_the_tags_where_others_are_stored() -> None:
    found = batch(b'{"ts":%d,"v":{"a":1,"b":[],"c/d":2}}' % NOW)
    [reject] = found.rejects
    assert (found.rows.count, reject.topic, set(reject.tags or ())) == (1, "dev/x", {"b", "c/d"})
    [single] = batch(b'{"ts":%d,"v":{"a":1,"b":[]}}' % NOW).rejects
    assert (single.topic, single.source, single.tags) == ("dev/x/b", "dev/x", None)


def test_names_of_refused_tags_count_as_memory() -> None:
    """A megabyte of them takes several, and a batch ends by its bytes."""
    assert batch(b'{"ts":%d,"v":{"a":1,"b":2}}' % NOW).size == 0
    tags = ",".join(f'"t{number}":[]' for number in range(1_000))
    assert batch(b'{"ts":%d,"v":{"a":1,%s}}' % (NOW, tags.encode())).size > 100_000


def test_a_decoder_that_fails_by_our_mistake_costs_the_message_and_keeps_its_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise RecursionError

    monkeypatch.setattr(codec, "decode", broken)
    found = batch(b'{"ts":1,"v":1,"p":"%s","n":7}' % GATEWAY.encode())
    assert [reject.reason for reject in found.rejects] == ["the decoder failed: RecursionError"]
    assert found.receipts == [(GATEWAY, 7, 7)]


def test_rejects_beyond_the_quota_are_counted_and_not_kept() -> None:
    before = metrics.rejects_dropped._value.get()
    encoding = Encoding(Decoders([]), Quota(rows=3))
    assert [len(batch(b"x", encoding=encoding).rejects) for _ in range(5)] == [1, 1, 1, 0, 0]
    assert metrics.rejects_dropped._value.get() == before + 2
    given_back = Quota(rows=1, size=1_000)
    [reject] = given_back.admitted(batch(b"x").rejects)
    given_back.returned([reject])
    assert given_back.admitted([reject]) == [reject]
    small = Encoding(Decoders([]), Quota(size=2_000))
    assert [len(batch(b"x" * 1_000, encoding=small).rejects) for _ in range(3)] == [1, 0, 0]
    assert metrics.rejects_dropped._value.get() == before + 4
