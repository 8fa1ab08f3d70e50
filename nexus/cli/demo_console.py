"""The demo's console: where people find it, a login that is good for one run, and whether it lets them in."""

import json
import os
import secrets
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

NAME = "demo"
_ANSWER_SECONDS = 10.0
_PASSWORD_BYTES = 12


@dataclass(frozen=True)
class Login:
    """Where the console is, and how to get in."""

    url: str
    password: str
    file: Path  # with the password, for the command that makes the user

    def commands(self) -> list[list[str]]:
        """What makes the user, and gives it this run's password if it is another run's."""
        user, password = ["console", "user"], ["--password-file", str(self.file)]
        return [
            [*user, "add", NAME, "--role", "engineer", "--if-none", *password],
            [*user, "password", NAME, *password],
        ]

    def says(self) -> str:
        """A line for people."""
        return f"Console: {self.url}  (log in as {NAME}, password {self.password})"

    def trouble(self) -> str | None:
        """What keeps somebody from logging in; None if nothing does."""
        body = json.dumps({"name": NAME, "password": self.password}).encode()
        headers = {"Content-Type": "application/json"}
        asked = urllib.request.Request(f"{self.url}/api/v1/session", body, headers, method="POST")
        try:
            with urllib.request.urlopen(asked, timeout=_ANSWER_SECONDS) as answer:
                json.load(answer)
        except (OSError, ValueError) as error:
            return str(error)
        return None

    def wait(self, stop: threading.Event, check: Callable[[], None], seconds: float) -> str | None:
        """Waits until it lets somebody in, or `stop` is set; gives what still keeps it from that after `seconds`.

        `check` raises when waiting is in vain.
        """
        deadline = time.monotonic() + seconds
        while (trouble := self.trouble()) and not stop.is_set():
            check()
            if time.monotonic() > deadline:
                return trouble
            stop.wait(0.1)
        return None


def new_login(folder: Path, port: int) -> Login:
    """A password of this run, in a file of the demo's folder that only we can read."""
    password = secrets.token_urlsafe(_PASSWORD_BYTES)
    file = folder / "console-password"
    with open(file, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as opened:
        opened.write(password)
    return Login(f"http://127.0.0.1:{port}", password, file)
