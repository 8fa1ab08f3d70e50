"""A request whose handling fails in a way that nobody foresaw."""

import json

import pytest
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from console import problems
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


@pytest.mark.parametrize(
    ("method", "path", "status", "remedy"),
    [("GET", "/api/v1/tagz", 404, "check its spelling"), ("PUT", "/api/v1/tags", 405, "send GET")],
)
async def test_an_address_that_is_not_there_is_answered_with_what_to_do(
    method: str, path: str, status: int, remedy: str
) -> None:
    app = FastAPI()
    app.get("/api/v1/tags")(lambda: None)
    problems.install(app)
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {**SCOPE, "method": method, "path": path, "query_string": b""}
    await app(scope, receive, send)
    found = json.loads(sent[1]["body"])
    assert (found["status"], found["kind"]) == (status, "no-route")
    assert found["detail"] == f"no {method} of {path} here: {remedy}; /api/v1/docs lists what there is"
