"""Receivers by HTTP: what they answer, and what an Alertmanager takes."""

import asyncio
from datetime import datetime, timedelta

import pytest

from console.notify.channels.alertmanager import Alertmanager, alert, tell
from console.notify.channels.http import post
from console.notify.channels.outcome import LaterError, RefusedError
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
            await post(url, b"body", {"Authorization": "Bearer hidden-one"}, 5.0, None)
    assert "***" in str(raised.value)
    assert not any(secret in str(raised.value) for secret in ("TOPSECRET", "OTHERSECRET", "hidden-one"))


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
        await tell(Alertmanager(url=sink.url), "am", [word()] * 300, None)
    assert [len(one.json) for one in sink.came] == [200, 100]
    sink.close()
