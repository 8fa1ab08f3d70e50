"""Receivers by HTTP: what they answer, and what an Alertmanager takes."""

import asyncio
import socket
import threading
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from console.notify.channels import mqtt
from console.notify.channels.alertmanager import Alertmanager, alert, tell
from console.notify.channels.email import Email, send
from console.notify.channels.http import post
from console.notify.channels.names import MOST, Names
from console.notify.channels.outcome import LaterError, RefusedError
from console.notify.message import Message
from tests.receivers import Reply, Webhook
from tests.unit.test_notify_routes import NOW, word

ANSWERS = [
    b"HTTP/1.1 200 OK\r\nX: " + b"a" * 20_000,
    b"HTTP/1.1 500 No\r\nContent-Length: 99\r\n\r\n/T0/TOPSECRET Bearer hidden-one",
]


@pytest.mark.parametrize("answer", ANSWERS)
async def test_no_answer_or_error_shows_a_secret_of_the_request(answer: bytes) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"body")
        writer.write(answer.ljust(300) + b"\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(reply, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/T0/TOPSECRET?key=OTHERSECRET"
    async with server:
        with pytest.raises(LaterError) as raised:
            await post(url, b"body", {"Authorization": "Bearer hidden-one"}, 5.0, None, names=Names())
    assert "***" in str(raised.value)
    assert not any(secret in str(raised.value) for secret in ("TOPSECRET", "OTHERSECRET", "hidden-one"))


@pytest.mark.parametrize(
    "answer",
    [
        b"Content-Length: 99\r\n\r\n",
        b"Content-Length: 99\r\n\r\ncut",
        b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnone",
        b"Transfer-Encoding: chunked\r\n\r\n",
    ],
)
@pytest.mark.parametrize("stalls", [True, False])
@pytest.mark.parametrize(("status", "error"), [(200, None), (404, RefusedError), (503, LaterError)])
async def test_the_status_counts_whatever_becomes_of_the_body(
    answer: bytes, stalls: bool, status: int, error: type[Exception] | None
) -> None:
    is_over, is_closed = asyncio.Event(), asyncio.Event()

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"body")
        writer.write(f"HTTP/1.1 {status} So\r\n".encode() + answer)
        await writer.drain()
        if stalls:
            await is_over.wait()
        writer.close()
        await writer.wait_closed()
        is_closed.set()

    server = await asyncio.start_server(reply, "127.0.0.1", 0)
    async with server:
        told = post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", b"body", {}, 60.0, None, names=Names())
        if error is None:
            assert (await told).startswith("200")
        else:
            with pytest.raises(error, match=str(status)):
                await told
        is_over.set()
        await is_closed.wait()


@pytest.mark.parametrize("status", [401, 403, 407])
async def test_refused_credentials_are_mended_one_day(status: int) -> None:
    sink = Webhook(lambda _: Reply(status))
    with pytest.raises(LaterError, match=f"{status}.*refuses our credentials"):
        await post(sink.url, b"{}", {}, 30.0, None, names=Names())
    sink.close()


async def test_a_topic_that_the_broker_denies_is_allowed_one_day() -> None:
    async def publish(topic: str, content: bytes) -> int:
        return 0x87

    with pytest.raises(LaterError, match="refuses our credentials"):
        await mqtt.send(mqtt.Mqtt(topic="notify/andon"), Message("k", "andon", "all", "test"), publish)


async def test_names_that_nobody_answers_for_delay_only_their_own_receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    real, is_over, asked = socket.getaddrinfo, threading.Event(), list[str]()

    def slow(host: str, *args: Any, **kwargs: Any) -> Any:
        if host == "nobody.example":
            asked.append(host)
            is_over.wait(60)
        return real("127.0.0.1" if host == "nobody.example" else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)  # as where the name server is away
    sink, away = Webhook(), Names()
    mail = Email(host="nobody.example", port=9, security="none", sender="n@plant.example", to=("a@plant.example",))
    message = Message("k", "shift", "all", "test")
    try:
        async with asyncio.TaskGroup() as group:
            hanging = [
                *(
                    group.create_task(post("http://nobody.example:9/", b"", {}, 60.0, None, names=away))
                    for _ in range(20)
                ),
                *(group.create_task(send(mail, message, ZoneInfo("UTC"), None, away)) for _ in range(20)),
            ]
            async with asyncio.timeout(30):
                while len(asked) < MOST:
                    await asyncio.sleep(0.01)
            assert (
                await post(sink.url.replace("127.0.0.1", "localhost"), b"{}", {}, 30.0, None, names=Names()) == "200 ok"
            )
            assert await asyncio.to_thread(lambda: "free") == "free", "threads of others are not taken"
            for one in hanging:
                one.cancel()
    finally:
        is_over.set()
        sink.close()


@pytest.mark.parametrize("event", ["raised", "cleared"])
def test_an_alert_of_a_clock_that_is_ahead_begins_before_it_ends(event: str) -> None:
    settings = Alertmanager(url="http://am")
    earlier = NOW - timedelta(minutes=10)
    found = alert(settings, "am", word("cleared", "returned") if event == "cleared" else word(), None, earlier)
    assert datetime.fromisoformat(found["startsAt"]) <= earlier
    assert datetime.fromisoformat(found["endsAt"]) >= datetime.fromisoformat(found["startsAt"])


async def test_alerts_that_are_refused_do_not_keep_the_others_from_being_told() -> None:
    sink = Webhook()
    sink.answer = lambda _: Reply(400 if len(sink.came) == 1 else 200)
    with pytest.raises(RefusedError):
        await tell(Alertmanager(url=sink.url), "am", [word()] * 300, None, Names())
    assert [len(one.json) for one in sink.came] == [200, 100]
    sink.close()
