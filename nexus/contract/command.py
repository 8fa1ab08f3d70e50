"""Requests to write a tag, on `cmd/{device path}/{tag}`, and the answers below `answer/`."""

import msgspec
from msgspec import UNSET, UnsetType

from nexus.contract.codec import DecodeError
from nexus.contract.reading import Value

ROOT = "cmd/"
ANSWERS = "answer/"
LARGEST_BYTES = 8192  # of a request
LONGEST_NAME = 128  # characters of who asks
_EXAMPLE = 'write the request like {"v": 42}'


class Request(msgspec.Struct, omit_defaults=True):
    """`v` in the tag's unit; `by` is who asks; `ts` is when, in epoch ms.

    With `expected` it is written only while the tag still has that value.
    """

    v: float | int | bool | str
    by: str | None = None
    ts: int | float | None = None
    expected: Value | UnsetType = UNSET


class Answer(msgspec.Struct, omit_defaults=True):
    """What became of a write: what the device held before, and, as `v`, what it held when it was read back, at `ts`.

    `changed`: nothing was written, because what was expected was not there any more.
    """

    ok: bool
    error: str | None = None
    v: Value = None
    ts: int | None = None
    was: Value = None
    changed: bool = False


_encoder = msgspec.json.Encoder()
_request = msgspec.json.Decoder(Request)
_answer = msgspec.json.Decoder(Answer)


def encode_request(request: Request) -> bytes:
    """Payload of a request."""
    return _encoder.encode(request)


def encode_answer(answer: Answer) -> bytes:
    """Payload of an answer."""
    return _encoder.encode(answer)


def decode_request(payload: bytes) -> Request:
    """Decodes a request. Raises DecodeError, with a text for the requester."""
    if len(payload) > LARGEST_BYTES:
        raise DecodeError(f"a request of {len(payload)} bytes; {LARGEST_BYTES} are the most")
    try:
        return _request.decode(payload)
    except msgspec.ValidationError:
        said = "`v` is a number, true, false or a text; `by` a text; `ts` a number; `expected` like `v`, or null"
        raise DecodeError(f"{_EXAMPLE}: {said}") from None
    except (msgspec.MsgspecError, RecursionError, ValueError):
        raise DecodeError(f"{_EXAMPLE}: this is not JSON") from None


def decode_answer(payload: bytes) -> Answer:
    """Decodes an answer. Raises DecodeError."""
    try:
        return _answer.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"no answer to a write: {error}") from None


def asker(name: str) -> str:
    """A person's name, cut to what gateways accept."""
    return "".join(letter for letter in name if letter.isprintable())[:LONGEST_NAME]
