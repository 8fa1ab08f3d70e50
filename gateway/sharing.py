"""Keeps the fleet to the devices that are ours, as members and device files come and go."""

import asyncio
import secrets
from collections.abc import Iterable
from contextlib import suppress

from gateway import metrics
from gateway.config import Configured
from gateway.fleet import Fleet
from gateway.shard import Membership
from nexus.contract import topic
from nexus.contract.codec import DecodeError
from nexus.contract.presence import Presence, decode_presence, encode_presence
from nexus.runtime import log, mqtt

TICK_SECONDS = 0.25
HEARTBEATS_A_LEASE = 4


class Sharing:
    """One gateway's part in its group."""

    def __init__(self, group: str, member: str, lease: float, fleet: Fleet, *, alone: bool) -> None:
        self._clock = asyncio.get_running_loop().time
        self._group, self._member, self._lease, self._fleet = group, member, lease, fleet
        self._configured: dict[str, Configured] = {}
        self._membership = Membership(member, lease, self._clock(), new_id=lambda: secrets.token_hex(4), alone=alone)
        self._said: tuple[Presence, float] | None = None
        self._changed = asyncio.Event()
        self._connection: mqtt.Connection | None = None
        self._log = log.get("sharing")

    @property
    def topic(self) -> str:
        """Where our presence is retained."""
        return topic.presence(self._group, self._member)

    @property
    def will(self) -> bytes:
        """The payload of our last will, as of now."""
        return encode_presence(self._membership.will)

    def has(self, path: str) -> bool:
        """Whether the device is in our files, whoever polls it."""
        return path in self._configured

    def speaks_for(self, path: str) -> bool:
        """Whether it is for us to say that nobody polls the device: whoever would execute a write is gone."""
        return path in self._configured and self._membership.speaks_for(path)

    def reload(self, configured: Iterable[Configured]) -> None:
        """Takes changed device files. Devices that are as before go on undisturbed."""
        before = self._configured
        self._configured = {
            one.device.path: old if (old := before.get(one.device.path)) == one else one for one in configured
        }
        self._membership.has(self._configured)
        self._changed.set()

    async def join(self, connection: mqtt.Connection) -> None:
        """Says that we are here, and asks who else is."""
        self._connection, self._said = connection, None
        await self._say(self._membership.presence)
        self._membership.connected(self._clock())
        await connection.subscribe(topic.presence(self._group, "+"))
        self._membership.subscribed(self._clock())
        self._changed.set()

    def lost(self) -> None:
        """The connection is no more."""
        self._connection = None
        self._membership.disconnected()
        self._changed.set()

    async def leave(self, connection: mqtt.Connection) -> None:
        """Says that we poll nothing any more: the others need not wait for the lease."""
        self._connection = None
        await (await connection.publish(self.topic, b"", retain=True))

    def heard(self, name: str, payload: bytes) -> bool:
        """Takes a message if it is a member's presence."""
        prefix = topic.presence(self._group, "")
        if not name.startswith(prefix):
            return False
        member = name.removeprefix(prefix)
        with suppress(DecodeError):  # not from a gateway of ours
            presence = decode_presence(payload) if payload else None
            if member == self._member:
                if presence is None or presence.state == "lost":
                    self._said = None  # somebody tidied up while we came back
            else:
                self._membership.heard(member, presence, self._clock())
        self._changed.set()
        return True

    async def run(self) -> None:
        """Polls what is ours, for ever. First lets go, then says so, because others start on our word."""
        applied: tuple[frozenset[str], dict[str, Configured]] | None = None
        while True:
            now = self._clock()
            for member in self._membership.expired(now):
                await self._tidy(member)
            # Both at one moment: the view is a promise about these devices.
            ours = self._membership.devices(now)
            presence = self._membership.presence
            metrics.members.set(1 + len(self._membership.peers))
            if applied is None or ours != applied[0] or self._configured is not applied[1]:
                await self._fleet.apply([self._configured[path] for path in ours])
                applied = (ours, self._configured)
            due = self._said is None or self._said[1] + self._lease / HEARTBEATS_A_LEASE <= now
            if due or self._said is None or self._said[0] != presence:
                await self._say(presence)
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._changed.wait()

    async def _say(self, presence: Presence) -> None:
        if self._connection is None:
            return
        sent = self._clock()
        with suppress(mqtt.MqttError, TimeoutError):
            async with asyncio.timeout(TICK_SECONDS):
                acknowledged = await self._connection.publish(self.topic, encode_presence(presence), retain=True)
            self._said = (presence, sent)
            acknowledged.add_done_callback(
                lambda answer: None if answer.cancelled() or answer.exception() else self._membership.acknowledged(sent)
            )

    async def _tidy(self, member: str) -> None:
        self._log.warning("a gateway of the group is gone: its devices are shared out", member=member)
        if self._connection is not None:
            with suppress(mqtt.MqttError, TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._connection.publish(topic.presence(self._group, member), b"", retain=True)
