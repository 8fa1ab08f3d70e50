"""A batch that cannot be written whole: whose fault it is decides what becomes of it."""

import asyncio

import pytest

from ingestion.apart import write_apart
from ingestion.batch import Batch, Delivery
from ingestion.database import BatchRefused, DatabaseAway
from ingestion.decoders import Decoders
from ingestion.encoding import Encoding
from ingestion.quota import Quota
from ingestion.rows import Window
from ingestion.tables import Written


def apart(topics: list[str], *, of_data: bool) -> tuple[Written, list[str]]:
    """What is written, and which topics are set aside, where the database takes nothing that is called `bad`."""
    aside: list[str] = []

    async def write(batch: Batch) -> Written:
        if any("bad" in topic for topic in batch.rows.by_topic):
            raise BatchRefused("no", of_data=of_data)
        aside.extend(reject.topic for reject in batch.rejects)
        return Written(batch.rows.count, 0, len(batch.rejects))

    batch = Batch(
        deliveries=[Delivery(topic, b'{"v":1,"ts":1700000000000}', lambda: None) for topic in topics],
        window=Window.at(1_700_000_000_000, 0),
    )
    written = asyncio.run(write_apart(Encoding(Decoders([])), Quota(), write, batch))
    return written, aside


@pytest.mark.parametrize("of_data", [True, False])
def test_what_cannot_be_written_is_set_aside_and_the_rest_stored(*, of_data: bool) -> None:
    written, aside = apart(["dev/a", "dev/bad1", "dev/b", "dev/bad2"], of_data=of_data)
    assert (written.rows, aside) == (2, ["dev/bad1", "dev/bad2"])


def test_messages_that_are_at_fault_stop_nothing_even_if_there_are_no_others() -> None:
    written, aside = apart(["dev/bad1", "dev/bad2", "dev/bad3"], of_data=True)
    assert (written.rows, aside) == (0, ["dev/bad1", "dev/bad2", "dev/bad3"])


def test_where_nothing_can_be_written_and_nobody_knows_why_it_waits() -> None:
    with pytest.raises(DatabaseAway, match="nothing can be written"):
        apart(["dev/bad1", "dev/bad2"], of_data=False)
