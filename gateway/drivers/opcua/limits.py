"""What a server may send at most: the library's own limits are whatever the server says."""

from typing import Any

from asyncua import Client, ua
from asyncua.ua import ua_binary

MOST_BYTES = 16_000_000  # of one message


class _Nothing:
    """Arrays of Null take no bytes, however long they say they are."""

    def unpack_array(self, _: Any, length: int) -> tuple[()]:
        if length > 0:
            raise ua.UaError(f"an array of {length} times nothing")
        return ()


# Where the library looks for what unpacks a whole array.
ua_binary.Primitives1.Null = _Nothing()


def bound(client: Client) -> None:
    """Hangs up on a server whose message has no end."""
    make = client.uaclient._make_protocol

    def bounded() -> Any:
        protocol = make()
        receive = protocol.data_received

        def data_received(data: bytes) -> None:
            receive(data)
            if len(protocol.receive_buffer or b"") + protocol._connection._incoming_size > MOST_BYTES:
                protocol.disconnect_socket()

        protocol.data_received = data_received
        return protocol

    client.uaclient._make_protocol = bounded
