"""Audit records as gateways send them, and as they must not be."""

import json

import pytest

from gateway.commands import command
from nexus.contract import audit
from nexus.contract.codec import DecodeError, numbered

GATEWAY = "0f" * 16
RECORD: dict[str, object] = {
    **{"id": "ab" * 16, "ts": 1703289600000, "event": "write", "by": "anna", "value": 5, "was": 4.0, "now": 5},
    **{"ok": True, "error": None},
}


def payload(**other: object) -> bytes:
    return json.dumps({**RECORD, **other}).encode()


def test_a_record_is_read_with_its_number() -> None:
    found = audit.decode("audit/plc/valve", payload(p=GATEWAY, n=12))
    assert (found.id, found.time, found.event, found.by, found.ok) == ("ab" * 16, 1703289600000, "write", "anna", True)
    assert json.loads(found.detail) == {"value": 5, "was": 4.0, "now": 5, "error": None}
    assert (found.publisher, found.numbers) == (GATEWAY, (12, 12))
    assert audit.decode("audit/plc/valve", payload(by=None)).publisher is None


@pytest.mark.parametrize(
    "numbers", [{"p": GATEWAY, "n": 12, "m": 13}, {"p": "x", "n": 1}, {"p": GATEWAY, "n": 0}, {"p": 5}]
)
def test_a_record_has_one_number(numbers: dict[str, object]) -> None:
    assert audit.decode("audit/plc/valve", payload(**numbers)).publisher is None


def test_texts_that_the_database_cannot_hold_are_made_ones_that_it_can() -> None:
    hostile = payload(value="a\0b", more={"x\0": ["\0"]}, **{"\0": 1})
    assert "\\u0000" not in audit.decode("audit/a/b", hostile).detail


@pytest.mark.parametrize(
    "other",
    [
        {"id": "x"},
        {"id": 5},
        {"ts": -1},
        {"ts": 10**40},
        {"ts": audit.LATEST_MS},
        {"ts": "now"},
        {"event": "e" * 201},
        {"by": "\0"},
        {"ok": "yes"},
    ],
)
def test_what_is_no_record_is_refused(other: dict[str, object]) -> None:
    with pytest.raises(DecodeError, match="not an audit record"):
        audit.decode("audit/a/b", payload(**other))


def test_what_is_not_even_json_is_refused() -> None:
    for text in (b"", b"[]", b"{", b"[" * 100_000, b"\xff"):
        with pytest.raises(DecodeError, match="not an audit record"):
            audit.decode("audit/a/b", text)


def test_what_the_gateway_encodes_is_what_is_read() -> None:
    sent = command.Audit("ab" * 16, 1703289600000, "anna", 5, 4.0, 5, True, None)
    found = audit.decode("audit/plc/valve", numbered(command._encoder.encode(sent), GATEWAY, 7, 1))
    assert (found.id, found.event, found.by, found.numbers) == ("ab" * 16, "write", "anna", (7, 7))
    assert json.loads(found.detail) == {"value": 5, "was": 4.0, "now": 5, "error": None}


@pytest.mark.parametrize("depth", [51, 400, 900, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_a_record_that_is_nested_too_deep_is_bad_input(depth: int, opening: str, closing: str) -> None:
    text = payload().decode()[:-1] + ',"x":' + opening * depth + "1" + closing * depth + "}"
    with pytest.raises(DecodeError, match="not an audit record"):
        audit.decode("audit/a/b", text.encode())
