"""Requests about a gateway's device files, on `file/{group}/{member}`, and the answers below `answer/`."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from nexus.contract.codec import DecodeError

LARGEST_BYTES = 950_000  # of a request and of an answer: our brokers accept a megabyte
MOST_VERSIONS = 20

Operation = Literal["list", "read", "check", "diff", "apply", "rollback", "history"]
Name = Annotated[str, Meta(max_length=200)]


class Request(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """A request. `files` are new texts by name, None to delete a file; all others stay as they are.

    `file` is the one to read, `id` the version to roll back to, `digest` that of the files that the change is based on.
    `by` is the requester.
    """

    op: Operation
    files: Annotated[dict[Name, str | None], Meta(max_length=1000)] = {}
    file: Name | None = None
    id: Name | None = None
    digest: Name | None = None
    by: Name | None = None


class Problem(msgspec.Struct, frozen=True):
    """What `nexus check` says of one place; `line` is None where it is the file as a whole."""

    file: str
    line: int | None
    message: str
    level: Literal["error", "warning"]


class Version(msgspec.Struct, frozen=True):
    """Files as they were until `by` replaced them, at `time` in epoch ms."""

    id: str
    time: int
    by: str | None
    files: tuple[str, ...]


class Answer(msgspec.Struct):
    """`ok` if the request was carried out, or a check found no errors; `error` says what was not done, and why.

    `reason` says why the files are read-only, if they are; `digest` is that of the files on disk. `diff` compares the
    files in use with the wanted ones; after a change, it is the beginning of the diff between old and new files.
    """

    ok: bool
    error: str | None = None
    writable: bool = False
    reason: str | None = None
    digest: str = ""
    files: tuple[str, ...] = ()
    text: str | None = None
    diff: str | None = None
    problems: tuple[Problem, ...] = ()
    versions: tuple[Version, ...] = ()


_encoder = msgspec.json.Encoder()
_request = msgspec.json.Decoder(Request)
_answer = msgspec.json.Decoder(Answer)


def encode_request(request: Request) -> bytes:
    """Payload of a request."""
    return _encoder.encode(request)


def encode_answer(answer: Answer) -> bytes:
    """Payload of an answer; of one that is too large, what to do instead."""
    payload = _encoder.encode(answer)
    if len(payload) <= LARGEST_BYTES:
        return payload
    said = f"the answer has {len(payload):,} bytes, and {LARGEST_BYTES:,} are the most: divide the file, use templates"
    return _encoder.encode(Answer(False, said, answer.writable, answer.reason, answer.digest))


def decode_request(payload: bytes) -> Request:
    """Reads a request. Raises DecodeError."""
    if len(payload) > LARGEST_BYTES:
        raise DecodeError(f"a request of {len(payload):,} bytes; {LARGEST_BYTES:,} are the most")
    try:
        return _request.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"no request about device files: {error}") from None


def decode_answer(payload: bytes) -> Answer:
    """Reads an answer. Raises DecodeError."""
    try:
        return _answer.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"no answer about device files: {error}") from None
