"""Mail servers that do not behave: what becomes of the mail."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from zoneinfo import ZoneInfo

import pytest

from console.notify.channels.email import Email, send
from console.notify.channels.names import Names
from console.notify.channels.outcome import LaterError, PartlyError, RefusedError
from console.notify.message import Message
from tests.unit.test_notify_routes import word

GOOD = {
    "greeting": "220 here",
    "EHLO": "250 here",
    "STARTTLS": "220 go on",
    "MAIL": "250 ok",
    "RCPT": "250 ok",
    "DATA": "354 go on",
    ".": "250 taken",
    "RSET": "250 ok",
    "QUIT": "221 bye",
}
TO = ("a@plant.example", "Boss <b@plant.example>")


@asynccontextmanager
async def server(said: list[str], **answers: str) -> AsyncIterator[int]:
    """Answers each command as `answers` say, or as a good server does; to an empty answer it says nothing."""
    given = {**GOOD, **answers}
    talks: list[asyncio.Task[None] | None] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(asyncio.current_task())

        async def answer(name: str, address: str = "") -> None:
            text = given.get(f"{name} {address}", given.get(name, "500 what"))
            if text:
                writer.write(f"{text}\r\n".encode())
                await writer.drain()

        await answer("greeting")
        is_text = False
        while line := (await reader.readline()).decode().strip("\r\n"):
            if is_text:
                text = line
                while text != ".":
                    text = (await reader.readline()).decode().strip("\r\n")
                is_text = False
                await answer(".")
                continue
            said.append(line)
            name = line.split()[0].upper().partition(":")[0]
            address = line.partition("<")[2].partition(">")[0] if name == "RCPT" else ""
            is_text = name == "DATA" and given["DATA"].startswith("354")
            await answer(name, address)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    listening = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]
        await asyncio.gather(*filter(None, talks))


async def sent(port: int, security: str = "none", recipients: tuple[str, ...] | None = None) -> str:
    given = {
        "host": "localhost",
        "port": port,
        "security": security,
        "sender": "n@plant.example",
        "to": TO,
        "timeout": "2s",
    }
    message = Message("k", "shift", "all", "event", word=word(), recipients=recipients)
    return await send(Email.model_validate(given), message, ZoneInfo("UTC"), None, Names())


async def test_what_is_taken_is_sent_whatever_the_server_answers_to_quit() -> None:
    said: list[str] = []
    async with server(said, QUIT="") as port:
        assert await sent(port) == "taken"
    assert said[-1] == "QUIT"


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("greeting", "554 no service"),
        ("EHLO", "554 not you"),
        ("MAIL", "553 who are you"),
        ("DATA", "421 too busy"),
        (".", "451 greylisted"),
        ("RCPT", "450 greylisted"),
        ("RCPT", "530 log in first"),
    ],
)
async def test_who_refuses_the_console_may_take_its_mails_later(command: str, answer: str) -> None:
    async with server([], **{command: answer, "HELO": answer}) as port:
        with pytest.raises(LaterError, match=answer):
            await sent(port)


async def test_a_refused_encryption_is_mended_one_day() -> None:
    async with server([], EHLO="250-here\r\n250 STARTTLS", STARTTLS="554 no certificate") as port:
        with pytest.raises(LaterError, match="554 no certificate"):
            await sent(port, "starttls")


@pytest.mark.parametrize(("command", "answer"), [(".", "554 looks like spam"), ("RCPT", "550 no such user")])
async def test_who_refuses_the_mail_never_takes_it(command: str, answer: str) -> None:
    async with server([], **{command: answer}) as port:
        with pytest.raises(RefusedError, match=answer):
            await sent(port)


@pytest.mark.parametrize("first", ["250 ok", "550 no such user"])
async def test_a_recipient_who_is_refused_for_now_is_one_to_be_tried_again(first: str) -> None:
    said: list[str] = []
    answers = {"RCPT a@plant.example": first, "RCPT b@plant.example": "450 full"}
    async with server(said, **answers) as port:
        with pytest.raises(PartlyError, match=r"b@plant\.example: 450 full") as raised:
            await sent(port)
    never = ("a@plant.example",) if first.startswith("550") else ()
    assert (raised.value.later, raised.value.refused) == (("b@plant.example",), never)


async def test_a_mail_goes_to_those_alone_who_have_not_got_it() -> None:
    said: list[str] = []
    async with server(said) as port:
        assert await sent(port, recipients=("b@plant.example", "gone@plant.example")) == "taken"
        assert [one.partition("<")[2] for one in said if one.startswith("RCPT")] == ["b@plant.example>"]
        assert "not in the file any more" in await sent(port, recipients=("gone@plant.example",))
