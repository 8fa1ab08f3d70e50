"""Readings as files: CSV for people and spreadsheets, Parquet for programs. Streamed, in constant memory."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from importlib.util import find_spec
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import StreamingResponse
from starlette.types import Message, Send

from console.access.door import Viewer
from console.api.parameters import From, To, Topic, span
from console.historian.export import BusyError, OwnExportError, Pace, Range
from console.parts import PartsDep
from console.problems import Problem

MOST_TOPICS = 1_000
_PATIENCE_SECONDS = 60.0  # for a reader who takes nothing: a query is open for him
_PARQUET = "application/vnd.apache.parquet"

router = APIRouter(tags=["export"])

Topics = Annotated[list[Topic], Query(min_length=1, max_length=MOST_TOPICS)]


def _documented(kind: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {kind: {"schema": {"type": "string", "format": "binary"}}}}}


class _File(StreamingResponse):
    """Ends when its reader has gone, or takes too little for a minute: without its last chunk it is seen to be cut."""

    async def stream_response(self, send: Send) -> None:
        """Sends it."""

        clock, pace = asyncio.get_running_loop().time, Pace()

        async def in_time(message: Message) -> None:
            began = clock()
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await send(message)
            if not pace.keeps_up(len(message.get("body", b"")), clock() - began):
                raise TimeoutError("the reader of an export is too slow")

        await super().stream_response(in_time)


async def _is_seen_to_be_cut(request: Request) -> None:
    """Raises Problem 505 where a file that is cut would look whole."""
    if request.scope["http_version"] == "1.0":
        said = "HTTP/1.0 does not tell a file that is cut from a whole one: ask with HTTP/1.1, a proxy too"
        raise Problem(505, "HTTP/1.1 is needed", said)


_SEEN = [Depends(_is_seen_to_be_cut)]


@router.get("/export.csv", response_class=_File, responses=_documented("text/csv"), dependencies=_SEEN)
async def csv(_: Viewer, parts: PartsDep, topic: Topics, from_: From = None, to: To = None) -> _File:
    """All readings of a range, by topic and time: time, topic, value, quality, unit."""
    start, end, _now = span(from_, to)
    wanted = Range(list(dict.fromkeys(topic)), start, end)
    return _file(await _begun(parts.historian.exports.csv(wanted)), "text/csv; charset=utf-8", "readings.csv")


@router.get("/export.parquet", response_class=_File, responses=_documented(_PARQUET), dependencies=_SEEN)
async def parquet(_: Viewer, parts: PartsDep, topic: Topics, from_: From = None, to: To = None) -> _File:
    """The same as Parquet: time, topic, value (numbers), text (others, and integers beyond 2^53), quality, unit."""
    if find_spec("pyarrow") is None:
        raise Problem(
            501, "No Parquet here", "install the extra: pip install nexus-edge[export]; or ask for export.csv"
        )
    from console.historian import parquet as files  # noqa: PLC0415  170 MB, which most do without

    start, end, _now = span(from_, to)
    wanted = Range(list(dict.fromkeys(topic)), start, end)
    return _file(await _begun(files.made(parts.historian.exports.rows(wanted))), _PARQUET, "readings.parquet")


def _file(blocks: AsyncIterator[bytes], kind: str, name: str) -> _File:
    return _File(blocks, headers={"Content-Disposition": f'attachment; filename="{name}"'}, media_type=kind)


async def _begun(blocks: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    """The same, when the first of them is there: what fails before that is answered as a problem. Raises Problem."""
    try:
        first = await anext(blocks)
    except OwnExportError:
        problem = Problem(
            429, "One export at a time", "another one of yours is under way: wait for its end, or cancel it"
        )
        problem.headers["Retry-After"] = "60"
        raise problem from None
    except BusyError:
        problem = Problem(503, "Other exports are under way", "try again in a minute, or ask for less")
        problem.headers["Retry-After"] = "60"
        raise problem from None

    async def whole() -> AsyncIterator[bytes]:
        async with aclosing(blocks):
            yield first
            async for block in blocks:
                yield block

    return whole()
