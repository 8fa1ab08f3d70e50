"""uvicorn's WebSocket, whose transport the application may write whole frames to.

A frame of values costs uvicorn's own `send` three times what the system call does: it makes each one anew for each
client. The handshake, messages from the client, pings and the end are uvicorn's.
"""

from typing import Any

from starlette.websockets import WebSocket
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from console.live.client import Transport

_KEY = "nexus.transport"


class LiveSocket(WebSocketsSansIOProtocol):
    """Puts its transport into the scope."""

    def handle_connect(self, event: Any) -> None:
        """A handshake has come, and the application is started unless it is none."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope["state"][_KEY] = self.transport


def transport_of(websocket: WebSocket) -> Transport:
    """Where its frames go."""
    transport: Transport = websocket.scope["state"][_KEY]
    return transport
