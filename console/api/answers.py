"""Answers that may be large: encoded once, as JSON or a line each, and not sent again to whoever has them."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

NDJSON = "application/x-ndjson"
LINES: dict[int | str, dict[str, Any]] = {
    200: {"content": {NDJSON: {"schema": {"type": "string", "description": "One item a line"}}}},
    304: {"description": "What `If-None-Match` names is still right"},
}

_encoder = msgspec.json.Encoder()


def items(request: Request, found: list[dict[str, Any]], after: str | None = None, **more: Any) -> Response:
    """A page of items; `after` is where the next begins."""
    headers = {}
    if after is not None:
        query = [(name, value) for name, value in request.query_params.multi_items() if name != "after"]
        headers["Link"] = f'<{request.url.path}?{urlencode([*query, ("after", after)])}>; rel="next"'
    return _encoded(request, {"items": found, "next": after, **more}, found, headers)


def rows(request: Request, found: Sequence[Mapping[str, Any]]) -> Response:
    """A list without a name."""
    return _encoded(request, found, found, {})


def created(item: Mapping[str, Any]) -> Response:
    """What is there now."""
    return Response(_encoder.encode(item), 201, media_type="application/json")


def body(request: Request, whole: Mapping[str, Any], lines: Iterable[Mapping[str, Any]]) -> Response:
    """`whole` as JSON, or `lines` if the client would rather have those."""
    return _encoded(request, whole, lines, {})


def _encoded(request: Request, whole: object, lines: Iterable[Mapping[str, Any]], headers: dict[str, str]) -> Response:
    if NDJSON in request.headers.get("accept", ""):
        content, kind = _encoder.encode_lines(lines), NDJSON
    else:
        content, kind = _encoder.encode(whole), "application/json"
    tag = f'W/"{blake2b(content, digest_size=12).hexdigest()}"'
    told = {**headers, "ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Accept"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(None, 304, told)
    return Response(content, 200, told, kind)
