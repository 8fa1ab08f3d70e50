"""The console's API as a client sees it."""

import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.content.splitlines()]


class Api:
    """Asks the console at an address; `told` are headers of every request."""

    def __init__(self, port: int, **told: str) -> None:
        self.port = port
        self.address = f"http://127.0.0.1:{port}"
        self._told = told

    def get(self, path: str, headers: dict[str, str] | None = None, **query: Any) -> Answer:
        """Of /api/v1; `from_` stands for `from`, a list for several of a name."""
        asked = urllib.parse.urlencode({name.rstrip("_"): value for name, value in query.items()}, doseq=True)
        return self.ask("GET", f"/api/v1/{path}?{asked}", headers=headers)

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Answer:
        return self.ask("POST", f"/api/v1/{path}", json.dumps(body).encode(), headers)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        told = {"Content-Type": "application/json", **self._told, **(headers or {})}
        request = urllib.request.Request(self.address + path, body, told, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Answer(
                    answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()
                )
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, {name.lower(): value for name, value in error.headers.items()}, error.read())
