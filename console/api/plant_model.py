"""What `GET /devices` answers, as the API's description has it."""

from typing import Literal

from pydantic import BaseModel


class Device(BaseModel):
    """`tags` is their number, `interval` that of the fastest in seconds. `last_reading` is of the last week.

    `kind` says of which kind the reason is, where the gateway knows: `refused`, `timeout`, `login` and the like.
    """

    path: str
    name: str
    protocol: str | None
    state: Literal["online", "degraded", "offline", "unknown"]
    reason: str
    kind: str
    since: str | None
    breaker: Literal["closed", "open"] | None
    gateway: str | None
    tags: int | None
    endpoint: str | None
    interval: float | None
    last_reading: str | None


class Gateway(BaseModel):
    """What it says of itself every few seconds; lateness and `spool_full_in` in seconds. `since` if it is offline."""

    group: str
    member: str
    state: Literal["online", "offline"]
    version: str | None
    devices: int | None
    readings_per_second: float | None
    lateness_p99: float | None
    spool_messages: int | None
    spool_bytes: int | None
    spool_full_in: float | None
    receipts_outstanding: int | None
    ts: str | None
    since: str | None


class Consumer(BaseModel):
    """One place of a group of ingesters, and whether one has it now."""

    group: str
    number: int
    connected: bool


class Ingestion(BaseModel):
    """`lag_seconds` is from a reading to its commit, as the slowest ingester has it; null if none says."""

    consumers: list[Consumer]
    lag_seconds: float | None


class Broker(BaseModel):
    """Whether the console is connected, and if not, why and since when."""

    connected: bool
    reason: str | None
    since: str | None


class Database(BaseModel):
    """Whether it answers, and what it can; if not, why and since when, once that is known."""

    connected: bool
    reason: str | None
    since: str | None
    tier: Literal["community", "apache", "plain"] | None


class Plant(BaseModel):
    """The plant's state; `missing` names what does not answer."""

    items: list[Device]
    gateways: list[Gateway]
    ingestion: Ingestion
    broker: Broker
    database: Database
    missing: list[str]
