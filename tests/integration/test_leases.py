"""Our client for Kubernetes Leases, with a stand-in of the API server that answers in pieces."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.cluster.leases import Leases, LeasesError, connected
from nexus.contract.presence import Presence
from tests.lease_api import LeaseApi

MEMBERS = [f"gateway-{number}" for number in range(20)]


def with_leases(api: LeaseApi, script: Callable[[Leases], Awaitable[None]]) -> None:
    async def run() -> None:
        async with connected(api.account, "group") as leases:
            await script(leases)

    asyncio.run(run())


def test_an_answer_of_several_packets_is_read_whole(api: LeaseApi) -> None:
    async def script(leases: Leases) -> None:
        for member in MEMBERS:
            await leases.renew(member, Presence("online", "an id", 5.0), 15)
        assert sorted(one.member for one in await leases.list()) == sorted(MEMBERS)
        await leases.clear(MEMBERS[0])
        assert len(await leases.list()) == len(MEMBERS) - 1

    with_leases(api, script)


def test_what_another_wrote_at_the_same_moment_is_not_our_renewal(api: LeaseApi) -> None:
    api.conflicts = True

    async def script(leases: Leases) -> None:
        with pytest.raises(LeasesError, match="409"):
            await leases.renew("gateway-0", Presence("online", "an id", 5.0), 15)

    with_leases(api, script)
