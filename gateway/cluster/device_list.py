"""Our list of devices, told in chunks where others have another one: without it nobody can take a device beside us."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

from gateway.cluster.problems import Problems
from gateway.delivery.words import Words
from nexus import mqtt
from nexus.contract import presence as contract
from nexus.contract import topic
from nexus.contract.presence import Key, Mark


class DeviceList:
    """What is still to tell, over one connection after the other. A chunk that the broker refuses is tried again."""

    def __init__(self, group: str, member: str, words: Words, problems: Problems) -> None:
        self._group, self._member = group, member
        self._words, self._problems = words, problems
        self._told: str | None = None
        self._unsaid: dict[int, bytes] = {}
        self._under_way: set[int] = set()
        self._chunks = 0  # that may be retained
        self._clock = asyncio.get_running_loop().time

    def connected(self) -> None:
        """A new connection: the broker may have lost what it retained."""
        self._told = None
        self._unsaid.clear()
        self._under_way.clear()

    def tell(self, connection: mqtt.Connection, digest: str, marks: Mapping[Key, Mark]) -> None:
        """Sends what there is room for."""
        if self._told != digest:
            self._told = digest
            self._unsaid = dict(enumerate(contract.chunks(marks)))
            self._under_way.clear()
            self._chunks = max(self._chunks, len(self._unsaid))
        self.go_on(connection)

    def go_on(self, connection: mqtt.Connection) -> None:
        """Sends more of what is still to tell. After the broker hung up over a word, one at a time."""
        now = self._clock()
        if not self._unsaid or not self._words.may_say(now, others_suspected=False):
            return
        with suppress(mqtt.MqttError):
            for number in list(self._unsaid):
                name = self._name(number)
                if connection.room <= 0 or (self._words.careful and self._under_way):
                    return
                if self._words.is_left_out(name, now):
                    self._refused(name)
                    continue
                payload = self._unsaid.pop(number)
                self._under_way.add(number)
                self._words.out(name)
                connection.send(name, payload, partial(self._answered, self._told, number, payload), retain=True)

    async def clear(self, connection: mqtt.Connection) -> None:
        """Takes the list back: we are no more."""
        names = [self._name(number) for number in range(self._chunks)]
        names = [name for name in names if not self._words.is_left_out(name, self._clock())]
        await asyncio.gather(*[await connection.publish(name, b"", retain=True) for name in names])

    def _name(self, number: int) -> str:
        return topic.devices_of(self._group, self._member, number)

    def _answered(self, told: str | None, number: int, payload: bytes, code: int) -> None:
        taken, name = code < mqtt.REFUSED, self._name(number)
        self._words.answered(name, self._clock(), taken=taken)
        if told != self._told:
            return
        self._under_way.discard(number)
        if not taken:
            self._unsaid[number] = payload
            self._refused(name)
        elif not self._unsaid and not self._under_way:
            self._problems.note("list", None)

    def _refused(self, name: str) -> None:
        said = f"the broker refuses our device list on {name}, so nobody takes devices beside us"
        self._problems.note("list", f"{said}: see its rules of access")
