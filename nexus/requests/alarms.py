"""Requests about alarms, on `ack/…`: read strictly, and what the audit keeps of each."""

import secrets

import msgspec

from nexus import mqtt
from nexus.contract import ack
from nexus.contract.ack import Answer, Request
from nexus.contract.audit import LONGEST_NAME
from nexus.contract.codec import DecodeError
from nexus.requests.answering import sender


class _Audit(msgspec.Struct):
    """What is kept of a request: who asked what of which alarm, and what came of it."""

    id: str
    ts: int
    event: str
    by: str | None
    ok: bool
    alarm: str
    occurrence: int | None
    reason: str
    state: str | None
    error: str | None
    seconds: float | msgspec.UnsetType = msgspec.UNSET  # for which it is to be shelved


def parse(message: mqtt.Message) -> Request:
    """Reads a request of a person. Raises DecodeError, with a text for who asked."""
    if message.retain:
        # It would stay with the broker, and be done by whoever does not refuse it.
        raise DecodeError("a retained request is not done: publish it without the retain flag, and clear the topic")
    request = ack.decode_request(message.payload)
    by = sender(message)
    by = by if by is not None else request.by
    if not by or not by.isprintable() or len(by) > LONGEST_NAME:
        said = "who asks? give `by`, in the request or as a user property"
        raise DecodeError(f"{said}: a name of up to {LONGEST_NAME} printable characters")
    return msgspec.structs.replace(request, by=by)


def readable(by: str | None) -> str | None:
    """A name that was refused, for the record."""
    return None if by is None else "".join(one if one.isprintable() else "?" for one in by[:LONGEST_NAME])


def audit_payload(alarm: str, by: str | None, request: Request | None, answer: Answer, now: int) -> bytes:
    """The audit record of a request about the alarm of that topic, at `now` (epoch ms), not numbered yet.

    `request` is None if it could not be read.
    """
    asked = f"alarm {request.action}" if request is not None else "alarm request"
    occurrence, reason = (request.occurrence, request.reason) if request is not None else (None, "")
    seconds = request.seconds if request is not None and request.seconds is not None else msgspec.UNSET
    record = _Audit(
        secrets.token_hex(16), now, asked, by, answer.ok, alarm, occurrence, reason, answer.state, answer.error, seconds
    )
    return msgspec.json.encode(record)
