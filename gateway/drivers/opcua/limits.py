"""Limits on what a server may send: the library accepts whatever limits the server names."""

import asyncio
from collections.abc import Callable
from typing import Any

from asyncua import Client, ua
from asyncua.client.ua_session import UaSession
from asyncua.ua import ua_binary
from asyncua.ua.uaerrors import BadEncodingLimitsExceeded, BadResponseTooLarge, UaStructParsingError

MOST_BYTES = 4_000_000  # of one message
_MOST_CHUNKS = 1_000  # of one message; a chunk of the standard has 8 kB
_MOST_PARTS = 20_000  # in one message, unless more were asked for; decoding them takes some 30 ms
_LARGE = 50_000  # bytes; a thousand changes have some 35,000
_PARTS_EACH = 40  # of a value with its times; most have fewer than ten, in fewer bytes than this: those need no count

_TOO_LONG = f"a message of more than {MOST_BYTES // 1_000_000} MB, or {_MOST_CHUNKS:,} chunks"
_TOO_MANY = "a message with more in it than was asked for"


class _Nothing:
    """Arrays of Null take no bytes, however long they say they are."""

    def unpack_array(self, _: Any, length: int) -> tuple[()]:
        if length > 0:
            raise UaStructParsingError(f"an array of {length} nulls")
        return ()


# The library looks here for a function that unpacks a whole array.
ua_binary.Primitives1.Null = _Nothing()
# It would fill an array up to its stated dimensions. We publish no arrays.
ua_binary._reshape = lambda flat, _: flat


class _Counted:
    """The library's buffer of a message; it ends the decoding of more parts than are `left`. Copies share the count."""

    def __init__(self, buffer: Any, left: list[int]) -> None:
        self._buffer = buffer
        self._left = left
        self.skip = buffer.skip

    def __len__(self) -> int:
        return len(self._buffer)

    def read(self, size: int) -> Any:
        self._left[0] -= 1
        if self._left[0] < 0:
            raise UaStructParsingError(_TOO_MANY)
        return self._buffer.read(size)

    def copy(self, size: int = -1) -> "_Counted":
        return _Counted(self._buffer.copy(size), self._left)


def bound(client: Client, asked: int = 0, changes: int = 0) -> None:
    """Refuses messages that have no end, or more parts than `asked` values in a call, or `changes` in a report, have.

    Bytes do not tell how long decoding takes: an array can have a value in each of them. What is refused, by us or by a
    server that was told, is a UaStructParsingError of the request that it answers; the connection stays.
    """
    client.max_messagesize, client.max_chunkcount = MOST_BYTES, _MOST_CHUNKS
    make = client.uaclient._make_protocol

    def bounded() -> Any:
        protocol = make()
        receive, send = protocol.data_received, protocol.send_request
        _drop_long_messages(protocol)

        def data_received(data: bytes) -> None:
            receive(data)
            if len(protocol.receive_buffer or b"") > MOST_BYTES:  # of a chunk, which is never as long
                protocol._fail_all_pending(ua.UaError(_TOO_LONG))
                protocol.disconnect_socket()

        async def send_request(request: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                data = await send(request, *args, **kwargs)
            except (BadResponseTooLarge, BadEncodingLimitsExceeded) as error:
                raise UaStructParsingError(str(error)) from error
            values = changes if isinstance(request, ua.PublishRequest) else asked
            most = min(max(_MOST_PARTS, values * _PARTS_EACH), MOST_BYTES // 4)
            return data if len(data) <= most else _Counted(data, [most])

        protocol.data_received, protocol.send_request = data_received, send_request
        return protocol

    client.uaclient._make_protocol = bounded


def _drop_long_messages(protocol: Any) -> None:
    """Ends the request whose answer is too long, or is broken off by the server; the other chunks are thrown away."""
    connection = protocol._connection
    receive, limits = connection._receive, connection._limits
    agree = limits.update_client_limits

    def end(request: int, error: Exception) -> None:
        waiting = protocol._callbackmap.get(request)
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)

    def receive_chunk(chunk: Any) -> Any:
        message, request = receive(chunk), chunk.SequenceHeader.RequestId
        if chunk.MessageHeader.ChunkType == ua.ChunkType.Abort:
            reason = ua_binary.struct_from_binary(ua.ErrorMessage, ua.utils.Buffer(chunk.Body))
            end(request, ua.UaStatusCodeError(reason.Error.value))
            protocol._callbackmap.pop(request, None)
        elif connection._incoming_size > MOST_BYTES or len(connection._incoming_parts) > _MOST_CHUNKS:
            end(request, UaStructParsingError(_TOO_LONG))
            del connection._incoming_parts[1:]  # the first says whose the next ones are
            connection._incoming_size = 0
        return message

    def acknowledged(answer: ua.Acknowledge) -> None:
        agree(answer)
        limits.max_message_size = limits.max_chunk_count = 0  # these are the server's limits, not ours

    connection._receive, limits.update_client_limits = receive_chunk, acknowledged


def decode_reports(session: UaSession, unreadable: Callable[[Exception], None]) -> None:
    """Decodes large reports of changes in a thread, and tells of those that cannot be: the library drops them."""

    async def publish(acks: list[ua.SubscriptionAcknowledgement]) -> ua.PublishResponse:
        request = ua.PublishRequest(Parameters=ua.PublishParameters(SubscriptionAcknowledgements=acks))
        try:
            data = await session._send_request(request, timeout=0)
            if len(data) > _LARGE:
                return await asyncio.to_thread(ua_binary.struct_from_binary, ua.PublishResponse, data)
            return ua_binary.struct_from_binary(ua.PublishResponse, data)
        except (ua.UaStatusCodeError, OSError):
            raise
        except Exception as error:
            unreadable(error)
            raise

    session.publish = publish
