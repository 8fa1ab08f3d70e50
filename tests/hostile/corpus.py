"""The cases in `messages.jsonl`, and variants of them.

In a payload or topic `@x*100@` stands for a hundred x, `@letters*100@` for random letters, `@now@` for the time in epoch
ms, `@now+5@` for five later.
"""

import json
import random
import re
import string
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FILE = Path(__file__).with_name("messages.jsonl")
_PATTERN = re.compile(r"@(?:now(?:\+(\d+))?|(letters|.)\*(\d+))@")


@dataclass(frozen=True)
class Case:
    """One message, and whether it must become a row, a reject, or either."""

    what: str
    topic: str
    payload: bytes
    must: Literal["row", "reject", "any"]


def cases(seed: int = 0) -> list[Case]:
    """Every case of the file, as of now."""
    rng = random.Random(seed)
    found = []
    for line in FILE.read_text().splitlines():
        case = json.loads(line)
        payload = bytes.fromhex(case["hex"]) if "hex" in case else _filled(case["payload"], rng).encode()
        found.append(Case(case["what"], _filled(case["topic"], rng), payload, case["must"]))
    return found


def variant(case: Case, rng: random.Random) -> bytes:
    """A payload with a few bytes changed, cut, doubled or swapped for another's."""
    data = bytearray(case.payload[:4000])
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(4)
        if kind == 0 and data:
            data[at % len(data)] = rng.randrange(256)
        elif kind == 1:
            del data[at : at + rng.randrange(1, 8)]
        elif kind == 2:
            data[at:at] = data[at : at + rng.randrange(1, 8)]
        else:
            data[at:at] = rng.choice((b'"', b"{", b"[", b"9" * 40, b"\\u0000", b"1e400", b"null", b"\xff", b'"n":-1,'))
    return bytes(data)


def _filled(text: str, rng: random.Random) -> str:
    def fill(match: re.Match[str]) -> str:
        later, what, count = match.groups()
        if what is None:
            return str(int(time.time() * 1000) + int(later or 0))
        if what == "letters":
            return "".join(rng.choices(string.ascii_letters, k=int(count)))
        return what * int(count)

    return _PATTERN.sub(fill, text)
