"""The file of receivers and routes: read, and checked as a whole."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field

from console.historian import times
from console.notify.channels.alertmanager import Alertmanager
from console.notify.channels.parts import STRICT
from console.notify.receiver_keys import Receiver, read_receiver
from console.notify.route_keys import read_route
from console.notify.routes import Routes
from nexus.config.block import Block, Items
from nexus.config.diagnostics import Diagnostics
from nexus.config.location import SourceLocation, shown_name
from nexus.config.variables import Allowed
from nexus.config.yaml_source import Reader
from nexus.process.duration import Seconds
from nexus.process.errors import ConfigError

MOST_BYTES = 1_000_000
ALLOWED = Allowed(
    "NOTIFY_",
    frozenset(
        {
            *("host", "port", "username", "password", "password_file", "url", "secret", "secret_file"),
            *("token", "token_file", "ca_file", "sender", "to"),
        }
    ),
    "the file of notifications",
)

T = TypeVar("T")


@dataclass(frozen=True)
class Config:
    """All of the file. Settled notifications are kept for `keep`."""

    receivers: dict[str, Receiver]
    routes: Routes
    keep: timedelta


class _Keys(BaseModel):
    model_config = STRICT
    timezone: str = "UTC"
    keep: Seconds = Field(90 * 86_400.0, ge=86_400)
    receivers: list[Any] = Field(min_length=1)
    routes: list[Any] = Field(min_length=1)


def load(path: Path, environment: str, variables: Mapping[str, str] = os.environ) -> Config:
    """Raises ConfigError with all that is wrong, each with its line. `environment` is NEXUS_ENVIRONMENT."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{path}: is larger than {MOST_BYTES:,} bytes")
    diagnostics = Diagnostics()
    document = Reader(diagnostics, variables, ALLOWED).read(path, data)
    found = _config(diagnostics, path, document, environment)
    if len(diagnostics) or found is None:
        raise ConfigError(str(diagnostics))
    return found


def _config(diagnostics: Diagnostics, path: Path, document: object, environment: str) -> Config | None:
    if not isinstance(document, Block):
        if not len(diagnostics):
            diagnostics.add(path, 1, "must have `receivers:` and `routes:`, both lists")
        return None
    location = SourceLocation(diagnostics, document, "notifications")
    keys = location.checked(_Keys, dict(document))
    zone = _zone(location, document.get("timezone", "UTC"))
    receivers = _each(location, "receivers", lambda at: read_receiver(at, environment))
    # Also of those that are wrong: a route to one of them is no other mistake.
    names = [one.get("name") for one in _blocks(document.get("receivers"))]
    routes = _each(location, "routes", lambda at: read_route(at, [one for one in names if isinstance(one, str)]))
    if keys is None or zone is None or len(diagnostics):
        return None
    states = frozenset(one.name for one in receivers if isinstance(one.channel, Alertmanager))
    by_name = {one.name: one for one in receivers}
    return Config(by_name, Routes(tuple(routes), zone, states), timedelta(seconds=keys.keep))


def _zone(location: SourceLocation, name: object) -> ZoneInfo | None:
    try:
        return times.zone(str(name))
    except ValueError as error:
        location.fault("timezone", f"timezone: {error}")
        return None


def _each(location: SourceLocation, key: str, read: Callable[[SourceLocation], T | None]) -> list[T]:
    found, names = [], dict[str, int]()
    raw = location.block.get(key)
    for number, one in enumerate(raw if isinstance(raw, Items) else []):
        if not isinstance(one, Block):
            location.fault(key, f"{key}: item {number + 1} is no mapping of keys")
            continue
        at = SourceLocation(location.diagnostics, one, f"{key[:-1]} {shown_name(one)}")
        if isinstance(name := one.get("name"), str):
            if name in names:
                at.fault("name", f"the name is used at line {names[name]} already: choose another")
            names.setdefault(name, one.line_of("name"))
        if (made := read(at)) is not None:
            found.append(made)
    return found


def _blocks(raw: object) -> list[Block]:
    return [one for one in raw if isinstance(one, Block)] if isinstance(raw, Items) else []
