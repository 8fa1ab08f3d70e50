"""A message into a batch: one reject each at most, and its numbers only if they are believed."""

import tracemalloc

import msgspec
import pytest

from ingestion import metrics
from ingestion.consume.batch import Batch
from ingestion.decode.decoders import Decoders
from ingestion.decode.encoding import MOST_ROWS_BYTES, Encoding
from ingestion.decode.rows import Window
from ingestion.store.quota import Quota
from nexus.contract import alarm, codec
from nexus.contract.alarm import AlarmMessage, Record
from tests.deliveries import delivery

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
    assert batch(b'{"ts":%d,"v":1}' % NOW).size == 0
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
    encoding = Encoding(Decoders([]), Quota(rows=10))
    assert [len(batch(b"x", encoding=encoding).rejects) for _ in range(5)] == [1, 1, 0, 0, 0]
    assert metrics.rejects_dropped._value.get() == before + 3
    given_back = Quota(rows=1, size=1_000)
    [reject] = given_back.admitted(batch(b"x").rejects)
    given_back.returned([reject])
    assert given_back.admitted([reject]) == [reject]
    small = Encoding(Decoders([]), Quota(size=2_000))
    assert [len(batch(b"x" * 1_000, encoding=small).rejects) for _ in range(3)] == [1, 0, 0]
    assert metrics.rejects_dropped._value.get() == before + 5


def test_one_message_takes_no_more_memory_than_a_message_may() -> None:
    """Each row has the whole topic: short names on a long topic are a thousand times the payload."""
    values = ",".join(f'"{number}":1' for number in range(10_000)).encode()
    wrong = ",".join(f'"{number}":"?"' for number in range(10_000)).encode()
    numbers = b'"p":"%s","n":1,"m":10000' % GATEWAY.encode()
    for topic, found in (("dev/" + "y" * 60_000, "longer than 2,000"), ("dev/" + "y" * 1_900, "more than a message")):
        for payload in (
            b'{"ts":%d,"v":{%s},%s}' % (NOW, values, numbers),
            b'{"ts":%d,"v":{%s,"last":[]},%s}' % (NOW, values, numbers),
            b'{"ts":%d,"v":{"first":1,%s},"q":{%s}}' % (NOW, values, wrong),
        ):
            tracemalloc.start()
            taken = batch(payload, topic)
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert most < 20_000_000
            [reject] = taken.rejects
            assert taken.rows.count <= 1
            assert found in reject.reason or b'"q"' in payload


def test_rows_count_as_memory() -> None:
    values = ",".join(f'"{number}":1' for number in range(1_000)).encode()
    found = batch(b'{"ts":%d,"v":{%s}}' % (NOW, values), "dev/" + "y" * 1_900)
    assert found.rows.count == 1_000
    assert 3_800_000 < found.size < MOST_ROWS_BYTES


def test_what_is_refused_and_not_kept_gets_no_receipt() -> None:
    """Its sender keeps it then: it would be nowhere else."""
    nothing = Encoding(Decoders([]), Quota(rows=0))
    numbers = b'"p":"%s","n":7,"m":10' % GATEWAY.encode()
    late = NOW + 7_200_000
    some = b'{"ts":%d,"v":{"a":1,"b":2,"c":3,"d":4},"t":{"b":%d},%s}' % (NOW, late, numbers)
    assert batch(some).receipts == [(GATEWAY, 7, 10)]
    found = batch(some, encoding=nothing)
    assert (found.rows.count, found.rejects) == (3, [])
    assert found.receipts == [(GATEWAY, 7, 7), (GATEWAY, 9, 10)]
    for payload in (
        b'{"ts":%d,"v":{"a":1,"b":2,"c":3,"d":4},%s}' % (late, numbers),
        b'{"ts":"?","v":{"a":1,"b":2,"c":3,"d":4},%s}' % numbers,
        b'{"ts":%d,"v":{"a":1,"b":2,"c":3,"d":[]},%s}' % (NOW, numbers),  # whose number it is cannot be told
    ):
        assert batch(payload).receipts == [(GATEWAY, 7, 10)]
        assert batch(payload, encoding=nothing).receipts == []
        one = Batch(deliveries=[delivery("dev/x", payload)], windows=[WINDOW])
        assert nothing.again(one).receipts == [], "nor does it, if the batch is made anew"


def test_ones_garbage_leaves_room_for_that_of_others() -> None:
    quota = Quota(rows=1_000)
    encoding = Encoding(Decoders([]), quota)
    numbered = b'{"ts":1,"p":"%s","n":1,"v":[%d]}'
    mine = [bool(batch(numbered % (GATEWAY.encode(), n), f"dev/{n}", encoding).rejects) for n in range(2_000)]
    assert sum(mine) == 200
    for number in range(10):
        for _ in range(1_000):
            batch(b"x", f"dev/garbage{number}", encoding)
    assert batch(b"x", "dev/honest", encoding).rejects


def event(at: int, **changes: object) -> bytes:
    record = Record("unacknowledged", at, at, at, active=True, acknowledged=False, **changes)  # type: ignore[arg-type]
    return alarm.encode(AlarmMessage("x", "t", "high", record, "raised"))


def test_an_event_of_an_alarm_is_a_record_with_a_receipt() -> None:
    numbered = event(NOW)[:-1] + b',"p":"%s","n":7}' % GATEWAY.encode()
    found = batch(numbered, "alarm/x/t/high")
    assert (found.points, found.rejects, found.receipts) == (1, [], [(GATEWAY, 7, 7)])
    [again] = batch(event(NOW), "alarm/x/t/high").records
    assert found.records == [msgspec.structs.replace(again, publisher=GATEWAY, numbers=(7, 7))]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (event(NOW + 7_200_000), "more than an hour ahead"),
        (event(NOW).replace(b'"x"', b'"y"'), "not those of its topic"),
        (b"{}", "not an alarm"),
        (b"[" * 50_000, "not an alarm"),
    ],
)
def test_what_is_no_event_of_its_alarm_is_a_reject(payload: bytes, reason: str) -> None:
    found = batch(payload, "alarm/x/t/high")
    assert found.records == []
    [reject] = found.rejects
    assert reason in reject.reason


def test_the_end_of_an_alarms_topic_is_nothing_to_store() -> None:
    found = batch(b"", "alarm/x/t/high")
    assert (found.points, found.receipts) == (0, [])
