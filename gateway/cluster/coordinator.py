"""Agrees with the group on which devices we poll, as members and device files change."""

import asyncio
import secrets
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from gateway.cluster.catalogue import Catalogue, DevicesByKey
from gateway.cluster.device_list import DeviceList
from gateway.cluster.instance import Instance
from gateway.cluster.instance_file import InstanceFile
from gateway.cluster.lease_witness import LeaseWitness
from gateway.cluster.leases import Leases
from gateway.cluster.membership import Membership
from gateway.cluster.problems import Problems
from gateway.cluster.report import Report
from gateway.config.devices import ConfiguredDevice
from gateway.delivery.control_topics import ControlTopics
from gateway.delivery.subscription import subscribe
from gateway.polling.poller_manager import PollerManager
from nexus import mqtt
from nexus.contract import presence as contract
from nexus.contract import topic
from nexus.contract.codec import DecodeError
from nexus.contract.presence import Key, Presence, decode_presence, encode_presence
from nexus.process import log
from nexus.process.clock import boottime

TICK_SECONDS = 0.25
HEARTBEATS_A_LEASE = 4
LONGEST_HEARTBEAT = 2.0  # seconds; the others' leases may be shorter than ours


@dataclass(frozen=True)
class Member:
    """A gateway in its group; `lease` in seconds, `alone` and `away` as for `Membership`."""

    group: str
    name: str
    lease: float
    alone: bool
    away: Literal["poll", "yield"]


