"""Messages to rows."""

import tracemalloc
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ingestion.decode.rows import LATEST_AHEAD_MS, Encoder, Rows, Window, parsed
from nexus.contract.codec import Message, decode

NOW = 1_800_000_000_000
WINDOW = Window.at(NOW, 0)


def encoded(message: Message, window: Window = WINDOW, encoder: Encoder | None = None):  # type: ignore[no-untyped-def]
    rows, late = Rows(), Rows()
    refused = (encoder or Encoder()).encode(message, window, rows, late)
    assert rows.count == len(rows.in_order())
    return [tuple(parsed(row)) for row in rows.in_order()], [tuple(parsed(row)) for row in late.in_order()], refused


def test_the_fast_and_the_slow_way_give_the_same_rows() -> None:
    values = {"a": 1.5, "b": True, "c": None, "d": "text", "e": 2**60, "f": 7}
    fast, _, _ = encoded(Message("dev/x", NOW, dict(values), {}, {"a": "V"}))
    slow, _, _ = encoded(Message("dev/x", NOW, dict(values), {"none": 0}, {"a": "V"}))
    assert fast == slow
    assert fast[0] == ("dev/x/a", "V", NOW, 1.5, None, 192)
    assert fast[4] == ("dev/x/e", None, NOW, float(2**60), str(2**60), 192)


def test_no_value_is_not_called_good() -> None:
    for qualities in ({}, {"c": 192}, {"c": 64}):
        rows, _, _ = encoded(Message("dev/x", NOW, {"c": None}, qualities))
        assert rows == [("dev/x/c", None, NOW, None, None, 0)]


def test_a_unit_that_changes_is_stored_as_it_was_said() -> None:
    encoder = Encoder()
    for unit in ("°C", "K", None):
        message = Message("dev/x", NOW, {"a": 1.0}, {}, {"a": unit} if unit else {})
        assert encoded(message, encoder=encoder)[0] == [("dev/x/a", unit, NOW, 1.0, None, 192)]


def test_what_the_table_cannot_hold_is_refused_by_its_tag() -> None:
    message = decode("dev/x", b'{"ts":%d,"v":{"ok":1,"a/b":2.0,"nul":"a\\u0000","%s":3.0}}' % (NOW, b"x" * 1100))
    rows, _, refused = encoded(message)
    assert [row[0] for row in rows] == ["dev/x/ok"]
    assert dict(refused)["a/b"].startswith("the tag's name contains '/'")
    assert "NUL" in dict(refused)["nul"]
    assert len(refused) == 3
    _, _, [(_, reason)] = encoded(Message("dev/" + "y" * 2000, NOW, {"": 1.0}))
    assert "longer than 2,000 bytes" in reason


def test_times_that_cannot_be_are_refused_and_late_ones_told_apart() -> None:
    window = Window.at(NOW, NOW - 1000)
    message = Message(
        "dev/x",
        NOW,
        dict.fromkeys(("now", "late", "ahead", "before"), 1.0),
        {},
        {},
        {"late": NOW - 1001, "ahead": NOW + LATEST_AHEAD_MS + 1, "before": -1},
    )
    rows, late, refused = encoded(message, window)
    assert [row[0] for row in rows] == ["dev/x/now"]
    assert [row[0] for row in late] == ["dev/x/late"]
    assert [tag for tag, _ in refused] == ["ahead", "before"]
    assert encoded(Message("dev/x", NOW - 1001, {"a": 1.0}), window)[1][0][0] == "dev/x/a"
    assert encoded(Message("dev/x", -1, {"a": 1.0}))[2] == [("a", "ts -1 is before 1970")]


def test_what_is_older_than_is_kept_is_refused() -> None:
    window = Window.at(NOW, 0, NOW - 90 * 86_400_000)
    rows, _, [(tag, reason)] = encoded(Message("dev/x", NOW, {"a": 1.0, "b": 2.0}, {}, {}, {"b": 1}), window)
    assert ([row[0] for row in rows], tag) == (["dev/x/a"], "b")
    assert "older than what is kept" in reason


def test_numbers_and_times_beyond_all_measure_cost_only_themselves() -> None:
    huge = b"9" * 400
    message = decode("dev/x", b'{"ts":%d,"v":{"a":1,"b":%s,"c":-%s,"d":2.5},"t":{"d":%s}}' % (NOW, huge, huge, huge))
    rows, _, refused = encoded(message)
    assert [row[0] for row in rows] == ["dev/x/a"]
    assert sorted(tag for tag, _ in refused) == ["b", "c", "d"]
    assert encoded(decode("dev/x", b'{"ts":%s,"v":{"a":1}}' % (b"9" * 400)))[2] == [
        ("a", "ts is not a time in milliseconds")
    ]
    rows, _, refused = encoded(Message("dev/x", NOW, {"a": 1.0, "b": 10**400}))
    assert ([row[0] for row in rows], [tag for tag, _ in refused]) == (["dev/x/a"], ["b"])


def test_what_is_remembered_is_bounded_by_its_bytes() -> None:
    encoder = Encoder()
    tracemalloc.start()
    for number in range(150):
        unit = f"{number}" + "u" * 900_000
        encoded(Message(f"dev/{number}", NOW, {"a": 1.0}, {}, {"none": unit}), encoder=encoder)
        encoded(Message(f"dev/b{number}", NOW, {"a": 1.0}, {}, {"a": unit}), encoder=encoder)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 64_000_000


def test_a_unit_that_changes_each_time_does_not_drive_out_the_others() -> None:
    encoder = Encoder()
    encoded(Message("dev/steady", NOW, {"a": 1.0}), encoder=encoder)
    for number in range(40_000):
        encoder.encode(Message("dev/x", NOW, {"a": 1.0}, {}, {"a": f"{number % 2}"}), WINDOW, Rows(), Rows())
    assert set(encoder._devices) == {"dev/steady", "dev/x"}


@given(
    st.dictionaries(
        st.text(st.characters(exclude_characters="/+#\0", exclude_categories=["Cs"]), min_size=1, max_size=9),
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers(-(2**63), 2**63) | st.text(),
        max_size=9,
    ),
    st.integers(0, NOW),
    st.dictionaries(st.text(max_size=9), st.integers(0, 255), max_size=2),
)
def test_every_message_becomes_rows_and_refusals(values: dict[str, Any], time: int, qualities: dict[str, Any]) -> None:
    rows, _, refused = encoded(Message("dev/x", time, dict(values), qualities))
    assert sorted([row[0].removeprefix("dev/x/") for row in rows] + [tag for tag, _ in refused]) == sorted(values)
    for topic, _, at, value, text, quality in rows:
        said = values[topic.removeprefix("dev/x/")]
        assert at == time
        assert quality == (0 if said is None else qualities.get(topic.removeprefix("dev/x/"), 192))
        assert (text if isinstance(said, str) else value) == (float(said) if isinstance(said, int) else said)
