"""A receiver as the file has it: its one channel, its secrets, and how much it gets."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from console.notify.channels.alertmanager import Alertmanager
from console.notify.channels.email import Email
from console.notify.channels.parts import STRICT
from console.notify.channels.sending import CHANNELS, Channel
from console.notify.flood import Digest
from nexus.config.block import Block
from nexus.config.location import SourceLocation
from nexus.config.secret_line import read_line
from nexus.process.duration import Seconds
from nexus.process.errors import ConfigError
from nexus.process.settings import refuse_placeholder

_SECRETS = ("password", "secret", "token")
_MAILS = Digest(20, timedelta(minutes=5))


@dataclass(frozen=True)
class Receiver:
    """Who is told by which channel. What it does not take for so long as `give_up` is dead."""

    name: str
    channel: Channel
    digest: Digest | None
    give_up: timedelta


class _DigestKeys(BaseModel):
    model_config = STRICT
    above: int = Field(ge=1, le=1_000, strict=True)
    within: Seconds = Field(ge=10, le=86_400)


class _Keys(BaseModel):
    model_config = STRICT
    name: str = Field(min_length=1, max_length=100)
    digest: Any = None
    give_up: Seconds = Field(86_400.0, ge=60, le=30 * 86_400)


def read_receiver(location: SourceLocation, environment: str) -> Receiver | None:
    """The receiver; None if something is wrong with it, which is noted. `environment` is NEXUS_ENVIRONMENT."""
    block = location.block
    given = [name for name in CHANNELS if name in block]
    keys = location.checked(_Keys, {key: value for key, value in block.items() if key not in CHANNELS}, CHANNELS)
    if len(given) != 1:
        said = "has several channels: make a receiver of each" if given else "needs a channel"
        location.fault(given[1] if given else None, f"{said}: one of {', '.join(CHANNELS)}")
        return None
    channel = _channel(location, given[0], environment)
    digest = None if keys is None else _digest(location, keys, channel)
    if keys is None or channel is None:
        return None
    return Receiver(keys.name, channel, digest, timedelta(seconds=keys.give_up))


def _digest(location: SourceLocation, keys: _Keys, channel: Channel | None) -> Digest | None:
    if keys.digest is None:
        return _MAILS if isinstance(channel, Email) else None
    if isinstance(channel, Alertmanager):
        location.fault("digest", "an Alertmanager groups alerts itself: leave `digest` out")
        return None
    if not isinstance(keys.digest, Block):
        location.fault("digest", "digest must be a mapping of keys: above, within")
        return None
    inner = SourceLocation(location.diagnostics, keys.digest, location.label, ", digest")
    found = inner.checked(_DigestKeys, dict(keys.digest))
    return None if found is None else Digest(found.above, timedelta(seconds=found.within))


def _channel(location: SourceLocation, name: str, environment: str) -> Channel | None:
    if not isinstance(block := location.block[name], Block):
        location.fault(name, f"{name} must be a mapping of keys: {', '.join(CHANNELS[name].model_fields)}")
        return None
    inner = SourceLocation(location.diagnostics, block, location.label, f", {name}")
    raw = dict(block)
    faults = [name for name in _SECRETS if not _fill(inner, raw, name, environment)]
    found = inner.checked(CHANNELS[name], raw)
    if found is None or faults:
        return None
    if (file := found.model_dump().get("ca_file")) is not None and not Path(file).is_file():
        inner.fault("ca_file", f"ca_file: there is no file {file}")
        return None
    if isinstance(found, Email | Alertmanager) and (found.username is None) != (found.password is None):
        inner.fault("username", "username and password come together: add the other, or leave both out")
        return None
    return found


def _fill(location: SourceLocation, raw: dict[str, Any], name: str, environment: str) -> bool:
    """Reads a secret from its file, and refuses a sample's; whether nothing is wrong with it."""
    file = raw.get(f"{name}_file")
    if isinstance(file, str):
        if name in raw:
            location.fault(name, f"{name} and {name}_file are both given: leave one out")
            return False
        try:
            raw[name] = read_line(Path(file))
        except (OSError, ValueError) as error:
            location.fault(f"{name}_file", f"{name}_file: {getattr(error, 'strerror', None) or error}: {file}")
            return False
        location.diagnostics.hide(raw[name], f"{name}_file")
    try:
        secret = raw.get(name)
        refuse_placeholder(name, secret if isinstance(secret, str) else None, environment)
    except ConfigError as error:
        location.fault(name if name in location.block else f"{name}_file", str(error))
        return False
    return True
