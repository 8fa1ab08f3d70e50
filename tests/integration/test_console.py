"""The console as a whole: who may call it, and what it says when it cannot answer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts import Nexus, ended_with_block, until


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Nexus]:
    """One without a login, whose database is away."""
    one = Nexus(
        tmp_path,
        ["console"],
        {
            "NEXUS_CONSOLE_INSECURE": "1",
            "NEXUS_CONSOLE_PORT": "0",
            "NEXUS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nowhere",
        },
    )
    with ended_with_block(one):
        yield one


def test_it_is_not_ready_without_its_database_and_ends_at_once_when_told(console: Nexus) -> None:
    until(lambda: console.get("/ready")[0], "it answers")
    status, body = console.get("/ready")
    assert (status, "the database" in body) == (503, True)
    assert console.stop() == 0
