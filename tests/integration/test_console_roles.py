"""Each route of the console against each role, from the API's own description."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from console.access.person import Role
from tests.consoles import Browser, Console, add_key
from tests.parts import ended_with_block


@pytest.fixture
def console(tmp_path: Path, database: str) -> Iterator[tuple[Console, dict[Role, Browser]]]:
    """One, and who asks it: somebody unknown, and a program of each role."""
    keys = {role: add_key(database, role.name, role) for role in Role if role}
    with ended_with_block(one := Console(tmp_path, database)):
        one.until_serving()
        yield one, {role: Browser(one.web, key=keys.get(role)) for role in Role}


def test_each_route_lets_in_its_least_role_and_nobody_below(console: tuple[Console, dict[Role, Browser]]) -> None:
    _, askers = console
    described = askers[Role.viewer].ask("GET", "openapi.json").json
    routes = [
        (method.upper(), path.format_map(_Anything()), content)
        for path, methods in described["paths"].items()
        for method, content in methods.items()
    ]
    assert len(routes) > 25
    wrong = []
    for method, path, content in routes:
        assert "x-role" in content, f"{method} {path}: its route needs door.Viewer, Operator, Engineer or Anybody"
        least = Role[content["x-role"]]
        body = b"" if "requestBody" in content else None
        for role, asker in askers.items():
            if role > least:
                continue  # who may do more, may do this
            status = asker.ask(method, path, body).status
            is_in = status not in (401, 403)
            expected = 401 if role is Role.anybody else 403
            if is_in != (role >= least) or (not is_in and status != expected):
                wrong.append(f"{method} {path} for {role.name}: {status}")
    assert wrong == []


def test_without_a_login_nothing_of_the_plant_is_told(console: tuple[Console, dict[Role, Browser]]) -> None:
    described = console[1][Role.viewer].ask("GET", "openapi.json").json
    open_ones = {
        (method, path)
        for path, methods in described["paths"].items()
        for method, content in methods.items()
        if content["x-role"] == "anybody"
    }
    assert open_ones == {
        ("post", "/api/v1/session"),
        ("get", "/api/v1/oidc/login"),
        ("get", "/api/v1/oidc/callback"),
    }


class _Anything(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "nothing"
