"""All that the API's description allows, and what it forbids, asked of a console that runs as in production.

Twenty seconds in `make test`, ten minutes in `make chaos`; NEXUS_HOSTILE_SECONDS says how long.
"""

import http.client
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import hypothesis
import psycopg
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import response_schema_conformance

from console.access.person import Role
from console.bodies import LARGEST
from tests.conftest import Production
from tests.consoles import Browser, Console, add_key
from tests.parts import ended_with_block

SECONDS = float(os.environ.get("NEXUS_HOSTILE_SECONDS", "20"))
EXAMPLES = 4  # of an operation in a turn
LONGEST_REQUEST = 16_000  # bytes of a request's line: whoever sends more is hung up on
WAITS = ("/api/v1/write", "/api/v1/files")  # for gateways, of which there is none here


@pytest.fixture
def console(tmp_path: Path, production: Production) -> Iterator[Console]:
    one = Console(tmp_path, production.owner, console_insecure="1", mqtt_url=production.mqtt("console"))
    with ended_with_block(one):
        yield one.until_serving()


@pytest.fixture
def browser(console: Console, production: Production) -> Browser:
    return Browser(console.web, add_key(production.owner, "fuzz", Role.engineer))


def operations(browser: Browser) -> list[APIOperation[Any, Any, Any, Any]]:
    """All, but those that end the login by which they are asked."""
    schema = schemathesis.openapi.from_dict(browser.ask("GET", "openapi.json").json)
    found = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    return [one for one in found if (one.method, one.path.rsplit("/", 1)[1]) != ("delete", "{id}")]


def check(case: Case[Any], browser: Browser) -> None:
    """An answer as it is described, or a problem that says what to do."""
    headers = {"Authorization": f"Bearer {browser.key}"}
    try:
        answer = case.call(base_url=f"http://127.0.0.1:{browser.port}", headers=headers, timeout=20)
    except OSError:  # requests' errors are such
        if len(case.as_curl_command()) <= LONGEST_REQUEST:
            raise
        return
    content_type = answer.headers.get("content-type", [""])[0]
    if answer.status_code < 400:
        case.validate_response(answer, checks=[response_schema_conformance])
        return
    assert answer.status_code not in (500, 502), (case.as_curl_command(), answer.text)
    assert content_type == "application/problem+json", (case.as_curl_command(), answer.status_code, content_type)
    problem = json.loads(answer.content)
    assert problem["status"] == answer.status_code, case.as_curl_command()
    assert problem["title"], case.as_curl_command()
    assert problem["detail"], case.as_curl_command()


@pytest.mark.timeout(SECONDS * 10 + 120)
def test_every_answer_is_as_described_or_a_problem(browser: Browser, console: Console) -> None:
    ends, seed = time.monotonic() + SECONDS, 0
    while time.monotonic() < ends:
        for operation in operations(browser):
            for mode in GenerationMode:
                if mode is GenerationMode.NEGATIVE or not operation.path.startswith(WAITS):
                    fuzz(operation, mode, seed, lambda case: check(case, browser))
        seed += 1
    assert browser.ask("GET", "about").status == 200
    assert console.process.poll() is None


def fuzz(
    operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, seed: int, ask: Callable[[Case[Any]], None]
) -> None:
    """Some cases of one operation."""

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(operation.as_strategy(mode))
    def run(case: Case[Any]) -> None:
        ask(case)

    with suppress(hypothesis.errors.Unsatisfiable):  # nothing can be wrong of an operation without parameters
        run()


@pytest.mark.parametrize(
    "text",
    [
        "' OR 1=1 --",
        "'; DROP TABLE metrics; --",
        "$$; DROP TABLE metrics; $$",
        "%' OR topic LIKE '%",
        "../../etc/passwd",
        "\r\nSet-Cookie: session=stolen",
        "{}{0}%s%(topic)s",
        "\\",
    ],
)
def test_what_is_asked_is_never_taken_for_more_than_text(browser: Browser, production: Production, text: str) -> None:
    with psycopg.connect(production.owner) as connection:
        connection.execute("INSERT INTO metrics VALUES (now(), 'dev/plc/t', 1, NULL, 192, NULL)")
        connection.execute("INSERT INTO topics VALUES ('dev/plc/t')")
    quoted = quote(text)
    for path in (
        f"tags?q={quoted}",
        f"tags?device={quoted}",
        f"tags?q=none&after={quoted}",
        f"last?topic={quoted}",
        f"history?topic={quoted}",
        f"annotations?topic={quoted}",
        f"annotations?device={quoted}",
        f"rejects?reason={quoted}",
        f"rejects?topic={quoted}",
    ):
        answer = browser.ask("GET", path)
        assert answer.status == 200, (path, answer.body)
        assert "set-cookie" not in answer.headers
        found = answer.json
        assert not found.get("items"), path
        assert not any(series["points"] for series in found.get("series", [])), path
    for path in (f"export.csv?topic={quoted}", f"annotations?topic={quoted}"):
        assert b"dev/plc/t" not in browser.ask("GET", path).body
    assert browser.ask("GET", f"history?topic=x&timezone={quoted}").status == 422
    with psycopg.connect(production.owner) as connection:
        assert connection.execute("SELECT count(*) FROM metrics").fetchone() == (1,)


def test_a_body_is_no_larger_than_any_that_is_asked_for(browser: Browser, console: Console) -> None:
    large = b"x" * (LARGEST + 1)
    answer = browser.ask("POST", "last", large)
    assert (answer.status, answer.json["title"]) == (413, "Request Entity Too Large")
    headers = {"Authorization": f"Bearer {browser.key}", "Content-Type": "application/json"}
    parts = (b"y" * 65_536 for _ in range(LARGEST // 65_536 + 2))
    with closing(http.client.HTTPConnection("127.0.0.1", console.web, timeout=20)) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # it need not read what it refuses
            connection.request("POST", "/api/v1/last", parts, headers, encode_chunked=True)
        with suppress(ConnectionResetError):
            assert connection.getresponse().status == 413
    assert browser.ask("GET", "about").status == 200
