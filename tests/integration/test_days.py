"""Daily values are of the plant's days, whatever its time zone, on each tier."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from db.migrate import connect, migrate
from db.refresh import refresh
from db.settings import Settings
from db.status import status
from nexus.process.errors import ConfigError
from tests.conftest import TIERS
from tests.integration.test_rollups import TODAY, VIEWS, load, policies, query, rest
from tests.parts import as_role

# Two days before the clocks changed in Europe.
SPRING, AUTUMN = datetime(2026, 3, 27, tzinfo=UTC), datetime(2025, 10, 24, tzinfo=UTC)
ZONES = pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata", "America/New_York"])
COMMUNITY = pytest.mark.parametrize("empty_database", ["community"], indirect=True)


def move(url: str, zone: str) -> None:
    with connect(url) as connection:
        migrate(connection, Settings(time_zone=zone))


def shown(url: str) -> None:
    """At rest, but the views show as in production what is not computed, too."""
    rest(url)
    for view in VIEWS:
        query(url, f"ALTER MATERIALIZED VIEW {view} SET (timescaledb.materialized_only = false)")


def rolled_up(url: str) -> None:
    with connect(url) as connection:
        list(refresh(connection))


def differing(url: str, zone: str) -> list[tuple[Any, ...]]:
    """Days whose daily values are not those of the readings."""
    return query(
        url,
        "SELECT bucket, a.count, b.count FROM metrics_1day a FULL JOIN ("
        f" SELECT date_trunc('day', time, '{zone}') AS bucket, topic, count(*) FROM metrics GROUP BY 1, 2"
        ") b USING (bucket, topic) WHERE a.count IS DISTINCT FROM b.count",
    )


@pytest.mark.parametrize("empty_database", TIERS, indirect=True)
def test_a_day_begins_at_the_plants_midnight_and_has_23_to_25_hours(database: str) -> None:
    is_community = query(database, "SELECT tier FROM nexus_migrations LIMIT 1") == [("community",)]
    if is_community:
        rest(database)
    for first in (SPRING, AUTUMN):
        load(database, first, 4)
    dates = "'2025-10-25', '2025-10-26', '2026-03-28', '2026-03-29', '2026-03-30'"  # clocks change on the 26th and 29th
    day = "bucket AT TIME ZONE plant_time_zone()"
    days = f"SELECT count / 6 FROM metrics_1day WHERE {day} IN ({dates}) ORDER BY bucket"
    for zone, hours in (("UTC", [24, 24, 24, 24, 24]), ("Europe/Berlin", [24, 25, 24, 23, 24])):
        move(database, zone)
        if is_community:
            rolled_up(database)
        assert query(database, days) == [(count,) for count in hours]
        with connect(database) as connection:
            assert dict(status(connection)[0])["time zone of the daily values"] == zone


@pytest.mark.parametrize("empty_database", TIERS, indirect=True)
def test_a_migration_without_a_time_zone_keeps_the_one_of_the_database(database: str) -> None:
    move(database, "Europe/Berlin")
    with connect(database) as connection:
        migrate(connection, Settings())
    assert query(database, "SELECT plant_time_zone()") == [("Europe/Berlin",)]
    move(database, "UTC")
    assert query(database, "SELECT plant_time_zone()") == [("UTC",)]


def test_a_time_zone_that_the_server_does_not_know_is_refused_with_the_remedy(database: str) -> None:
    with pytest.raises(ConfigError, match=r"NEXUS_TIME_ZONE.*'Europe/Berln': did you mean Europe/Berlin\?"):
        move(database, "Europe/Berln")
    assert query(database, "SELECT plant_time_zone()") == [("UTC",)]


@pytest.mark.timescale
@COMMUNITY
@ZONES
def test_another_time_zone_computes_the_days_again_and_late_and_loaded_readings_go_into_them(
    database: str, zone: str
) -> None:
    rest(database)
    for first in (SPRING, AUTUMN):
        load(database, first, 4)
    rolled_up(database)
    assert differing(database, "UTC") == []
    query(database, "GRANT SELECT ON metrics_1day TO nexus_writer")
    move(database, zone)
    rest(database)
    assert differing(database, zone) == []
    assert query(as_role(database, "nexus_writer"), "SELECT count(*) FROM metrics_1day") != [(0,)]
    load(database, TODAY - timedelta(days=30, hours=-6), 3, "7 minutes")
    assert query(database, "SELECT days_not_rolled_up()") == [(4,)]
    rolled_up(database)
    assert query(database, "SELECT days_not_rolled_up()") == [(0,)]
    assert differing(database, zone) == []
    query(database, "SELECT compress_chunk(c) FROM show_chunks('metrics') c")
    query(
        database,
        "INSERT INTO metrics_late SELECT t, 'dev/late/t', 2, NULL, 192, NULL"
        f" FROM generate_series(timestamptz '{TODAY - timedelta(days=35)}', '{TODAY - timedelta(days=25)}', '37 min') AS t",
    )
    query(database, "CALL merge_late()")
    assert differing(database, zone) == []
    with connect(database) as connection:
        assert next(iter(refresh(connection))).startswith("0 of")
    load(database, TODAY - timedelta(days=3), 3, "11 minutes")
    policies(database)
    assert {day for day, *_ in differing(database, zone) if day < TODAY - timedelta(days=2)} == set()


@pytest.mark.timescale
@COMMUNITY
def test_days_that_cannot_be_computed_again_stay(database: str) -> None:
    rest(database)
    first = TODAY - timedelta(days=90)
    load(database, first, 60, "1 hour")
    rolled_up(database)
    query(database, f"SELECT drop_chunks('metrics_1hour', older_than => '{TODAY - timedelta(days=50)}'::timestamptz)")
    [(oldest,)] = query(database, "SELECT min(bucket) FROM metrics_1hour")
    assert first < oldest < TODAY - timedelta(days=50)
    move(database, "Europe/Berlin")
    rest(database)
    assert query(database, "SELECT sum(count)::int, min(bucket) FROM metrics_1day") == [(60 * 24, first)]
    assert query(database, f"SELECT min(bucket) FROM metrics_1day WHERE bucket > '{oldest}'") != [(oldest,)]


@pytest.mark.timescale
@COMMUNITY
def test_computing_days_again_goes_on_when_it_was_interrupted(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rest(database)
    load(database, TODAY - timedelta(days=60), 50, "1 hour")
    rolled_up(database)
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr("db.days.refresh", lambda *_: 1 / 0)
        move(database, "Europe/Berlin")
    with connect(database) as connection:
        assert "run `nexus db migrate`" in dict(status(connection)[0])["time zone of the daily values"]
    move(database, "Europe/Berlin")
    rest(database)
    assert differing(database, "Europe/Berlin") == []


@pytest.mark.timescale
@COMMUNITY
def test_a_view_that_is_in_the_way_is_named(database: str) -> None:
    query(database, "CREATE VIEW mine AS SELECT * FROM metrics_1day")
    with pytest.raises(ConfigError, match="view mine depends on view metrics_1day"):
        move(database, "Europe/Berlin")
    assert query(database, "SELECT plant_time_zone()") == [("UTC",)]
    query(database, "DROP VIEW mine")
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM metrics_1day").fetchone() == (0,)


@pytest.mark.timescale
@COMMUNITY
@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata"])
def test_days_stay_where_nothing_is_left_that_they_were_made_from(database: str, zone: str) -> None:
    rest(database)
    load(database, TODAY - timedelta(days=90), 60, "1 hour")
    rolled_up(database)
    for finer in ("metrics", "metrics_1min", "metrics_1hour"):
        query(database, f"SELECT drop_chunks('{finer}', older_than => '{TODAY}'::timestamptz)")
    for there_or_back in (zone, "UTC"):
        move(database, there_or_back)
        rest(database)
        assert query(database, "SELECT count(*), sum(count)::int FROM metrics_1day") == [(60, 60 * 24)]


@pytest.mark.timescale
@COMMUNITY
def test_at_the_edge_of_what_is_dropped_no_reading_counts_twice_or_is_left_out(database: str) -> None:
    rest(database)
    load(database, TODAY - timedelta(days=90), 60, "1 hour")
    move(database, "America/New_York")
    rest(database)
    rolled_up(database)
    query(database, f"SELECT drop_chunks('metrics_1hour', older_than => '{TODAY - timedelta(days=50)}'::timestamptz)")
    for zone in ("UTC", "Asia/Tokyo", "America/New_York", "America/Toronto", "UTC"):
        move(database, zone)
        shown(database)
        rolled_up(database)
        assert query(database, "SELECT sum(count)::int FROM metrics_1day") == [(60 * 24,)], zone


@pytest.mark.timescale
@COMMUNITY
def test_a_late_row_of_yesterday_hides_no_other_tags_day(database: str) -> None:
    with connect(database) as connection:
        migrate(connection, Settings(compress_after=1))
    shown(database)
    every = f"generate_series(timestamptz '{TODAY - timedelta(days=3)}', now() - interval '5 min', '10 min') t"
    query(
        database,
        f"INSERT INTO metrics SELECT t, 'dev/' || d, 1, NULL, 192, NULL FROM {every}, unnest(ARRAY['a', 'b']) d",
    )
    rolled_up(database)
    policies(database)
    [(border,)] = query(database, "SELECT late_before()")
    late = (
        f"generate_series(timestamptz '{border - timedelta(minutes=59)}', '{border - timedelta(minutes=1)}', '7 min') t"
    )
    query(database, f"INSERT INTO metrics_late SELECT t, 'dev/a', 2, NULL, 192, NULL FROM {late}")
    query(database, "CALL merge_late()")
    query(database, "INSERT INTO metrics VALUES (now() - interval '20 hours', 'dev/b', 1, NULL, 192, NULL)")
    policies(database)
    assert differing(database, "UTC") == []


@pytest.mark.timescale
@COMMUNITY
def test_days_that_were_kept_stay_when_another_zone_follows_an_interrupted_change(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest(database)
    load(database, TODAY - timedelta(days=90), 60, "1 hour")
    rolled_up(database)
    for finer in ("metrics", "metrics_1min", "metrics_1hour"):
        query(database, f"SELECT drop_chunks('{finer}', older_than => '{TODAY - timedelta(days=50)}'::timestamptz)")
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr("db.days.refresh", lambda *_: 1 / 0)
        move(database, "Europe/Berlin")
    move(database, "UTC")
    shown(database)
    assert query(database, "SELECT sum(count)::int FROM metrics_1day") == [(60 * 24,)]
