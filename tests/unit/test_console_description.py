"""The API's description, from which the pages have their types."""

from collections.abc import Iterator
from typing import Any

import pytest

from console import app

DESCRIBED: dict[str, Any] = app.api("test").openapi()
NO_JSON = ("/export.csv", "/export.parquet", "/metrics", "/oidc/login", "/oidc/callback")


def _answers() -> Iterator[tuple[str, dict[str, Any]]]:
    """Of each route whose answers are JSON, its name and what it answers where nothing is wrong."""
    for path, operations in DESCRIBED["paths"].items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                if status in ("200", "201", "202") and not path.endswith(NO_JSON):
                    yield f"{method} {path}", answer


@pytest.mark.parametrize("answer", [pytest.param(answer, id=name) for name, answer in _answers()])
def test_every_answer_has_a_model(answer: dict[str, Any]) -> None:
    schema = answer["content"]["application/json"]["schema"]
    named = schema.get("items", schema)
    assert named["$ref"].startswith("#/components/schemas/")


def test_no_two_models_have_one_name() -> None:
    assert [name for name in DESCRIBED["components"]["schemas"] if "__" in name] == []
