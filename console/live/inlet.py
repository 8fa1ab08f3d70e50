"""Takes readings that came by HTTP to the database, as a gateway does: through the broker, until their receipt."""

import asyncio
import secrets
from collections.abc import Sequence

from console.live.numbered import Given, Numbers, messages
from console.problems import Problem
from nexus import mqtt
from nexus.contract import topic
from nexus.contract.codec import DecodeError
from nexus.contract.receipt import decode_receipt
from nexus.process import log

RECEIPT_SECONDS = 15.0
MOST_WAITING = 200_000  # readings
_AGAIN = "send the same again: what is stored already stays as it is"


class Inlet:
    """A publisher of its own, whose name is a secret of the line: 128 random bits."""

    def __init__(self) -> None:
        self._name = secrets.token_hex(16)
        self._numbers = Numbers()
        self._changed = asyncio.Event()
        self._log = log.get("inlet")
        self.topic = topic.receipt(self._name)

    def take(self, payload: bytes) -> None:
        """Takes a receipt. Raises DecodeError."""
        for first, last in decode_receipt(payload):
            if not self._numbers.commit(first, last):
                raise DecodeError(f"it confirms numbers that were never sent: {first} to {last}")
        self._changed.set()
        self._changed = asyncio.Event()

    async def store(self, connection: mqtt.Connection, given: Sequence[Given]) -> None:
        """Returns when all are committed. Raises Problem 503, with what is known, when that is not so in time."""
        if self._numbers.waiting + len(given) > MOST_WAITING:
            raise Problem(503, "Too many readings wait", f"the ingesters are behind: {_AGAIN} later")
        first, last = self._numbers.take(len(given))
        try:
            async with asyncio.timeout(RECEIPT_SECONDS):
                await self._publish(connection, given, first, last)
                await self._receipt(first, last)
        except TimeoutError:
            reason = f"no receipt within {RECEIPT_SECONDS:g} s: see whether an ingester runs and the database answers"
            raise self._unknown(first, last, reason) from None
        except mqtt.MqttError as error:
            raise self._unknown(first, last, f"the connection to the broker was lost meanwhile: {error}") from None
        finally:
            self._numbers.give_back(first)

    async def _publish(self, connection: mqtt.Connection, given: Sequence[Given], first: int, last: int) -> None:
        for name, payload in messages(given, self._name, first):
            answer = await connection.publish(name, payload)
        if (code := await answer) == mqtt.NO_MATCHING_SUBSCRIBERS:
            raise self._unknown(first, last, "no ingester is subscribed to readings")
        if code >= mqtt.REFUSED:
            raise self._unknown(first, last, f"the broker refuses them, {mqtt.reason(code)}: check the console's ACL")

    async def _receipt(self, first: int, last: int) -> None:
        while self._numbers.committed(first, last) <= last - first:
            await self._changed.wait()

    def _unknown(self, first: int, last: int, reason: str) -> Problem:
        stored = self._numbers.committed(first, last)
        detail = f"{stored} of {last - first + 1} readings are known to be stored; {reason}. {_AGAIN}"
        return Problem(503, "Not known to be stored", detail, stored=stored)
