"""Our Kubernetes Lease, renewed and compared with the others'."""

import asyncio
from contextlib import suppress
from typing import Protocol

from msgspec.structs import replace

from gateway import metrics
from gateway.cluster.leases import Lease, Leases, LeasesError
from gateway.cluster.membership import Membership
from gateway.cluster.problems import Problems
from nexus.contract.codec import DecodeError
from nexus.contract.presence import Presence, decode_presence
from nexus.process.clock import boottime

RENEWALS = 0.75  # of NEXUS_LEASE, between two renewals at the API server
LISTINGS = 0.4
WORTH = 3  # leases


class Owner(Protocol):
    """Whose Lease it is."""

    @property
    def content(self) -> Presence: ...
    def wake(self) -> None: ...


class LeaseWitness:
    """Tells the membership what the API server shows and confirms."""

    def __init__(self, leases: Leases, member: str, membership: Membership, owner: Owner, problems: Problems) -> None:
        self._leases, self._member, self._membership = leases, member, membership
        self._owner, self._problems = owner, problems
        self._versions: dict[str, str] | None = None
        self._gone: set[str] = set()
        self._news = asyncio.Event()
        self._renewed = self._listed = float("-inf")

    def has_news(self) -> None:
        """Our presence has changed: renew the Lease at once."""
        self._news.set()

    def forget(self, member: str) -> None:
        """A member is gone: remove its Lease."""
        self._gone.add(member)

    async def run(self) -> None:
        """Renews ours and reads the others', for ever."""
        pause = self._membership.lease * LISTINGS
        while True:
            try:
                await self._once()
                metrics.lease_renewed.set(1)
                self._problems.note("leases", None)
            except LeasesError as error:
                metrics.lease_renewed.set(0)
                text = f"the Kubernetes Lease cannot be renewed, relying on the broker alone: {error}"
                self._problems.note("leases", text)
                await asyncio.sleep(pause)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._news.wait()

    async def leave(self) -> None:
        """Announces that we poll nothing any more; whoever sees it removes our Lease."""
        if self._membership.may_speak(boottime()):
            with suppress(LeasesError):
                await self._leases.renew(self._member, self._membership.farewell(), 1)

    async def _once(self) -> None:
        lease = self._membership.lease
        if boottime() - self._listed >= lease * LISTINGS:
            await self._list()
        now = boottime()
        due = now - self._renewed >= lease * RENEWALS
        if self._membership.may_speak(now) and (due or self._news.is_set()):
            self._news.clear()
            presence = replace(self._owner.content, seq=self._membership.instance.next_number())
            await self._leases.renew(self._member, presence, WORTH * lease)
            self._membership.confirmed("leases", now)
            is_first, self._renewed = self._renewed == float("-inf"), now
            if is_first:  # a peer that started at the same moment is listed by now, or will find us
                await self._list()
        while self._gone:
            await self._leases.clear(self._gone.pop())

    async def _list(self) -> None:
        self._listed = boottime()
        found = await self._leases.list()
        before, self._versions = self._versions, {one.member: one.version for one in found}
        for one in found:
            if before is None or before.get(one.member) != one.version:
                self._take(one, retained=before is None)
        self._membership.showed("leases", self._listed)
        self._owner.wake()

    def _take(self, lease: Lease, *, retained: bool) -> None:
        place = f"the Kubernetes Lease of {lease.member}"
        try:
            presence = decode_presence(lease.presence)
            if presence.state == "left" and lease.member != self._member:
                self._gone.add(lease.member)
            if not self._membership.note("leases", lease.member, presence, boottime(), retained=retained):
                raise DecodeError("too many members, or too many of one user")
            self._problems.accept(place)
        except DecodeError as error:
            self._problems.refuse(place, str(error))
