"""The demo's console: where people find it, and whether it answers."""

import json
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

_ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class ConsolePage:
    """Where the console is, on this machine only."""

    url: str

    def says(self) -> str:
        """A line for people."""
        return f"Console: {self.url}  (no login: only this machine reaches it)"

    def trouble(self) -> str | None:
        """What keeps it from answering as somebody's browser would ask; None if it answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/about", timeout=_ANSWER_SECONDS) as answer:
                json.load(answer)
        except (OSError, ValueError) as error:
            return str(error)
        return None


def environment(port: int) -> Mapping[str, str]:
    """What the console is told, besides what all are."""
    return {"NEXUS_CONSOLE_PORT": str(port), "NEXUS_CONSOLE_INSECURE": "1"}
