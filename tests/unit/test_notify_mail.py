"""Mails: what others wrote becomes neither a header nor a line that looks like ours."""

from email import message_from_bytes, policy
from zoneinfo import ZoneInfo

import pytest

from console.notify.channels.email import Email, mail, send
from console.notify.channels.names import Names
from console.notify.channels.outcome import RefusedError
from console.notify.message import Message
from tests.unit.test_notify_routes import NOW, word


@pytest.mark.parametrize(
    "hostile",
    [
        *(f"Too hot{mark}Bcc: x@evil.example" for mark in "\n\r\v\f\x1c\x85\u2028\x00"),
        "=?utf-8?q?x=0D=0ABcc:_x@evil.example=0D=0A=0D=0AEvent:_cleared?=",
        "=\n?utf-8?b?eApCY2M6IGFAYi5j?=",
        "=\x00?utf-8?q?x=0D=0ABcc:_x@evil.example?=",
        "=?utf-8?q?" + "a" * 400,
    ],
)
def test_no_text_makes_a_header_of_a_mail_or_a_line_of_ours(hostile: str) -> None:
    settings = Email(host="h", sender="Nexus <n@plant.example>", to=("a@plant.example",))
    one = word(text=hostile, response="Stop it\nEvent: cleared")
    made = mail(settings, Message("k", "shift", "r", "event", False, one), ZoneInfo("UTC"), None, NOW)
    got = message_from_bytes(made.as_bytes(), policy=policy.default)
    assert set(got.keys()) == {
        *("From", "To", "Subject", "Date", "Message-ID", "References", "Auto-Submitted", "Importance"),
        *("Content-Type", "Content-Transfer-Encoding", "MIME-Version"),
    }
    assert got["Subject"].strip().startswith("HIGH raised: ")
    lines = got.get_content().splitlines()
    assert [line for line in lines if line.startswith(("Event:", "Bcc:"))] == [lines[2]]


async def test_what_no_mail_can_be_made_of_is_dead_with_its_reason() -> None:
    settings = Email(host="127.0.0.1", port=9, security="none", sender="n@plant.example", to=("a@plant.example",))
    with pytest.raises(RefusedError, match="no mail can be made of it"):
        await send(settings, Message("k\nk", "shift", "r", "test"), ZoneInfo("UTC"), None, Names())
