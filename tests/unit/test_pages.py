from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Message, Scope

from console.pages import Pages
from console.problems import Problem


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("the first page")
    (tmp_path / "icon.svg").write_text("<svg/>")
    (tmp_path / "assets" / "index-0a1b.js").write_text("code")
    return tmp_path


async def _get(directory: Path, path: str) -> tuple[int, str, str]:
    """Status, how long it may be kept, and the body."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    app = Starlette(routes=[Mount("/", Pages(directory))])
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "method": "GET",
        "path": path,
        "root_path": "",
        "headers": [],
        "query_string": b"",
    }
    await app(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], headers.get("cache-control", ""), body.decode()


@pytest.mark.parametrize("path", ["/", "/trend", "/plant/plant/line1/plc001"])
async def test_every_address_of_a_page_gets_the_first_page_asked_for_anew(built: Path, path: str) -> None:
    assert await _get(built, path) == (200, "no-cache", "the first page")


async def test_files_named_by_their_content_are_kept_for_ever_and_others_asked_for_anew(built: Path) -> None:
    assert await _get(built, "/assets/index-0a1b.js") == (200, "public, max-age=31536000, immutable", "code")
    assert await _get(built, "/icon.svg") == (200, "no-cache", "<svg/>")


@pytest.mark.parametrize("path", ["/assets/index-of-another-build.js", "/api/v1/nothing", "/api"])
async def test_what_is_no_page_is_not_found(built: Path, path: str) -> None:
    status, _, body = await _get(built, path)
    assert (status, "the first page" in body) == (404, False)


@pytest.mark.parametrize("path", ["/../secret", "/assets/../../secret", "/%2e%2e/secret"])
async def test_no_path_leads_out_of_the_pages(built: Path, path: str) -> None:
    (built.parent / "secret").write_text("secret")
    _, _, body = await _get(built, path)
    assert body != "secret"


async def test_a_checkout_without_built_pages_says_how_to_build_them(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="make setup"):
        await _get(tmp_path / "nowhere", "/")
