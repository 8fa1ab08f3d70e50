"""`nexus db refresh`: brings data loaded past the ingester into the rollups and the list of topics."""

from collections.abc import Iterator

from db import exclusive
from db.migrate import Connection, Tier, tier

_DAYS = "SELECT stored_days(time_bucket('1 day', now()) - INTERVAL '1 day')"
# Each day's topics are in the daily values; the view adds the newest readings.
_TOPICS = "INSERT INTO topics (topic) SELECT DISTINCT topic FROM {} ON CONFLICT DO NOTHING"


def refresh(connection: Connection) -> Iterator[str]:
    """Refreshes, and yields lines that say what was done. Days whose rollups hold more than the table stay."""
    is_community = tier(connection) is Tier.COMMUNITY
    if is_community:
        days = [day for (day,) in connection.execute(_DAYS)]
        refreshed = 0
        for day in days:
            if _refresh_day(connection, day):
                refreshed += 1
                yield f"refreshed {day:%Y-%m-%d}"
        yield f"{refreshed} of {len(days)} days were not wholly in the rollups"
    added = connection.execute(_TOPICS.format("metrics_1day" if is_community else "metrics").encode()).rowcount
    yield f"{added} topics added"


def _refresh_day(connection: Connection, day: object) -> bool:
    """Returns whether the day was incomplete."""
    row = exclusive.refresh(connection, "CALL refresh_day(%s)", (day,))
    return row is not None and row != (0,)
