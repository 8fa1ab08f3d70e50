"""Receivers of notifications for tests: an HTTP server that answers as it is told, and a mail server."""

import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, Session

from tests.parts import free_port


@dataclass(frozen=True)
class Request:
    """One that came; headers by their names in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What to answer: a status after so many seconds."""

    status: int = 200
    seconds: float = 0.0
    retry_after: str | None = None


class Webhook:
    """Keeps what comes; `answer` says what each request gets."""

    def __init__(self, answer: Callable[[Request], Reply] = lambda _: Reply()) -> None:
        self.answer = answer
        self.came: list[Request] = []
        self.taken: list[Request] = []  # those that were answered with 200
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                sink._take(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: object) -> None:
                pass  # who hung up was killed

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/alarms"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def told(self) -> list[tuple[str, str]]:
        """Alarm and event of what was taken."""
        return [(one.json["alarm"]["topic"], one.json["alarm"]["event"]) for one in self.taken if "alarm" in one.json]

    def _take(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in request.headers.items()}
        found = Request(request.path, headers, body, time.monotonic())
        self.came.append(found)
        reply = self.answer(found)
        time.sleep(reply.seconds)
        if reply.status == 200:
            self.taken.append(found)
        request.send_response(reply.status)
        if reply.retry_after is not None:
            request.send_header("Retry-After", reply.retry_after)
        request.send_header("Content-Length", "2")
        request.end_headers()
        request.wfile.write(b"ok")


class Mail:
    """A mail server that keeps what comes. With `tls` it offers STARTTLS and demands the login `nexus`, `a real secret`;
    `refuses` are answers by recipient."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []  # of each mail
        self.refuses: dict[str, str] = {}
        self.logins: list[bool] = []
        self.port = free_port()
        self._controller = Controller(
            self,
            hostname="127.0.0.1",
            port=self.port,
            tls_context=tls,
            require_starttls=tls is not None,
            auth_required=tls is not None,
            authenticator=self._login if tls is not None else None,
        )
        self._controller.start()

    def close(self) -> None:
        self._controller.stop()

    def _login(self, _: Any, __: Session, ___: Envelope, ____: str, data: Any) -> AuthResult:
        is_right = (data.login, data.password) == (b"nexus", b"a real secret")
        self.logins.append(is_right)
        return AuthResult(success=is_right, handled=False)

    async def handle_RCPT(  # noqa: N802  as aiosmtpd calls it
        self, _: Any, __: Session, envelope: Envelope, address: str, ___: list[str]
    ) -> str:
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _: Any, __: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        found = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(found, EmailMessage)
        self.mails.append(found)
        self.recipients.append(envelope.rcpt_tos)
        return "250 taken"


def notify_file(folder: Path, text: str) -> Path:
    """A file of notifications."""
    path = folder / "notify.yaml"
    path.write_text(text)
    return path
