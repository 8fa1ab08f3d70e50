"""The words about a wrong request say what to send instead."""

from enum import StrEnum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from console import invalid
from console.api.alarm_actions import Why
from console.api.parameters import Moment, Text


class Colour(StrEnum):
    red = "red"
    green = "green"


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")
    points: int = Field(1, ge=1, le=10_000)
    show: Literal["all", "writable"] = "all"
    colour: Colour = Colour.red
    since: Moment | None = None
    name: Text = Field("a", min_length=1, max_length=3)
    ids: list[int] = Field([], max_length=2)
    on: bool = False


class Needed(BaseModel):
    name: str


def said(model: type[BaseModel], sent: Any) -> str:
    """As a route says it, which has the request's part before the place."""
    with pytest.raises(ValidationError) as wrong:
        model.model_validate(sent)
    return invalid.said([{**fault, "loc": ("body", *fault["loc"])} for fault in wrong.value.errors()])


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"points": "10001"}, "points: send at most 10000"),
        ({"points": "0"}, "points: send at least 1"),
        ({"points": "many"}, "points: write a whole number"),
        ({"show": "none"}, "show: write 'all' or 'writable'"),
        ({"colour": "blue"}, "colour: write 'red' or 'green'"),
        ({"since": "yesterday"}, "since: write it like 2026-11-26T15:10:08Z (RFC 3339)"),
        ({"since": "2026-11-26T15:10:08"}, "since: has no time zone: write it like 2026-11-26T15:10:08Z (RFC 3339)"),
        (
            {"since": "2026-11-26T15:10:08.5 01:00"},
            "since: in a URL write %2B for +, which is a space there, like 2026-11-26T15:10:08%2B01:00",
        ),
        ({"name": ""}, "name: write at least 1 characters"),
        ({"name": "abcd"}, "name: write at most 3 characters"),
        ({"name": "a\0"}, "name: holds a character that the database cannot"),
        ({"name": 1}, "name: write a text"),
        ({"ids": [1, 2, 3]}, "ids: send at most 2 at once, not 3"),
        ({"ids": ["x"]}, "ids.0: write a whole number"),
        ({"on": "perhaps"}, "on: write true or false"),
        ({"nam": "a"}, "nam: is not known here: leave it out, or check its spelling"),
    ],
)
def test_what_is_wrong_is_named_with_what_it_may_be(sent: Any, words: str) -> None:
    assert said(Asked, sent) == words


def test_what_is_missing_is_named() -> None:
    assert said(Needed, {}) == "name: is missing: send it too"


def test_a_body_that_is_not_json_has_no_character_for_a_place() -> None:
    fault = {"type": "json_invalid", "loc": ("body", 1), "msg": "JSON decode error", "ctx": {"error": "no value"}}
    assert invalid.said([fault]) == "body: is not JSON: no value"


def test_what_has_no_words_of_ours_keeps_those_of_pydantic() -> None:
    assert invalid.said([{"type": "rare", "loc": ("query", "a"), "msg": "Is rare"}]) == "a: Is rare"


@pytest.mark.parametrize("seconds", [7 * 86_400 + 1, 0, -1])
def test_nobody_shelves_for_longer_than_a_week(seconds: float) -> None:
    assert "put it out of service" in said(Why, {"seconds": seconds})
