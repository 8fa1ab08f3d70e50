"""The schema that is shown is the one that the migrations make."""

from pathlib import Path

import pytest

from db import schema
from db.migrate import connect
from tests.conftest import TIERS

FOLDER = Path(schema.__file__).parent
FILES = {"plain": "schema.sql", "community": "schema.community.sql"}


@pytest.mark.parametrize("empty_database", [TIERS[0], TIERS[2]], indirect=True)
def test_the_schema_that_is_shown_is_what_the_migrations_make(request: pytest.FixtureRequest, database: str) -> None:
    with connect(database) as connection:
        made = schema.rendered(connection)
    file = FOLDER / FILES[request.node.callspec.params["empty_database"]]
    assert made == file.read_text(), "run `make schema`, with NEXUS_TEST_DATABASE_URL for the Community tier"
