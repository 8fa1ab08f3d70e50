"""E-mail by SMTP, in plain text."""

import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import aiosmtplib
from aiosmtplib import SMTPException, SMTPRecipientsRefused, SMTPResponseException
from pydantic import AfterValidator, BaseModel, Field, model_validator

from console.notify import wording
from console.notify.channels.http import trusted
from console.notify.channels.outcome import LaterError, RefusedError, short
from console.notify.channels.parts import STRICT, Texts
from console.notify.message import Message
from nexus.process import log
from nexus.process.duration import Seconds

_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_LOGIN = (530, 534, 535, 538)  # what is wrong with the login is mended one day, and is not the message's fault


def _address(text: str) -> str:
    local, _, domain = parseaddr(text)[1].rpartition("@")
    if not local or not domain or not text.isprintable() or not text.isascii():
        raise ValueError(f"{text!r:.60} is no address: write it like shift@plant.example")
    return text


Address = Annotated[str, AfterValidator(_address)]
Addresses = Annotated[Texts, AfterValidator(lambda found: tuple(map(_address, found)))]


class Email(BaseModel):
    """`email:` of a receiver."""

    model_config = STRICT
    host: str
    port: int | None = Field(None, ge=1, le=65_535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    sender: Address
    to: Addresses = Field(min_length=1, max_length=100)
    timeout: Seconds = Field(20.0, gt=0, le=120)

    @model_validator(mode="after")
    def _sensible(self) -> "Email":
        if self.security == "none" and self.username is not None:
            raise ValueError("a password would travel in clear text: use `security: starttls` or `tls`")
        return self


async def send(settings: Email, message: Message, zone: ZoneInfo, address: str | None) -> str:
    """What the server answers. Raises LaterError and RefusedError."""
    try:
        made = mail(settings, message, zone, address, datetime.now(UTC))
        made.as_bytes()
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # what `email` raises for odd headers
        raise RefusedError(short(f"no mail can be made of it: {error}")) from None
    try:
        refused, said = await aiosmtplib.send(
            made,
            sender=parseaddr(settings.sender)[1],
            recipients=[parseaddr(one)[1] for one in settings.to],
            hostname=settings.host,
            port=settings.port or _PORTS[settings.security],
            username=settings.username,
            password=settings.password,
            use_tls=settings.security == "tls",
            start_tls=settings.security == "starttls",
            tls_context=trusted(settings.ca_file) if settings.security != "none" else None,
            timeout=settings.timeout,
        )
    except SMTPRecipientsRefused as error:
        answers = [f"{one.recipient}: {one.code} {one.message}" for one in error.recipients]
        if all(one.code >= 500 for one in error.recipients):
            raise RefusedError(short("; ".join(answers))) from None
        raise LaterError(short("; ".join(answers))) from None
    except SMTPResponseException as error:
        answer = short(f"{error.code} {error.message}")
        if 500 <= error.code < 600 and error.code not in _LOGIN:
            raise RefusedError(answer) from None
        raise LaterError(answer) from None
    except (SMTPException, OSError, ssl.SSLError, ValueError) as error:
        raise LaterError(short(str(error) or type(error).__name__)) from None
    left = "".join(f"; refused for {one}: {answer.code} {answer.message}" for one, answer in refused.items())
    if refused:
        log.get("notify").warning("a mail is not for all: its server refuses some recipients", reason=short(left[2:]))
    return short(said + left)


def mail(settings: Email, message: Message, zone: ZoneInfo, address: str | None, now: datetime) -> EmailMessage:
    """One message, with the key as its id, in the thread of its occurrence."""
    domain = parseaddr(settings.sender)[1].rpartition("@")[2]
    made = EmailMessage()
    made["From"] = settings.sender
    made["To"] = ", ".join(settings.to)
    made["Subject"] = wording.subject(message)
    made["Date"] = format_datetime(now.astimezone(zone))
    made["Message-ID"] = f"<{message.key}@{domain}>"
    if message.word is not None:
        occurrence = f"{message.word.topic}\n{message.word.record.occurrence}"
        made["References"] = f"<{sha256(occurrence.encode()).hexdigest()[:32]}@{domain}>"
    made["Auto-Submitted"] = "auto-generated"
    if message.word is not None and message.word.priority in ("critical", "high"):
        made["Importance"] = "high"
    made.set_content(wording.text(message, zone, address))
    return made
