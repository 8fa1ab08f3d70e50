"""A message into a batch: its rows, what of it cannot be one, and its numbers."""

from collections.abc import Callable

from ingestion.batch import Batch, Reject
from ingestion.decoders import Decoders
from ingestion.rows import Encoder, Window
from nexus.contract.codec import DecodeError, Message, sender
from nexus.runtime import log


class Encoding:
    """Decodes and encodes, as the settings say."""

    def __init__(self, decoders: Decoders) -> None:
        self._decoders = decoders
        self._encoder = Encoder()

    def add(
        self,
        batch: Batch,
        topic: str,
        payload: bytes,
        window: Window,
        wanted: Callable[[Message], Message | None] = lambda message: message,
    ) -> None:
        """Adds what a payload says to a batch, or what `wanted` leaves of it."""
        publisher, numbers = None, (0, -1)
        try:
            message = self._decoders.decode(topic, payload)
            publisher, numbers = message.publisher, message.numbers
            left = wanted(message)
            if left is not None:
                refused = self._encoder.encode(left, window, batch.rows, batch.late)
                batch.rejects += [Reject(name, payload, reason, topic) for name, reason in refused]
                batch.rejects += [Reject(fault.topic, payload, fault.reason, topic) for fault in left.faults]
        except DecodeError as error:
            batch.rejects.append(Reject(topic, payload, str(error)))
            publisher, numbers = sender(payload)
        except Exception as error:  # a mistake of ours must not stop all the messages behind this one
            batch.rejects.append(Reject(topic, payload, f"the decoder failed: {error!r}"))
            log.get("decoder").exception("a message could not be decoded, by our mistake", topic=topic)
        if publisher is not None:
            batch.receipts.append((publisher, *numbers))
