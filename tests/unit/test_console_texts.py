"""The words of the console's pages cover what the console records."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from nexus.contract.ack import Action

ROOT = Path(__file__).parents[2]
RECORDING = ("record", "add", "around", "refused")
PUT_TOGETHER = {
    'f"alarm {action}"': [f"alarm {action}" for action in get_args(Action)],
    'f"{what} refused"': ["key refused", "session refused"],
    "event": ["apply-files", "rollback-files"],
}


def recorded() -> Iterator[str]:
    """The events of the audit, from the calls that record them."""
    for file in (ROOT / "console").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and len(node.args) > 2):
                continue
            if node.func.attr not in RECORDING or ast.unparse(node.func.value) != "audit":
                continue
            event = node.args[2]
            if isinstance(event, ast.Constant):
                yield str(event.value)
            else:
                yield from PUT_TOGETHER[ast.unparse(event).replace("'", '"')]


def test_the_page_of_the_audit_has_a_word_for_every_event() -> None:
    events = set(recorded())
    assert {"write", "alarm reset", "key refused", "rollback-files", "notification retried"} <= events
    for language in ("en", "de"):
        text = (ROOT / f"console/web/src/text/{language}.ts").read_text(encoding="utf-8")
        table = text.partition("  audit: {")[2].partition("    events: {")[2].partition("    }")[0]
        named = {quoted or bare for quoted, bare in re.findall(r'^      (?:"([^"]+)"|([a-z]+)): ', table, re.MULTILINE)}
        assert events - named == set(), f"add these to `audit.events` of console/web/src/text/{language}.ts"
