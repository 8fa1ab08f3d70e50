"""A webhook: JSON by HTTP, signed."""

import hashlib
import hmac
import time
from pathlib import Path

from pydantic import BaseModel, Field

from console.notify.channels.http import post
from console.notify.channels.names import Names
from console.notify.channels.parts import STRICT, Url
from console.notify.message import Message, body
from nexus.process.duration import Seconds

SIGNATURE = "X-Nexus-Signature"
TIMESTAMP = "X-Nexus-Timestamp"


class Webhook(BaseModel):
    """`webhook:` of a receiver. `secret` signs, `token` is sent as `Authorization: Bearer …`."""

    model_config = STRICT
    url: Url
    secret: str | None = None
    secret_file: Path | None = None
    token: str | None = None
    token_file: Path | None = None
    ca_file: Path | None = None
    timeout: Seconds = Field(10.0, gt=0, le=60)


async def send(settings: Webhook, message: Message, names: Names) -> str:
    """What the receiver answers. Raises LaterError and RefusedError."""
    content = body(message)
    headers = {"Content-Type": "application/json", "User-Agent": "nexus-edge", "Idempotency-Key": message.key}
    if settings.token is not None:
        headers["Authorization"] = f"Bearer {settings.token}"
    if settings.secret is not None:
        now = str(int(time.time()))
        headers |= {TIMESTAMP: now, SIGNATURE: f"sha256={signature(settings.secret, now, content)}"}
    return await post(settings.url, content, headers, settings.timeout, settings.ca_file, names=names)


def signature(secret: str, timestamp: str, content: bytes) -> str:
    """HMAC-SHA256 of the timestamp, a full stop and the body, in hex."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + content, hashlib.sha256).hexdigest()
