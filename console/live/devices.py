"""A device's state for people, from all that is known of it. Pure."""

from typing import Literal

import msgspec

from console.live import epoch
from console.live.retained import Gateway, Member, Retained

State = Literal["online", "degraded", "offline", "unknown"]
Breaker = Literal["closed", "open"]


class DeviceState(msgspec.Struct, frozen=True):
    """One device. `tags` is their number, `interval` in seconds; None is unknown."""

    path: str
    name: str
    protocol: str | None
    state: State
    reason: str
    kind: str
    since: str | None
    breaker: Breaker | None
    gateway: str | None
    tags: int | None
    endpoint: str | None
    interval: float | None


class GatewayRow(msgspec.Struct, frozen=True):
    """One gateway, with what it says of itself every few seconds; lateness in seconds.

    When it is offline, `since` is the time of what it said last.
    """

    group: str
    member: str
    state: Literal["online", "offline"]
    version: str | None = None
    devices: int | None = None
    readings_per_second: float | None = None
    lateness_p99: float | None = None
    spool_messages: int | None = None
    spool_bytes: int | None = None
    spool_full_in: float | None = None
    receipts_outstanding: int | None = None
    ts: str | None = None
    since: str | None = None


def device_state(retained: Retained, path: str, away: str | None) -> DeviceState:
    """The state of one device; `away` says why the broker is away, and then nothing is known of the present."""
    status, description = retained.status(path), retained.descriptions.get(path)
    gateway_runs = retained.gateway_runs(path)
    said: State = "unknown" if status is None else status.state
    state, reason = said, "" if status is None else status.reason
    kind = "" if status is None else status.kind
    breaker: Breaker | None = None
    if away is not None:
        state, reason = "unknown", f"the broker is away, {said} is what it said last: {away}"
    elif gateway_runs is False and description is not None:
        state, reason = "unknown", f"the gateway {description.gateway} is silent, {said} is what it said last"
    elif status is None:
        reason = "no gateway has said anything of it lately"
    elif gateway_runs:
        breaker = "open" if state == "offline" else "closed"  # a device is offline while its breaker rests
    return DeviceState(
        path,
        path.rpartition("/")[2] if description is None else description.name,
        None if description is None else description.protocol,
        state,
        reason,
        kind if state != "unknown" else "",
        None if status is None else epoch.text(status.ts),
        breaker,
        None if description is None else description.gateway,
        None if description is None else len(description.tags) + description.left_out,
        None if description is None else description.endpoint or None,
        None if description is None else description.interval or None,
    )


def gateway_row(member: Member, gateway: Gateway) -> GatewayRow:
    """One gateway as it was heard last."""
    group, name = member
    state: Literal["online", "offline"] = "online" if gateway.online else "offline"
    if (said := gateway.state) is None:
        return GatewayRow(group, name, state)
    ts = epoch.text(said.ts)
    return GatewayRow(
        group,
        name,
        state,
        said.version,
        said.devices,
        said.readings_per_second,
        said.lateness_p99,
        said.spool_messages,
        said.spool_bytes,
        said.spool_full_in,
        said.receipts_outstanding,
        ts,
        None if gateway.online else ts,
    )
