"""Requests about an alarm, on `ack/{device path}/{tag}/{name}`, and the answers below `answer/`."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from nexus.contract.alarm import LONGEST_TEXT, State
from nexus.contract.audit import LATEST_MS, LONGEST_NAME
from nexus.contract.codec import DecodeError

ROOT = "ack/"
LARGEST_BYTES = 8192
LONGEST_SHELVING = 7 * 86_400.0  # seconds; for longer, an alarm is put out of service
SHELVED_TOO_LONG = "an alarm is shelved for at most 7 days (604800); for longer, put it out of service"

Action = Literal[
    "acknowledge", "shelve", "unshelve", "suppress", "unsuppress", "out-of-service", "in-service", "comment", "reset"
]
_EXAMPLE = 'write the request like {"action": "acknowledge", "by": "anna"}'


class Request(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """`occurrence` in epoch ms is the one that is meant, None the present one; `by` is who asks.

    `seconds` is how long to shelve for.
    """

    action: Action
    occurrence: Annotated[int, Meta(ge=0, lt=LATEST_MS)] | None = None
    by: Annotated[str, Meta(max_length=LONGEST_NAME)] | None = None
    reason: Annotated[str, Meta(max_length=LONGEST_TEXT)] = ""
    seconds: float | None = None


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """`state` that the alarm has now, since `ts` in epoch ms; or `error`, a text for who asked."""

    ok: bool
    state: State | None = None
    ts: int | None = None
    error: str | None = None


_encoder = msgspec.json.Encoder()
_request = msgspec.json.Decoder(Request)
_answer = msgspec.json.Decoder(Answer)


def encode_request(request: Request) -> bytes:
    """Payload of a request."""
    return _encoder.encode(request)


def decode_request(payload: bytes) -> Request:
    """Decodes a request. Raises DecodeError, with a text for the requester."""
    if len(payload) > LARGEST_BYTES:
        raise DecodeError(f"a request of {len(payload)} bytes; {LARGEST_BYTES} are the most")
    try:
        request = _request.decode(payload)
    except msgspec.ValidationError as error:
        raise DecodeError(f"{_EXAMPLE}: {error}") from None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise DecodeError(f"{_EXAMPLE}: this is not JSON") from None
    if (request.action == "shelve") != (request.seconds is not None):
        raise DecodeError(
            "`seconds` says how long to shelve an alarm for: `shelve` needs it, and nothing else takes it"
        )
    if request.seconds is not None and not 0 < request.seconds <= LONGEST_SHELVING:
        raise DecodeError(f"`seconds`: {SHELVED_TOO_LONG}")
    for name, text in (("by", request.by or ""), ("reason", request.reason)):
        if not text.isprintable():
            raise DecodeError(f"`{name}` has characters that cannot be printed")
    return request


def encode_answer(answer: Answer) -> bytes:
    """Payload of an answer."""
    return _encoder.encode(answer)


def decode_answer(payload: bytes) -> Answer:
    """Decodes an answer. Raises DecodeError."""
    try:
        return _answer.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"no answer about an alarm: {error}") from None
