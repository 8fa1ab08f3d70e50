"""The historian over HTTP: tags, last values, history and exports, with the console's own rights in the database."""

import csv
import http.client
import io
import socket
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.conftest import TIERS
from tests.console_api import Api
from tests.parts import Nexus, free_port, until

pytestmark = pytest.mark.parametrize("empty_database", TIERS, indirect=True)

NOON = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=2)
HOT = "dev/plant/line1/plc1/temperature"


def text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def store(url: str, *rows: tuple[datetime, str, float | None, str | None, int, str | None]) -> None:
    with psycopg.connect(url) as connection:
        cursor = connection.cursor()
        cursor.executemany("INSERT INTO metrics VALUES (%s, %s, %s, %s, %s, %s)", rows)
        cursor.executemany(
            "INSERT INTO topics (topic) VALUES (%s) ON CONFLICT DO NOTHING",
            [(topic,) for topic in {row[1] for row in rows}],
        )


def store_hot(url: str, hours: int, seconds: int = 10) -> None:
    """One reading every so many seconds from NOON on; the value is the hour, and 1,000 once in the second hour."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO metrics SELECT t, %(topic)s, CASE WHEN t = %(spike)s THEN 1000"
            " ELSE floor(extract(epoch FROM t - %(start)s) / 3600) END, NULL, 192, '°C'"
            " FROM generate_series(%(start)s, %(end)s, make_interval(secs => %(step)s)) AS t",
            {
                "topic": HOT,
                "start": NOON,
                "spike": NOON + timedelta(minutes=90),
                "end": NOON + timedelta(hours=hours) - timedelta(seconds=1),
                "step": seconds,
            },
        )
        connection.execute("INSERT INTO topics (topic) VALUES (%s)", (HOT,))


@pytest.fixture
def api(database: str, nexus: Callable[..., Nexus]) -> Api:
    port = free_port()
    nexus("console", database_url=database, console_insecure="1", console_port=str(port)).until_ready()
    return Api(port)


def test_tags_are_found_by_words_in_any_case_and_given_in_pages(api: Api, database: str) -> None:
    topics = [
        f"dev/plant/Line{line}/plc{number}/{tag}" for line in (1, 2) for number in (1, 2) for tag in ("flow", "level")
    ]
    store(database, *((NOON, topic, 1.0, None, 192, "m³/h" if "flow" in topic else None) for topic in topics))
    first = api.get("tags", q="line1 LEVEL", limit=1).json()
    [tag] = first["items"]
    assert (tag["topic"], tag["device"], tag["tag"]) == (topics[1], "plant/Line1/plc1", "level")
    assert first["total"] == 2
    second = api.get("tags", q="line1 LEVEL", limit=1, after=first["next"]).json()
    assert ([one["topic"] for one in second["items"]], second["next"]) == ([topics[3]], None)
    of_device = api.get("tags", device="plant/Line2/plc1").json()["items"]
    assert [(one["tag"], one["unit"]) for one in of_device] == [("flow", "m³/h"), ("level", None)]


def test_problems_are_tags_whose_newest_reading_is_not_good_however_old_it_is(api: Api, database: str) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    store(
        database,
        (now - timedelta(days=40), "dev/plc/good and old", 1.0, None, 192, None),
        (now - timedelta(days=40), "dev/plc/bad and old", None, None, 0, None),
        (now - timedelta(seconds=2), "dev/plc/mended", None, None, 0, None),
        (now - timedelta(seconds=1), "dev/plc/mended", 1.0, None, 192, None),
        (now - timedelta(seconds=2), "dev/plc/broken", 1.0, None, 192, None),
        (now - timedelta(seconds=1), "dev/plc/broken", None, None, 0, "bar"),
        (now, "dev/plc/uncertain", 1.0, None, 64, None),
    )
    with psycopg.connect(database) as connection:
        connection.execute("INSERT INTO topics (topic) VALUES ('dev/plc/without a reading')")
    found = api.get("tags", show="problems").json()
    assert [one["tag"] for one in found["items"]] == ["bad and old", "broken", "uncertain", "without a reading"]
    assert (found["total"], found["items"][1]["unit"]) == (4, "bar")
    assert api.get("tags", show="problems", q="broken", limit=1).json()["total"] == 1
    assert api.get("tags", show="writable").json()["items"] == []


def test_last_values_come_in_the_order_asked_for_however_old_they_are(api: Api, database: str) -> None:
    new, old, large, text_ = (f"dev/plc/{name}" for name in ("new", "old", "large", "text"))
    now = datetime.now(UTC).replace(microsecond=0)
    store(
        database,
        (now - timedelta(days=40), old, 1.5, None, 192, "bar"),
        (now - timedelta(seconds=2), new, 1.0, None, 192, None),
        (now - timedelta(seconds=1), new, None, None, 0, None),
        (now, large, float(2**60 + 1), str(2**60 + 1), 64, None),
        (now, text_, None, "ready", 192, None),
    )
    asked = [old, "dev/never/seen", text_, new, large]
    expected = [
        {"topic": old, "time": text(now - timedelta(days=40)), "value": 1.5, "quality": "good", "unit": "bar"},
        {"topic": text_, "time": text(now), "value": "ready", "quality": "good", "unit": None},
        {"topic": new, "time": text(now - timedelta(seconds=1)), "value": None, "quality": "bad", "unit": None},
        {"topic": large, "time": text(now), "value": "1152921504606846977", "quality": "uncertain", "unit": None},
    ]
    assert api.get("last", topic=asked).json()["items"] == expected
    assert api.post("last", {"topics": asked}).json()["items"] == expected
    assert api.get("last", topic=asked, headers={"Accept": "application/x-ndjson"}).lines == expected


def test_a_short_range_is_given_as_it_was_read_with_bad_quality_and_gaps(api: Api, database: str) -> None:
    times = [NOON + timedelta(seconds=second) for second in (*range(30), *range(90, 120))]
    bad = NOON + timedelta(seconds=5)
    rows = ((time, HOT, None if time == bad else 20.5, None, 0 if time == bad else 192, "°C") for time in times)
    store(database, *rows)
    [series] = api.get("history", topic=HOT, from_=text(NOON), to=text(times[-1] + timedelta(seconds=1))).json()[
        "series"
    ]
    assert (series["topic"], series["unit"], series["resolution"]) == (HOT, "°C", "raw")
    assert len(series["points"]) == 60
    assert series["points"][4:6] == [
        {"time": text(NOON + timedelta(seconds=4)), "value": 20.5, "quality": "good"},
        {"time": text(bad), "value": None, "quality": "bad"},
    ]
    assert series["gaps"] == [{"from": text(times[29]), "to": text(times[30])}]


def test_a_long_range_is_given_in_buckets_that_hide_no_spike(api: Api, database: str) -> None:
    store_hot(database, 24)
    [series] = api.get("history", topic=HOT, from_=text(NOON), to=text(NOON + timedelta(hours=24)), points=30).json()[
        "series"
    ]
    assert series["resolution"] == "1hour"
    assert len(series["points"]) == 24
    assert series["points"][1] == {
        "time": text(NOON + timedelta(hours=1)),
        "min": 1,
        "max": 1000,
        "avg": pytest.approx((359 + 1000) / 360),
        "first": 1,
        "last": 1,
        "count": 360,
        "good": 360,
        "quality": "good",
    }
    assert series["gaps"] == []


def test_buckets_say_how_bad_the_worst_reading_was_and_where_there_was_none(api: Api, database: str) -> None:
    rows = []
    for minute in (*range(120), *range(240, 600)):
        quality = 0 if minute == 10 else 64 if minute == 70 else 192
        rows.append((NOON + timedelta(minutes=minute), HOT, None if quality == 0 else 1.0, None, quality, None))
    store(database, *rows)
    [series] = api.get("history", topic=HOT, from_=text(NOON), to=text(NOON + timedelta(hours=10)), points=10).json()[
        "series"
    ]
    assert [(point["quality"], point["count"], point["good"]) for point in series["points"][:3]] == [
        ("bad", 60, 59),
        ("uncertain", 60, 59),
        ("good", 60, 60),
    ]
    assert series["gaps"] == [{"from": text(NOON + timedelta(hours=2)), "to": text(NOON + timedelta(hours=4))}]


def test_days_are_those_of_the_time_zone(api: Api, database: str) -> None:
    start = datetime(2026, 3, 27, 23, tzinfo=UTC)  # midnight in Berlin, two days before the clock changes
    store(database, *((start + timedelta(hours=hour), HOT, float(hour), None, 192, None) for hour in range(96)))
    [series] = api.get(
        "history", topic=HOT, from_=text(start), to=text(start + timedelta(days=3)), points=4, timezone="Europe/Berlin"
    ).json()["series"]
    assert [(point["time"], point["count"]) for point in series["points"]] == [
        ("2026-03-27T23:00:00.000Z", 24),
        ("2026-03-28T23:00:00.000Z", 23),
        ("2026-03-29T22:00:00.000Z", 24),
        ("2026-03-30T22:00:00.000Z", 24),
    ]


def test_several_topics_are_a_series_each_in_the_order_asked_for(api: Api, database: str) -> None:
    store(database, *((NOON, f"dev/plc/{name}", 1.0, None, 192, None) for name in "ab"))
    asked = ["dev/plc/b", "dev/plc/none", "dev/plc/a"]
    answer = api.get("history", topic=asked, from_=text(NOON - timedelta(hours=1)), to=text(NOON + timedelta(hours=1)))
    assert [(one["topic"], len(one["points"])) for one in answer.json()["series"]] == list(
        zip(asked, (1, 0, 1), strict=True)
    )


def test_an_answer_that_the_client_has_is_not_sent_again(api: Api, database: str) -> None:
    store(database, (NOON, HOT, 1.0, None, 192, None))
    first = api.get("last", topic=HOT)
    again = api.get("last", topic=HOT, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status, again.content) == (304, b"")


def test_more_than_a_request_may_read_is_refused_with_what_to_narrow(api: Api, database: str) -> None:
    answer = api.get("history", topic=[f"dev/plc/{number}" for number in range(50)], points=10_000)
    assert (answer.status, "at most 2000 points" in answer.json()["detail"]) == (422, True)
    answer = api.get("history", topic=HOT, from_=text(NOON), to=text(NOON - timedelta(hours=1)))
    assert (answer.status, "must be before" in answer.json()["detail"]) == (422, True)
    answer = api.get("history", topic=HOT, from_="yesterday")
    assert (answer.status, answer.json()["detail"].startswith("from: ")) == (422, True)
    answer = api.get("history", topic=HOT, timezone="Mars/Olympus")
    assert (answer.status, "Europe/Berlin" in answer.json()["detail"]) == (422, True)


def test_an_export_has_every_reading_and_no_formula(api: Api, database: str) -> None:
    evil = '=HYPERLINK("http://evil")'
    store(
        database,
        (NOON, "dev/plc/a", 1.5, None, 192, "°C"),
        (NOON, "dev/plc/b", None, evil, 192, "@unit"),
        (NOON + timedelta(seconds=1), "dev/plc/b", None, None, 0, None),
        (NOON + timedelta(seconds=2), "dev/plc/b", -float(2**60), str(-(2**60)), 64, None),
        (NOON + timedelta(seconds=3), "dev/plc/b", None, 'two\nlines, "quoted"', 192, None),
    )
    answer = api.get(
        "export.csv", topic=["dev/plc/b", "dev/plc/a"], from_=text(NOON), to=text(NOON + timedelta(hours=1))
    )
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert [(row["topic"], row["value"], row["quality"], row["unit"]) for row in rows] == [
        ("dev/plc/b", f"'{evil}", "good", "'@unit"),
        ("dev/plc/b", "", "bad", ""),
        ("dev/plc/b", str(-(2**60)), "uncertain", ""),
        ("dev/plc/b", 'two\nlines, "quoted"', "good", ""),
        ("dev/plc/a", "1.5", "good", "°C"),
    ]
    assert datetime.fromisoformat(rows[1]["time"]) == NOON + timedelta(seconds=1)


def test_a_parquet_export_has_numbers_and_texts_apart(api: Api, database: str) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    store(
        database,
        (NOON, "dev/plc/a", 1.5, None, 192, "°C"),
        (NOON + timedelta(milliseconds=1), "dev/plc/a", None, "", 192, None),
        (NOON + timedelta(seconds=1), "dev/plc/a", None, None, 0, None),
    )
    answer = api.get("export.parquet", topic="dev/plc/a", from_=text(NOON), to=text(NOON + timedelta(hours=1)))
    rows = parquet.read_table(io.BytesIO(answer.content)).to_pylist()
    assert [(row["time"], row["value"], row["text"], row["quality"], row["unit"]) for row in rows] == [
        (NOON, 1.5, None, "good", "°C"),
        (NOON + timedelta(milliseconds=1), None, "", "good", None),
        (NOON + timedelta(seconds=1), None, None, "bad", None),
    ]


HOURS = 80  # more readings, one a second, than the buffers on their way hold
LONG = f"/api/v1/export.csv?topic={HOT}&from={text(NOON)}&to={text(NOON + timedelta(hours=HOURS))}"
COPIES = """
SELECT 1 FROM pg_stat_activity
WHERE datname = current_database() AND query LIKE '%COPY%' AND state = 'active' AND pid <> pg_backend_pid()
"""


def test_an_export_that_nobody_reads_to_its_end_leaves_nothing_behind(api: Api, database: str) -> None:
    store_hot(database, HOURS, 1)
    with psycopg.connect(database, autocommit=True) as watching:
        for _ in range(3):  # more than there may be at once
            with closing(http.client.HTTPConnection("127.0.0.1", api.port, timeout=20)) as connection:
                connection.request("GET", LONG)
                assert connection.getresponse().read(20).startswith(b"time,topic")
            until(lambda: watching.execute(COPIES).fetchone() is None, "the query has ended")
    until(lambda: api.ask("GET", LONG).content.count(b"\n") == HOURS * 3_600 + 1, "a whole export")


def test_one_person_has_one_export_at_a_time(api: Api, database: str) -> None:
    store_hot(database, HOURS, 1)
    with closing(http.client.HTTPConnection("127.0.0.1", api.port, timeout=20)) as connection:
        connection.request("GET", LONG)
        assert connection.getresponse().read(20)
        answer = api.ask("GET", LONG)
        assert (answer.status, answer.headers["retry-after"]) == (429, "60")
        assert api.get("last", topic=HOT).status == 200


def test_an_export_that_would_look_whole_when_it_is_cut_is_refused(api: Api) -> None:
    with socket.create_connection(("127.0.0.1", api.port), timeout=20) as client:
        client.sendall(f"GET {LONG} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".replace("+", "%2B").encode())
        assert b" 505 " in client.recv(100)
