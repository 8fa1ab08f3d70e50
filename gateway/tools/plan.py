"""`nexus plan`: each request of a device's read plan, and whether they fit into its intervals."""

import asyncio
from contextlib import AsyncExitStack

from gateway.config.devices import ConfiguredDevice
from gateway.drivers.driver import Request
from gateway.tools.oneshot import connected, table

_ROUNDS = 5


def plan(one: ConfiguredDevice) -> list[str]:
    """The requests, what each wastes, and how long they take, where known."""
    requests = one.driver.requests(one.device)
    rows: list[tuple[str, ...]] = [("interval", "request", "tags", "size", "wasted", "time")]
    rows += [_row(request) for request in requests]
    return [*table(rows), "", *_sums(requests)]


async def measured(one: ConfiguredDevice) -> list[str]:
    """How long the scans take on the device itself, against their intervals. Raises DeviceError."""
    clock = asyncio.get_running_loop().time
    lines = []
    async with AsyncExitStack() as stack:
        session = await connected(one, stack)
        for interval in sorted({tag.interval for tag in one.device.tags}):
            tags = tuple(tag for tag in one.device.tags if tag.interval == interval)
            read = session.compile(tags)
            await read()  # finds out what the device refuses, which the plan remembers
            times = []
            for _ in range(_ROUNDS):
                began = clock()
                await read()
                times.append(clock() - began)
            share = max(times) / interval
            verdict = "too slow for the interval" if share > 1 else f"{share:.0%} of the interval"
            lines.append(
                f"measured: {len(tags)} tags every {interval:g} s take {min(times) * 1000:.1f} to "
                f"{max(times) * 1000:.1f} ms: {verdict}"
            )
    return lines


def _row(request: Request) -> tuple[str, ...]:
    time = "" if request.seconds is None else f"{request.seconds * 1000:.1f} ms"
    size, wasted = f"{request.size} {request.unit}", str(request.wasted) if request.wasted else ""
    return f"{request.interval:g} s", request.text, str(len(request.tags)), size, wasted, time


def _sums(requests: list[Request]) -> list[str]:
    lines = []
    for interval in sorted({request.interval for request in requests}):
        some = [request for request in requests if request.interval == interval]
        size, wasted = sum(request.size for request in some), sum(request.wasted for request in some)
        line = f"every {interval:g} s: {len(some)} requests, {size} {some[0].unit}, {wasted} of them wasted"
        if (needed := sum(request.seconds or 0 for request in some)) > 0:
            line += f", {needed * 1000:.0f} ms on the line: {needed / interval:.0%} of the interval"
        lines.append(line)
    return lines
