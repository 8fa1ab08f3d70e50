"""The words of the console's pages cover what the console records."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from console.problems import KINDS
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


def calls(folder: str, *names: str) -> Iterator[ast.Call]:
    """The calls of these functions below a folder."""
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                yield node


def texts(language: str) -> str:
    return (ROOT / f"console/web/src/text/{language}.ts").read_text(encoding="utf-8")


def test_the_pages_have_words_for_every_kind_of_problem() -> None:
    used = {
        str(keyword.value.value)
        for call in calls("console", "Problem", "answer", "not_logged_in")
        for keyword in call.keywords
        if keyword.arg == "kind" and isinstance(keyword.value, ast.Constant)
    }
    assert {"value-changed", "too-many-logins"} <= used <= set(KINDS)
    for language in ("en", "de"):
        table = texts(language).partition("    kinds: {")[2].partition("\n    }")[0]
        named = set(re.findall(r'^      "([^"]+)": ', table, re.MULTILINE))
        assert named == set(KINDS) - {"no-route"}, language


def test_what_alarms_refuse_by_is_said_in_german_too() -> None:
    refusals = {
        argument.value
        for call in calls("nexus/alarms", "RequestError", "_Asked")
        for argument in call.args[-2:]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str) and " " in argument.value
    }
    asked_of_programs = {one for one in refusals if "`" in one}  # the pages send what these miss
    assert "nobody has suppressed it" in refusals
    table = texts("de").partition("    reasons: {")[2].partition("\n    }")[0]
    assert {one for one in refusals - asked_of_programs if f'"{one}":' not in table} == set()
