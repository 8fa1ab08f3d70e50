"""What stands beside the readings: annotations, rejects, and where the first version of the API was."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.conftest import Production
from tests.console_api import Api
from tests.integration.test_historian_api import HOT, NOON, store, text
from tests.parts import Nexus, as_role, free_port, until


@pytest.fixture
def api(database: str, nexus: Callable[..., Nexus]) -> Api:
    port = free_port()
    nexus("console", database_url=database, console_insecure="1", console_port=str(port)).until_ready()
    return Api(port)


def test_annotations_are_found_by_topic_device_and_time(api: Api) -> None:
    hour = timedelta(hours=1)
    of_tag = {"topic": HOT, "from": text(NOON), "to": text(NOON + hour), "text": "bearing changed"}
    of_line = {"device": "plant/line1", "from": text(NOON), "text": "power cut"}
    of_other = {"device": "plant/line2", "from": text(NOON), "text": "cleaning"}
    for one in (of_tag, of_line, of_other):
        assert api.post("annotations", one).status == 201
    found = api.get("annotations", topic=HOT, from_=text(NOON - hour), to=text(NOON + hour)).json()["items"]
    assert [(one["topic"], one["device"], one["text"], one["person"]) for one in found] == [
        (HOT, None, "bearing changed", "anonymous"),
        (None, "plant/line1", "power cut", "anonymous"),
    ]
    assert (found[1]["from"], found[1]["to"]) == (text(NOON), text(NOON))
    assert api.get("annotations", topic=HOT, from_=text(NOON + 2 * hour)).json()["items"] == []
    assert [one["text"] for one in api.get("annotations").json()["items"]] == [
        "bearing changed",
        "power cut",
        "cleaning",
    ]


def test_an_annotation_is_about_something_and_some_time(api: Api) -> None:
    for wrong in (
        {"from": text(NOON), "text": "of what?"},
        {"topic": HOT, "device": "plant", "from": text(NOON), "text": "of which?"},
        {"topic": HOT, "from": text(NOON), "to": text(NOON - timedelta(hours=1)), "text": "when?"},
        {"topic": HOT, "from": text(NOON), "text": ""},
        {"topic": HOT, "from": text(NOON), "text": "nul \0"},
    ):
        assert api.post("annotations", wrong).status == 422


def test_the_console_cannot_change_an_annotation(api: Api, database: str) -> None:
    api.post("annotations", {"topic": HOT, "from": text(NOON), "text": "bearing changed"})
    with psycopg.connect(as_role(database, "nexus_console"), autocommit=True) as connection:
        for query in ("UPDATE annotations SET text = ''", "DELETE FROM annotations", "TRUNCATE annotations"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(query.encode())


def test_rejects_are_shown_the_newest_first_and_by_reason(api: Api, database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.cursor().executemany(
            "INSERT INTO rejects (topic, payload, reason) VALUES (%s, %s, %s)",
            [
                ("dev/a/t", b'{"v": ', "not JSON: it ends too soon"),
                ("dev/b/t", b"\xff\xfe", "not JSON: malformed"),
                ("dev/b/u", b"x" * 5_000, "the topic is too long"),
            ],
        )
    page = api.get("rejects", reason="NOT json", limit=1).json()
    assert [(one["topic"], one["payload"]) for one in page["items"]] == [("dev/b/t", "\\xff\\xfe")]
    following = api.get("rejects", reason="NOT json", limit=1, after=page["next"]).json()
    assert [(one["topic"], one["payload"]) for one in following["items"]] == [("dev/a/t", '{"v": ')]
    [large] = api.get("rejects", topic="dev/*/u").json()["items"]
    assert (len(large["payload"]), large["bytes"]) == (2_000, 5_000)
    assert {one["reason"]: one["count"] for one in page["reasons"]}["the topic is too long"] == 1
    assert api.get("rejects", reason="100%_sure").json()["items"] == []


def test_rejects_are_tried_again_by_an_ingester(api: Api, production: Production, nexus: Callable[..., Nexus]) -> None:
    with psycopg.connect(production.owner) as connection:
        connection.cursor().executemany(
            "INSERT INTO rejects (topic, payload, reason) VALUES (%s, %s, %s)",
            [
                ("dev/a/t", b'{"v": 1.5, "ts": %d}' % (NOON.timestamp() * 1000), "a fault that is mended"),
                ("dev/b/t", b'{"v": ', "a fault that stays"),
                ("dev/c/t", b'{"v": 1.5, "ts": %d}' % (NOON.timestamp() * 1000), "not asked for"),
            ],
        )
    assert api.post("rejects/retry", {}).status == 422
    asked = api.post("rejects/retry", {"reason": "A fault"})
    assert (asked.status, asked.json()) == (202, {"asked": 2, "left": 0})
    assert [one["retry"] for one in api.get("rejects").json()["items"]] == [None, "asked", "asked"]
    nexus("ingest", database_url=production.owner, mqtt_url=production.mqtt("ingestion"), group="retry").until_ready()
    until(lambda: api.get("last", topic="dev/a/t").json()["items"], "it is stored")
    until(lambda: not any(one["retry"] for one in api.get("rejects").json()["items"]), "all are tried")
    assert {one["topic"]: one["tried"] is not None for one in api.get("rejects").json()["items"]} == {
        "dev/b/t": True,
        "dev/c/t": False,
    }
    assert api.get("last", topic=["dev/b/t", "dev/c/t"]).json()["items"] == []


def test_rejects_that_stay_do_not_keep_others_from_being_tried(api: Api, production: Production) -> None:
    with psycopg.connect(production.owner) as connection:
        connection.execute(
            "INSERT INTO rejects (topic, payload, reason, tried)"
            " SELECT 'dev/a/t', '', 'a fault', now() FROM generate_series(1, 10000)"
        )
        connection.execute("INSERT INTO rejects (topic, payload, reason) VALUES ('dev/b/t', '', 'a fault')")
    assert api.post("rejects/retry", {"reason": "a fault"}).json() == {"asked": 10_000, "left": 1}
    [newest] = api.get("rejects", limit=1).json()["items"]
    assert (newest["topic"], newest["retry"]) == ("dev/b/t", "asked")


def test_the_first_versions_pages_answer_where_they_were(api: Api, database: str) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    store(database, *((now - timedelta(seconds=one), HOT, float(one), None, 192, "°C") for one in range(5)))
    rows = api.ask("GET", f"/api/data?topic={HOT}&limit=2").json()
    assert rows == [
        {"time": text(now - timedelta(seconds=one)), "topic": HOT, "value": one, "quality": "good", "unit": "°C"}
        for one in (1, 0)
    ]
    assert b"nexus_console_request_seconds" in api.ask("GET", "/metrics").content


def test_who_annotates_is_in_the_audit(api: Api, database: str) -> None:
    stored = api.post("annotations", {"topic": HOT, "from": text(NOON), "text": "bearing changed"}).json()
    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT event, person, topic, new FROM console_audit").fetchall()
    assert rows == [("annotation", "anonymous", HOT, stored)]
