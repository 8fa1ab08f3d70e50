"""Where the broker is, and who we are to it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Tls:
    """PEM files; without a CA file the system's authorities are trusted."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True)
class Broker:
    """Where to connect, and as whom. `keepalive` in seconds."""

    host: str
    port: int
    user: str | None = None
    password: str | None = None
    keepalive: int = 10
    tls: Tls | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


@dataclass(frozen=True)
class Will:
    """The last will: what the broker publishes when this client vanishes without a DISCONNECT."""

    topic: str
    payload: bytes
    retain: bool = True


@dataclass(frozen=True)
class Client:
    """Who we are to the broker: with `session_seconds` it keeps our session that long after a disconnect.

    `connect_seconds` is how long it may take to answer: to resume a session, EMQX first copies what it queued for it.
    """

    id: str
    session_seconds: int = 0
    receive_maximum: int = 65535
    will: Will | None = None
    connect_seconds: float = 5.0
