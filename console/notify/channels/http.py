"""One request to a receiver, and what its answer means."""

import asyncio
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path

import aiohttp
from yarl import URL

from console.notify.channels.names import Names, Resolver
from console.notify.channels.outcome import LaterError, RefusedError, short
from nexus.process import tls

_MOST_BYTES = 2_000  # of an answer, for the table of attempts
_BODY_SECONDS = 2.0  # that we wait for what an answer says: its status is what counts
_LONGEST_PAUSE = 3_600.0  # that a receiver may ask for
_NO_TOKEN = 7  # letters: a shorter part of a path is none, and may be a word of an answer
_AGAIN = (408, 425, 429)
_LOGIN = (401, 403, 407)  # a password is mended one day, and is not the notification's fault


async def post(
    url: str, content: bytes, headers: Mapping[str, str], seconds: float, ca_file: Path | None, *, names: Names
) -> str:
    """What the receiver answers. Raises LaterError and RefusedError."""
    try:
        tls_context = trusted(ca_file) if url.startswith("https:") else True
        connector = aiohttp.TCPConnector(ssl=tls_context, resolver=Resolver(names))
        timeout = aiohttp.ClientTimeout(total=seconds)
        sent = {"Accept-Encoding": "identity", **headers}
        async with (
            aiohttp.ClientSession(
                connector=connector, timeout=timeout, trust_env=True, auto_decompress=False
            ) as session,
            session.post(url, data=content, headers=sent, allow_redirects=False) as answer,
        ):
            said = short(_without_secrets(await _read(answer), url, headers))
            return _judged(answer.status, f"{answer.status} {said}".strip(), answer.headers.get("Retry-After"))
    except TimeoutError:
        raise LaterError(f"no answer within {seconds:g} s") from None
    except (OSError, ssl.SSLError, aiohttp.ClientError, ValueError) as error:
        raise LaterError(short(_without_secrets(str(error) or type(error).__name__, url, headers))) from None


async def _read(answer: aiohttp.ClientResponse) -> str:
    """What an answer says, as far as it comes soon, and whole or not: its status has said what counts."""
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            return (await answer.content.read(_MOST_BYTES)).decode(errors="replace")
    except (TimeoutError, OSError, aiohttp.ClientError, ValueError):
        return ""


def _without_secrets(text: str, url: str, headers: Mapping[str, str]) -> str:
    """What is said of a request, without its path and query, which may hold a token, and without its login."""
    target, login = URL(url), headers.get("Authorization", "")
    secrets = {url, str(target), target.raw_path_qs, target.path_qs, login, login.partition(" ")[2]}
    secrets |= {one for one in (*target.parts, *target.query.values(), target.password or "") if len(one) > _NO_TOKEN}
    for secret in sorted(secrets - {"", "/"}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def trusted(ca_file: Path | None) -> ssl.SSLContext:
    """Whom we trust; read again when the file has changed. Raises OSError."""
    return _trusted(ca_file, None if ca_file is None else ca_file.stat().st_mtime_ns)


@lru_cache(maxsize=16)  # the system's authorities take a twentieth of a second to read
def _trusted(ca_file: Path | None, _: int | None) -> ssl.SSLContext:
    return tls.trusting(ca_file)


def _judged(status: int, said: str, again: str | None) -> str:
    if 200 <= status < 300:
        return said
    if status in _AGAIN or status >= 500:
        raise LaterError(said, retry_after(again, datetime.now(UTC)))
    if status in _LOGIN:
        raise LaterError(f"{said}: the receiver refuses our credentials")
    raise RefusedError(f"{said}: the receiver refuses it")


def retry_after(text: str | None, now: datetime) -> float | None:
    """Seconds to wait, by a header that has seconds or a date; at most an hour. None if it says nothing."""
    if text is None:
        return None
    try:
        found = float(text) if text.strip().isdecimal() else (parsedate_to_datetime(text) - now).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(found, 0.0), _LONGEST_PAUSE)
