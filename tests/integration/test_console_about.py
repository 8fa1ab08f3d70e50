"""What the console says of itself: versions and licences, its API and a page for it, and what it counts."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from console.pages import BUILT
from tests.conftest import TIERS
from tests.console_api import Api
from tests.parts import Nexus, free_port, until

REFERENCE = Path(__file__).parents[2] / "console/api/reference"


@pytest.fixture
def console(database: str, nexus: Callable[..., Nexus]) -> SimpleNamespace:
    port = free_port()
    process = nexus("console", database_url=database, console_insecure="1", console_port=str(port)).until_ready()
    return SimpleNamespace(process=process, api=Api(port))


def counted(process: Nexus, name: str) -> dict[str, float]:
    """The samples of a metric, by their labels."""
    lines = process.get("/metrics")[1].splitlines()
    found = [re.fullmatch(rf"{name}(\{{.*\}})? (\S+)", line) for line in lines]
    return {one[1] or "": float(one[2]) for one in found if one}


@pytest.mark.parametrize("empty_database", TIERS, indirect=True)
def test_it_names_versions_licences_and_the_databases_tier(
    console: SimpleNamespace, request: pytest.FixtureRequest
) -> None:
    said = console.api.get("about").json()
    assert said["tier"] == request.node.callspec.params["empty_database"]
    assert said["version"].startswith("nexus-edge ")
    licences = {one["name"].lower(): one["licence"] for one in said["licences"] if one["part"] == "program"}
    assert (licences["fastapi"], licences["uvicorn"]) == ("MIT", "BSD-3-Clause")
    assert [name for name, licence in licences.items() if licence is None] == []
    in_pages = {one["name"]: one["licence"] for one in said["licences"] if one["part"] == "pages"}
    assert BUILT.exists() == ("preact" in in_pages)


def test_the_api_is_described_on_a_page_of_our_own_files(console: SimpleNamespace) -> None:
    described = console.api.get("openapi.json").json()
    assert "/api/v1/about" in described["paths"]
    page = console.api.get("docs")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    linked = re.findall(r'(?:src|href)="docs/([\w.]+)"', page.content.decode())
    assert sorted(linked) == ["page.css", "page.js"]
    assert [console.api.get(f"docs/{name}").status for name in linked] == [200, 200]
    assert console.api.get("docs/page.html").status == 422


def test_the_pages_files_hold_nothing_that_the_policy_forbids() -> None:
    text = "".join(file.read_text() for file in REFERENCE.iterdir())
    assert not re.search(r"https?://|style=|<style| on\w+=|<script(?! type=\"module\" src=)", text)


def test_requests_are_counted_by_route_and_status_and_not_by_what_was_asked(console: SimpleNamespace) -> None:
    name = "nexus_console_request_seconds_count"
    for number in range(3):
        assert console.api.get("about", x=number).status == 200
        assert console.api.ask("GET", f"/nowhere/{number}").status in {200, 404}
    assert console.api.get("history", topic="dev/a/t", points=-1).status == 422
    wanted = {'{route="/api/v1/about",status="200"}': 3.0, '{route="/api/v1/history",status="422"}': 1.0}
    until(lambda: wanted.items() <= counted(console.process, name).items(), "they are counted")
    assert not any("nowhere" in labels for labels in counted(console.process, name))


def test_a_connection_that_answers_somebody_is_counted(console: SimpleNamespace) -> None:
    assert counted(console.process, "nexus_console_database_up") == {"": 1.0}
    assert counted(console.process, "nexus_console_database_waiting") == {"": 0.0}
