"""Bodies that are too large or too slow."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import Message, Receive, Scope, Send

from console import bodies
from console.bodies import Bodies

IsKnown = Callable[[HTTPConnection], Awaitable[bool]]


async def read_all(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass


async def known(_: HTTPConnection) -> bool:
    return True


async def unknown(_: HTTPConnection) -> bool:
    return False


async def ask(parts: Iterator[bytes], is_known: IsKnown = known) -> None:
    async def receive() -> Message:
        part = next(parts, None)
        if part is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": part, "more_body": True}

    async def send(_: Message) -> None: ...

    await Bodies(read_all, is_known)({"type": "http"}, receive, send)


async def test_a_body_without_an_end_is_refused_when_it_is_larger_than_any() -> None:
    with pytest.raises(HTTPException) as refused:
        await ask(iter(lambda: b"x" * 65_536, None))
    assert refused.value.status_code == 413


async def test_who_is_not_logged_in_sends_no_more_than_a_login_needs() -> None:
    with pytest.raises(HTTPException, match="log in first") as refused:
        await ask(iter([b"x" * 65_536, b"x"]), unknown)
    assert refused.value.status_code == 413


async def test_a_body_that_stops_coming_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SECONDS", 0.01)
    with pytest.raises(HTTPException) as refused:
        await ask(iter([b"x"]))
    assert refused.value.status_code == 408


async def test_a_body_that_comes_in_drops_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "WHOLE_SECONDS", 0.0)
    with pytest.raises(HTTPException, match="several requests") as refused:
        await ask(iter([b"x"]))
    assert refused.value.status_code == 408


async def test_all_bodies_together_are_bounded_until_they_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MOST_UNDER_WAY", 10)
    answer = asyncio.Event()

    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await answer.wait()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"x" * 6, "more_body": False}

    async def send(_: Message) -> None: ...

    whole = Bodies(answered, known)
    first = asyncio.create_task(whole({"type": "http"}, receive, send))
    await asyncio.sleep(0)
    with pytest.raises(HTTPException) as refused:
        await whole({"type": "http"}, receive, send)
    assert refused.value.status_code == 503
    answer.set()
    await first
    await whole({"type": "http"}, receive, send)
