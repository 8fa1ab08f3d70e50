"""A request whose handling fails in a way that nobody foresaw."""

import json

from starlette.types import Message, Receive, Scope, Send

from console.faults import Faults
from console.headers import Headers

SCOPE: Scope = {"type": "http", "method": "GET", "path": "/api/v1/x", "headers": []}


async def receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def test_it_is_answered_with_a_problem_document_and_all_headers() -> None:
    async def fails(*_: object) -> None:
        raise LookupError("what nobody foresaw")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await Headers(Faults(fails))(SCOPE, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    assert (sent[0]["status"], headers["content-type"]) == (500, "application/problem+json")
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "LookupError" in json.loads(sent[1]["body"])["detail"]


async def test_an_answer_that_has_begun_is_cut() -> None:
    async def begins(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise LookupError("halfway")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    try:
        await Faults(begins)(SCOPE, receive, send)
    except LookupError:
        assert [message["type"] for message in sent] == ["http.response.start"]
    else:
        raise AssertionError("it ended like a whole one")
