"""Requests to gateways through the broker, and their answers."""

import asyncio
import math
import secrets

from console.problems import Problem
from nexus import mqtt
from nexus.contract.command import ANSWERS

MOST_WAITING = 1_000
_REMEDY = "see whether the gateway runs, and the broker's ACL for the user console"


class Requests:
    """Those that wait for an answer, by correlation. Each is answered on a topic that only we have."""

    def __init__(self, name: str) -> None:
        self.topic = f"{ANSWERS}{name}"
        self._waiting: dict[bytes, asyncio.Future[bytes]] = {}

    def take(self, correlation: bytes | None, payload: bytes) -> None:
        """Takes an answer; one that nobody waits for is left."""
        waiting = self._waiting.get(correlation or b"")
        if waiting is not None and not waiting.done():
            waiting.set_result(payload)

    async def ask(self, connection: mqtt.Connection, topic: str, payload: bytes, timeout: float) -> bytes:
        """The answer to a request.

        Raises Problem 504 when none comes in `timeout` seconds, 503 when the request did not reach the broker.
        """
        if len(self._waiting) >= MOST_WAITING:
            raise Problem(503, "Too many requests wait for gateways", "try again in a few seconds")
        correlation, loop = secrets.token_bytes(8), asyncio.get_running_loop()
        answer: asyncio.Future[bytes] = loop.create_future()
        self._waiting[correlation] = answer
        try:
            async with asyncio.timeout(timeout):
                taken = await connection.publish(
                    topic, payload, response_topic=self.topic, correlation=correlation, expiry=math.ceil(timeout)
                )
                _judge(await taken)
                return await answer
        except TimeoutError:
            said = f"no gateway has answered within {timeout:g} s, and what became of it is not known: {_REMEDY}"
            raise Problem(504, "No answer", said, kind="no-answer", outcome="unknown") from None
        except mqtt.MqttError as error:
            said = f"the connection to the broker was lost meanwhile, and what became of it is not known: {error}"
            raise Problem(503, "The broker is away", said, outcome="unknown") from None
        except ValueError as error:
            raise Problem(422, "No such topic", str(error)) from None
        finally:
            del self._waiting[correlation]


def _judge(code: int) -> None:
    """Raises Problem for what the broker says to a request."""
    if code == mqtt.NO_MATCHING_SUBSCRIBERS:
        said = f"the request reached nobody, and nothing was done: {_REMEDY}"
        raise Problem(504, "No gateway listens", said, kind="no-gateway")
    if code >= mqtt.REFUSED:
        raise Problem(503, "The broker refuses it", f"{mqtt.reason(code)}: check its ACL for the user console")
