"""SUBSCRIBE and UNSUBSCRIBE, and the answers that they wait for."""

import asyncio
from collections.abc import Callable

from mqtt5 import SubscribePacket, UnsubscribePacket

from nexus.mqtt.errors import MqttError, fail
from nexus.mqtt.session import Answer, Sending, title_of
from nexus.mqtt.stream import PacketStream

ANSWER_SECONDS = 30.0  # for a SUBACK or UNSUBACK: a broker that sends none also holds back what follows


class Requests:
    """Those of one connection."""

    def __init__(self, stream: PacketStream, sending: Sending) -> None:
        self._stream, self._sending = stream, sending
        self._answers: set[asyncio.Future[Answer]] = set()

    async def ask(
        self, kind: type[Answer], filters: int, request: Callable[[int], SubscribePacket | UnsubscribePacket]
    ) -> Answer:
        """Sends a request about so many filters, and waits for its answer, or ends the connection. Raises MqttError."""
        if self._stream.ended is not None:
            raise MqttError(self._stream.ended)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def answered(found: Answer) -> None:
            if not answer.done():
                answer.set_result(found)

        self._stream.write(request(self._sending.ask(kind, filters, answered)).write())
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await answer
        except TimeoutError:
            why = f"no {title_of(kind)} for {ANSWER_SECONDS:g} s"
            self._stream.drop(why)
            raise MqttError(why) from None

    def fail(self, why: str) -> None:
        """The connection is lost: none of them is answered any more."""
        fail(self._answers, why)
