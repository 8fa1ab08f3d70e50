"""uvicorn's WebSocket, whose transport the application may write whole frames to.

A frame of values costs uvicorn's own `send` three times what the system call does: it makes each one anew for each
client. The handshake, messages from the client, pings and the end are uvicorn's.
"""

import socket
from typing import Any

from starlette.websockets import WebSocket
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from console.live.client import Transport

_KERNEL_BYTES = 131_072
_KEY = "nexus.transport"


class LiveSocket(WebSocketsSansIOProtocol):
    """Puts its transport into the scope."""

    def handle_connect(self, event: Any) -> None:
        """A handshake has come, and the application is started unless it is none."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            # What a client does not take waits here or in the kernel: its part is to be small, too.
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BYTES)
            self.scope["state"][_KEY] = self.transport

    def keepalive_timeout(self) -> None:
        """It has not answered a ping: it does not take what would be sent before an end in order, either."""
        super().keepalive_timeout()
        if self.transport.get_write_buffer_size():
            self.transport.abort()


def transport_of(websocket: WebSocket) -> Transport:
    """Where its frames go."""
    transport: Transport = websocket.scope["state"][_KEY]
    return transport
