"""Consoles for tests, with the role that they have in production, and browsers and programs that ask them."""

import asyncio
import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import psycopg

from console.access import keys, passwords, users
from console.access.person import Person, Role
from tests.parts import Nexus, as_role, free_port, listens, until

PASSWORD = "four words make one"
COMMAND = Person("root", Role.engineer, "", "command")
_KEPT = passwords.hashed(PASSWORD)


def add_user(url: str, name: str, role: Role) -> None:
    """A user with the password PASSWORD."""

    async def work() -> None:
        async with await psycopg.AsyncConnection.connect(as_role(url, "nexus_console"), autocommit=True) as connection:
            await users.add(connection, COMMAND, name, role, _KEPT)

    asyncio.run(work())


def add_key(url: str, name: str, role: Role) -> str:
    """A key that does not expire."""

    async def work() -> str:
        async with await psycopg.AsyncConnection.connect(as_role(url, "nexus_console"), autocommit=True) as connection:
            return (await keys.add(connection, COMMAND, name, role, None))[1]

    return asyncio.run(work())


class Console(Nexus):
    """A `nexus console` process; the database's URL becomes one with its role's rights."""

    def __init__(self, folder: Path, database: str, **settings: str) -> None:
        self.web = free_port()
        environment = {f"NEXUS_{name.upper()}": value for name, value in settings.items()}
        environment |= {"NEXUS_CONSOLE_PORT": str(self.web), "NEXUS_DATABASE_URL": as_role(database, "nexus_console")}
        super().__init__(folder, ["console"], environment)

    def until_serving(self) -> "Console":
        until(lambda: listens(self.web) or self.ended(), "the console listens")
        return self


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it is the answer."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_Stay)


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Browser:
    """Asks a console, and keeps its cookies and CSRF token; or a program, with a key."""

    port: int
    key: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    csrf: str | None = None

    def ask(self, method: str, path: str, content: object = None, **headers: str) -> Answer:
        """`headers` have _ for -."""
        given = {"Host": f"127.0.0.1:{self.port}", "Content-Type": "application/json", **self.headers}
        if self.key:
            given["Authorization"] = f"Bearer {self.key}"
        if self.cookies:
            given["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if self.csrf:
            given["X-CSRF-Token"] = self.csrf
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        body = content if isinstance(content, bytes) else None if content is None else json.dumps(content).encode()
        whole = path if path.startswith("/") else f"/api/v1/{path}"
        url = f"http://127.0.0.1:{self.port}{whole}"
        request = urllib.request.Request(url, body, given, method=method)
        try:
            with _OPENER.open(request, timeout=30) as answer:
                return self._read(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return self._read(error.code, error.headers, error.read())

    def log_in(self, name: str, password: str = PASSWORD, **headers: str) -> Answer:
        answer = self.ask("POST", "session", {"name": name, "password": password}, **headers)
        if answer.status == 200:
            self.csrf = answer.json["csrf"]
        return answer

    def _read(self, status: int, headers: Any, body: bytes) -> Answer:
        for line in headers.get_all("Set-Cookie") or []:
            for name, morsel in SimpleCookie(line).items():
                if morsel.value:
                    self.cookies[name] = morsel.value
                else:
                    self.cookies.pop(name, None)
        return Answer(status, {name.lower(): value for name, value in headers.items()}, body)
