"""Reads what the broker retains of a device's alarms, for the gateway that takes the device over."""

import asyncio
from contextlib import suppress
from weakref import WeakValueDictionary

from nexus import mqtt
from nexus.contract import topic as topics
from nexus.mqtt import SubscriptionError
from nexus.process import log

CONNECT_SECONDS = 3.0  # for the first connection after the start; a broker that is away stops no alarm
QUIET_SECONDS = 1.0  # without a message, these were all; some brokers send them a while after their SUBACK
LONGEST_SECONDS = 3.0
AT_ONCE = 200
MOST_MESSAGES = 10_000  # of one device; the contract allows it 1,000 alarms


class TakeOver:
    """Subscribes to a device's alarms for a moment, and collects the retained messages as they are."""

    def __init__(self) -> None:
        self._connection: mqtt.Connection | None = None
        self._connected = asyncio.Event()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._of_device: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # of those who listen or wait
        self._heard: dict[str, dict[str, bytes]] = {}  # by the devices' topics
        self._last: dict[str, float] = {}
        self._clock = asyncio.get_running_loop().time
        self._until = self._clock() + CONNECT_SECONDS
        self._said = False

    def connected(self, connection: mqtt.Connection) -> None:
        """There is a connection."""
        self._connection = connection
        self._connected.set()

    def lost(self) -> None:
        """The connection is lost."""
        self._connection = None
        self._connected.clear()

    async def retained(self, path: str) -> dict[str, bytes]:
        """What is retained below a device's alarms, by topic; nothing if the broker is away, or silent."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(max(self._until, self._clock())):
                await self._connected.wait()
        lock = self._of_device.setdefault(path, asyncio.Lock())
        async with lock, self._turns:  # a reload may ask again meanwhile
            if (connection := self._connection) is None:
                return {}
            prefix = topics.alarms(path).removesuffix("#")
            self._heard[prefix] = {}
            try:
                async with asyncio.timeout(LONGEST_SECONDS):
                    await self._listen(connection, prefix, topics.alarms(path))
            except TimeoutError:
                said = "the broker was too slow with a device's retained alarms: active ones may be raised again"
                log.get("alarms").warning(said, device=path)
            except SubscriptionError as error:
                if not self._said:
                    self._said = True
                    said = "the broker refuses the retained alarms of devices that are taken over: check its ACL"
                    log.get("alarms").error(said, reason=str(error))
            except mqtt.MqttError:
                pass  # the connection is lost
            finally:
                found = self._heard.pop(prefix)
                self._last.pop(prefix, None)
            return found

    def handle(self, message: mqtt.Message) -> bool:
        """Takes a message of an alarm; tells whether it was one."""
        name = message.topic
        if not name.startswith("alarm/"):
            return False
        if message.retain and message.payload:
            end = name.rfind("/")
            while end > 0:
                self._hear(name[: end + 1], name, message.payload)
                end = name.rfind("/", 0, end)
        return True

    def _hear(self, prefix: str, name: str, payload: bytes) -> None:
        if (heard := self._heard.get(prefix)) is not None and len(heard) < MOST_MESSAGES:
            heard[name] = payload
            self._last[prefix] = self._clock()

    async def _listen(self, connection: mqtt.Connection, prefix: str, name: str) -> None:
        await connection.subscribe(name)
        try:
            left = QUIET_SECONDS
            self._last[prefix] = self._clock()
            while left > 0:
                await asyncio.sleep(left)
                left = self._last[prefix] + QUIET_SECONDS - self._clock()
        finally:
            with suppress(mqtt.MqttError):
                await connection.unsubscribe(name)
