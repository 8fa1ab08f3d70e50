"""Who gets into the console, what each role may do there, and what is kept of it; with production's database role."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from console.access.person import Role
from tests.consoles import Answer, Browser, Console, add_user
from tests.integration.test_writer import query
from tests.parts import ended_with_block


@pytest.fixture
def start(tmp_path: Path, database: str) -> Iterator[Callable[..., Console]]:
    """Starts consoles on a database with the users vera (viewer), otto (operator) and edda (engineer)."""
    for name, role in (("vera", Role.viewer), ("otto", Role.operator), ("edda", Role.engineer)):
        add_user(database, name, role)
    started: list[Console] = []

    def one(**settings: str) -> Console:
        started.append(Console(tmp_path, database, **settings))
        return started[-1].until_serving()

    with ended_with_block(*started):
        yield one
    for console in started:
        console.process.kill()
        console.process.wait()


@pytest.fixture
def console(start: Callable[..., Console]) -> Console:
    return start()


def browser(console: Console, name: str) -> Browser:
    one = Browser(console.web)
    assert one.log_in(name).status == 200
    return one


def audit(url: str, event: str) -> list[tuple[Any, ...]]:
    return query(url, f"SELECT person, address, ok, old, new FROM console_audit WHERE event = '{event}' ORDER BY id")


def refused(answer: Answer, status: int, said: str) -> bool:
    assert answer.headers["content-type"] == "application/problem+json", answer
    assert (answer.status, said in answer.json["detail"]) == (status, True), answer.json
    return True


def test_one_logs_in_and_out_with_a_cookie_that_no_script_and_no_other_site_gets(
    console: Console, database: str
) -> None:
    one = Browser(console.web)
    answer = one.log_in(" Otto ")
    assert answer.json == {
        **{"name": "otto", "role": "operator", "via": "session", "read_only": False, "insecure": False},
        "csrf": one.csrf,
    }
    assert "samesite=strict" in answer.headers["set-cookie"].lower()
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert one.ask("GET", "session").json == answer.json
    kept = dict(one.cookies)
    assert one.ask("DELETE", "session").status == 204
    assert "nexus_session" not in one.cookies
    assert one.ask("GET", "session").status == 401
    one.cookies = kept
    assert refused(one.ask("GET", "session"), 401, "this session has ended")
    assert audit(database, "login") == audit(database, "logout") == [("otto", "127.0.0.1", True, None, None)]