class GroupCoordinator:
    """One gateway's part in its group; `leases` in a cluster."""

    def __init__(
        self, me: Member, control: ControlTopics, instance_file: InstanceFile, leases: Leases | None = None
    ) -> None:
        self._group, self._member, self._lease, self._control = me.group, me.name, me.lease, control
        control.urgent = self.topic
        instance = Instance(lambda: secrets.token_hex(8), instance_file.recall(me.name))
        self._membership = Membership(
            me.name, me.lease, boottime(), instance, alone=me.alone, leases=leases is not None, away=me.away
        )
        self._devices, self._catalogue = DevicesByKey(), Catalogue()
        self._content = self._membership.content()
        self._instance_file = instance_file
        self._client = self._membership.instance.id[:8]
        self._sent: deque[tuple[int, float]] = deque(maxlen=50)
        self._announced: tuple[Presence, float] | None = None
        self._problems = Problems()
        self._leases = None if leases is None else LeaseWitness(leases, me.name, self._membership, self, self._problems)
        self._list = DeviceList(me.group, me.name, control, self._problems)
        self._report = Report(me.name, self._membership, self._problems)
        self._changed = asyncio.Event()
        self._connection: mqtt.Connection | None = None
        self._log = log.get("cluster")

    @property
    def topic(self) -> str:
        """The topic of our presence."""
        return topic.presence(self._group, self._member)

    @property
    def member(self) -> str:
        """Our name in the group."""
        return self._member

    @property
    def members(self) -> int:
        """Gateways of the group, this one included."""
        return self._membership.members

    @property
    def client_id(self) -> str:
        """Unique to the process: a gateway that takes our name by mistake must be noticed, not disconnect us."""
        return f"{self._group}-{self._member}-{self._client}"

    @property
    def will(self) -> bytes:
        """The payload of our last will."""
        return encode_presence(self._membership.will)

    def has(self, path: str) -> bool:
        """Whether the device is in our files, whoever polls it."""
        return contract.key(path) in self._devices.by_key

    def speaks_for(self, path: str) -> bool:
        """Whether it is up to us to report that nobody polls the device, so that writes to it are refused."""
        return self.has(path) and self._membership.speaks_for(contract.key(path))

    def may_state(self, path: str) -> bool:
        """Whether it is up to us, now, to publish a device's state, or that it is in nobody's files any more."""
        return not self.has(path) or self._membership.may_state(contract.key(path), boottime())

    def may_poll(self) -> bool:
        """Whether the last decision still holds: not after the process was suspended for a while."""
        return boottime() < self._membership.polls_until()

    @property
    def content(self) -> Presence:
        """What we may announce now: polling of everything else has stopped."""
        return self._content

    def wake(self) -> None:
        """Decides again at once."""
        self._changed.set()

    def problems(self) -> list[str]:
        """What needs a person's attention."""
        return self._problems.all

    def reload(self, configured: Iterable[ConfiguredDevice]) -> None:
        """Takes changed device files. Unchanged devices continue undisturbed."""
        self._devices.reload(configured)
        self._membership.has(self._devices.marks)
        self._changed.set()

    # Broker side.

    async def join(self, connection: mqtt.Connection) -> None:
        """Subscribes to the members' presences; `run` announces ours."""
        heard = await subscribe(self._control, connection, topic.presences(self._group))
        unheard = "the broker refuses our subscription to the other gateways' presence: check its ACL"
        self._problems.note("unheard", None if heard else unheard)
        self._connection, self._announced = connection, None
        self._list.connected()
        self._membership.subscribed(boottime())
        self._changed.set()

    def lost(self) -> None:
        """The connection is lost."""
        if self._connection is not None:
            self._membership.disconnected()
        self._connection = None
        self._changed.set()

    async def leave(self, connection: mqtt.Connection) -> None:
        """Announces that we poll nothing any more: the peers need not wait for the lease."""
        self._connection = None
        if self._membership.may_speak(boottime()) and not self._is_left_out():
            await connection.publish(self.topic, encode_presence(self._membership.farewell()), retain=True)
            await (await connection.publish(self.topic, b"", retain=True))
            await self._list.clear(connection)

    def handle(self, message: mqtt.Message) -> bool:
        """Takes a message of a member; tells whether it was one."""
        if (found := topic.member_of(self._group, message.topic)) is None:
            return False
        member, is_chunk = found
        if not message.payload:
            self._problems.accept(message.topic)
            if member == self._member and not is_chunk:
                self._announced = None  # somebody cleared it: announce it again
            return True
        try:
            if is_chunk:
                if member != self._member:
                    self._catalogue.take(message.payload)
            else:
                self._take(member, decode_presence(message.payload), retained=message.retain)
            self._problems.accept(message.topic)
        except DecodeError as error:
            self._problems.refuse(message.topic, str(error))
        self._changed.set()
        return True

    def _take(self, member: str, presence: Presence, *, retained: bool) -> None:
        now = boottime()
        if member == self._member and presence.id == self._membership.instance.id:
            if presence.state == "lost":
                self._announced = None  # the will of an older connection of ours, which ended only now
            for number, sent in self._sent:
                if number == presence.seq:
                    self._membership.showed("broker", sent)
        if not self._membership.note("broker", member, presence, now, retained=retained):
            raise DecodeError("too many members, or too many of one user")

    # Decisions.

    async def run(self, pollers: PollerManager) -> None:
        """Polls what is ours, for ever. Stops polling before it announces: peers start on the announcement."""
        applied: tuple[frozenset[Key], dict[Key, ConfiguredDevice]] | None = None
        while True:
            now = boottime()
            for member in self._membership.expired(now):
                self._log.warning("a gateway of the group is gone: the others take over its devices", member=member)
                if self._leases is not None:
                    self._leases.forget(member)
            self._learn()
            ours = self._membership.decide(now)
            content = self._membership.content()
            by_key = self._devices.by_key
            if applied is None or ours is not applied[0] or by_key is not applied[1]:
                await pollers.apply([by_key[device] for device in ours if device in by_key])
                applied = (ours, by_key)
            if content != self._content:
                self._content = content
                if self._leases is not None:
                    self._leases.has_news()
            self._instance_file.keep(self._member, self._membership.instance.id)
            self._report.show(by_key, now)
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._changed.wait()

    async def beat(self) -> None:
        """Publishes our presence for ever, even while pollers are being stopped."""
        while True:
            now, said = boottime(), self._announced
            due = said is None or said[0] != self._content or said[1] + self._heartbeat <= now
            if due and self._connection is not None and self._membership.may_speak(now) and not self._is_left_out():
                await self._say(self._connection, now)
            self._tell_devices()
            await asyncio.sleep(TICK_SECONDS / 2)

    def _is_left_out(self) -> bool:
        """Whether the broker would end the connection over our presence."""
        left_out = self._control.is_excluded(self.topic, asyncio.get_running_loop().time())
        if left_out:
            self._refused()
        return left_out

    def _refused(self) -> None:
        self._problems.note("refused", f"the broker refuses our presence on {self.topic}: check its ACL")

    @property
    def _heartbeat(self) -> float:
        return min(self._lease / HEARTBEATS_A_LEASE, LONGEST_HEARTBEAT)

    async def _say(self, connection: mqtt.Connection, now: float) -> None:
        content = self._content
        presence = replace(content, seq=self._membership.instance.next_number())
        self._sent.append((presence.seq, now))
        with suppress(mqtt.MqttError, TimeoutError):
            async with asyncio.timeout(TICK_SECONDS):
                answer = await connection.publish(self.topic, encode_presence(presence), retain=True, urgent=True)
                self._control.sent(self.topic)
            self._announced = (content, now)
            answer.add_done_callback(lambda answer: self._acknowledged(answer, now))

    def _acknowledged(self, answer: "asyncio.Future[int]", sent: float) -> None:
        if answer.cancelled() or answer.exception() is not None:
            return
        taken = answer.result() < mqtt.REFUSED
        self._control.answered(self.topic, asyncio.get_running_loop().time(), taken=taken)
        if not taken:
            self._refused()
        else:
            self._problems.note("refused", None)
            self._membership.confirmed("broker", sent)

    def _tell_devices(self) -> None:
        """Publishes our device list if a peer has another one."""
        connection = self._connection
        if connection is None or not self._membership.may_speak(boottime()) or self._is_left_out():
            return
        if self._membership.lists.is_to_tell:
            self._list.tell(connection, self._content.devices, self._devices.marks)
        else:
            self._list.go_on(connection)

    def _learn(self) -> None:
        for digest in self._membership.lists.wanted:
            if (found := self._catalogue.find(digest)) is not None:
                self._membership.lists.details(found)

    # Lease side.

    async def witness(self) -> None:
        """Renews our Lease and reads the others', for ever."""
        if self._leases is not None:
            await self._leases.run()

    async def close(self) -> None:
        """Announces by our Lease too that we poll nothing any more."""
        if self._leases is not None:
            await self._leases.leave()
