"""E-mail by SMTP, in plain text."""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from aiosmtplib import SMTP, SMTPDataError, SMTPException, SMTPRecipientsRefused, SMTPResponseException
from pydantic import AfterValidator, BaseModel, Field, model_validator

from console.notify import wording
from console.notify.channels.http import trusted
from console.notify.channels.names import Names
from console.notify.channels.outcome import LaterError, PartlyError, RefusedError, short
from console.notify.channels.parts import STRICT, Texts
from console.notify.message import Message
from nexus.process.duration import Seconds

QUIT_SECONDS = 2.0
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


def patience(settings: Email) -> float:
    """Seconds for a whole mail, from its server's name to the answer to its text."""
    return settings.timeout + 5.0


async def send(settings: Email, message: Message, zone: ZoneInfo, address: str | None, names: Names) -> str:
    """What the server answers. Raises LaterError, RefusedError and PartlyError."""
    everybody = [parseaddr(one)[1] for one in settings.to]
    wanted = [one for one in everybody if message.recipients is None or one in message.recipients]
    if not wanted:
        return "those who have not got it are not in the file any more"
    try:
        made = mail(settings, message, zone, address, datetime.now(UTC))
        made.as_bytes()
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # what `email` raises for odd headers
        raise RefusedError(short(f"no mail can be made of it: {error}")) from None
    refused, said = await _delivered(settings, made, wanted, names)
    if refused:
        raise _partly(refused, "" if len(refused) == len(wanted) else f"{said}; not for ")
    return short(said)


async def _delivered(
    settings: Email, made: EmailMessage, wanted: Sequence[str], names: Names
) -> tuple[dict[str, tuple[int, str]], str]:
    """Who is refused, with code and text, and what is said to the others' mail. Raises LaterError and RefusedError."""
    client: SMTP | None = None
    try:
        async with asyncio.timeout(patience(settings)):
            client = await _server(settings, names)
            refused, said = await client.send_message(made, sender=parseaddr(settings.sender)[1], recipients=wanted)
            return {one: (answer.code, answer.message) for one, answer in refused.items()}, said
    except SMTPRecipientsRefused as error:
        return {one.recipient: (one.code, one.message) for one in error.recipients}, ""
    except SMTPDataError as error:
        answer = short(f"{error.code} {error.message}")
        raise (RefusedError if _is_for_ever(error.code) else LaterError)(answer) from None
    except SMTPResponseException as error:  # also 5xx: who is refused here is this console, and not the mail
        login = ": the server refuses our credentials" if error.code in _LOGIN else ""
        raise LaterError(short(f"{error.code} {error.message}{login}")) from None
    except TimeoutError as error:
        raise LaterError(short(str(error) or f"no answer within {patience(settings):g} s")) from None
    except (SMTPException, OSError, ssl.SSLError, ValueError) as error:
        raise LaterError(short(str(error) or type(error).__name__)) from None
    finally:
        if client is not None:
            await _leave(client)


async def _server(settings: Email, names: Names) -> SMTP:
    """A session, logged in."""
    tls_context = trusted(settings.ca_file) if settings.security != "none" else None
    own_name = await names.own()
    client = SMTP(
        hostname=settings.host,
        sock=await names.connected(settings.host, settings.port or _PORTS[settings.security]),
        local_hostname=own_name,
        username=settings.username,
        password=settings.password,
        use_tls=settings.security == "tls",
        start_tls=settings.security == "starttls",
        tls_context=tls_context,
        timeout=settings.timeout,
    )
    await client.connect()
    return client


async def _leave(client: SMTP) -> None:
    """Says so, if the server listens: what it has taken is taken, whatever it answers now."""
    try:
        await client.quit(timeout=QUIT_SECONDS)
    except (SMTPException, OSError):
        client.close()


def _partly(refused: Mapping[str, tuple[int, str]], said: str) -> LaterError | RefusedError | PartlyError:
    answer = said + "; ".join(f"{one}: {code} {text}" for one, (code, text) in refused.items())
    never = [one for one, (code, _) in refused.items() if _is_for_ever(code)]
    later = [one for one in refused if one not in never]
    if said or (never and later):
        return PartlyError(short(answer), later, never)
    return LaterError(short(answer)) if later else RefusedError(short(answer))


def _is_for_ever(code: int) -> bool:
    return 500 <= code < 600 and code not in _LOGIN


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
