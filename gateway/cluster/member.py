"""What this gateway is in its group: its name, and its witnesses."""

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from gateway.cluster import leases
from gateway.cluster.coordinator import GroupCoordinator, Member
from gateway.cluster.instance_file import InstanceFile
from gateway.delivery.control_topics import ControlTopics
from gateway.settings import Settings


@asynccontextmanager
async def joined(
    own: Settings, user: str | None, number: int, control: ControlTopics
) -> AsyncIterator[GroupCoordinator]:
    """Our part in the group. A user's gateways are named below it: that is where the broker's rules let them speak."""
    name = (own.member or user or socket.gethostname()) + (f"-{number}" if number else "")
    member = name if user in (None, name) else f"{user}/{name}"
    async with AsyncExitStack() as stack:
        witness = None
        if own.leases == "kubernetes" or (own.leases == "auto" and leases.is_there(own.service_account)):
            witness = await stack.enter_async_context(leases.connected(own.service_account, own.group))
        away = own.broker_away or ("poll" if witness is None else "yield")
        me = Member(own.group, member, own.lease, alone=not own.is_one_of_several, away=away)
        yield GroupCoordinator(me, control, InstanceFile(own.spool_dir / f"member-{number}"), witness)
