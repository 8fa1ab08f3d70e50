"""Logins to the console by OpenID Connect, against a provider of the tests' own that can lie."""

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from time import time
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc.jwk import RSAKey

from console.access.person import Role
from tests.consoles import Answer, Browser, Console, add_user
from tests.integration.test_console_commands import run
from tests.integration.test_writer import query
from tests.oidc_provider import CLIENT, SECRET, Provider
from tests.parts import ended_with_block, until

URL = "https://plant.example"


@pytest.fixture
def provider() -> Iterator[Provider]:
    one = Provider()
    yield one
    one.close()


@pytest.fixture
def console(tmp_path: Path, database: str, provider: Provider) -> Iterator[Console]:
    """One without users of its own: the provider's are enough to start."""
    one = Console(
        tmp_path,
        database,
        console_url=URL,
        console_proxies="127.0.0.1",
        console_oidc_issuer=provider.issuer,
        console_oidc_client_id=CLIENT,
        console_oidc_client_secret=SECRET,
        console_oidc_roles="engineer=plant-engineers, operator=shift",
    )
    with ended_with_block(one):
        yield one.until_serving()


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def location(url: str) -> str:
    """Where the provider sends a browser that has logged in there."""
    try:
        urllib.request.build_opener(_Stay).open(url, timeout=10)
    except HTTPError as answer:
        with answer:
            return str(answer.headers["Location"])
    raise AssertionError(url)


def callback(one: Browser, to: str = "/trend") -> str:
    """Goes to the provider and comes back with its answer: the path that is then asked for."""
    start = one.ask("GET", f"oidc/login?to={to}")
    assert start.status == 303, start
    back = location(start.headers["location"])
    assert back.startswith(f"{URL}/api/v1/oidc/callback?")
    return f"oidc/callback?{urlsplit(back).query}"


def log_in(console: Console, to: str = "/trend") -> tuple[Browser, Answer]:
    one = Browser(console.web)
    return one, one.ask("GET", callback(one, to))


def test_a_person_logs_in_with_the_role_of_a_group(console: Console, database: str) -> None:
    stranger = Browser(console.web).ask("GET", "session", Host="plant.example")
    assert (stranger.status, stranger.json["oidc"], stranger.json["login"]) == (401, True, ["password", "oidc"])
    one, answer = log_in(console)
    assert (answer.status, answer.headers["location"]) == (303, "/trend")
    who = one.ask("GET", "session").json
    assert (who["name"], who["role"], who["via"]) == ("anna", "engineer", "oidc")
    one.csrf = who["csrf"]
    assert one.ask("POST", "keys", {"name": "mes", "role": "viewer"}).status == 201
    [(person, via, detail)] = query(database, "SELECT person, via, detail FROM console_audit WHERE event = 'login'")
    assert (person, via, detail) == ("anna", "oidc", {"sub": "4711", "role": "engineer"})
    assert one.ask("DELETE", "session").status == 204
    assert one.ask("GET", "session").status == 401


def test_sessions_of_a_person_whom_only_the_provider_knows_are_ended_from_a_terminal(
    console: Console, database: str
) -> None:
    one, _ = log_in(console)
    assert one.ask("GET", "session").status == 200
    assert run(database, "user", "logout", "anna").stdout == "1 sessions of anna are ended\n"
    until(lambda: one.ask("GET", "session").status == 401, "the session has ended")


def test_a_new_key_of_the_providers_is_asked_for(console: Console, provider: Provider) -> None:
    assert log_in(console)[1].headers["location"] == "/trend"
    provider.rotate()
    assert log_in(console)[1].headers["location"] == "/trend"


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/%5Cevil.example", "/a%0d%0ab"])
def test_nobody_is_sent_to_another_site(console: Console, to: str) -> None:
    assert log_in(console, to)[1].headers["location"] == "/"


LIES: dict[str, dict[str, Any]] = {
    "another nonce": {"claims": {"nonce": "another"}},
    "another audience": {"claims": {"aud": "another"}},
    "several audiences, and not for us": {"claims": {"aud": [CLIENT, "another"], "azp": "another"}},
    "another issuer": {"claims": {"iss": "http://evil.example"}},
    "expired": {"claims": {"exp": 1}},
    "nobody": {"claims": {"sub": None}},
    "no name": {"claims": {"preferred_username": ""}},
    "a name that is none": {"claims": {"preferred_username": ["anna"]}},
    "a name of two lines": {"claims": {"preferred_username": "anna\nroot"}},
    "another's signature": {"signs_with": RSAKey.generate_key(2048)},
}


def test_an_id_token_that_lies_lets_nobody_in(console: Console, provider: Provider, database: str) -> None:
    for number, (what, lie) in enumerate(LIES.items()):
        provider.claims, provider.signs_with = lie.get("claims", {}), lie.get("signs_with")
        one = Browser(console.web, headers={"X-Forwarded-For": f"203.0.113.{number}"})
        assert one.ask("GET", callback(one)).headers["location"] == "/?login=failed", what
        assert one.ask("GET", "session").status == 401, what
    assert query(database, "SELECT count(*) FROM console_sessions") == [(0,)]


def test_the_providers_clock_may_differ_by_a_minute_and_no_more(console: Console, provider: Provider) -> None:
    now = int(time())
    for claims, where in (
        ({"exp": now - 30}, "/trend"),
        ({"iat": now + 30, "nbf": now + 30}, "/trend"),
        ({"exp": now - 3600}, "/?login=failed"),
        ({"nbf": now + 3600}, "/?login=failed"),
    ):
        provider.claims = claims
        assert log_in(console)[1].headers["location"] == where, claims


def test_who_has_no_role_here_or_is_refused_there_is_told_so(console: Console, provider: Provider) -> None:
    provider.claims = {"groups": ["staff"]}
    assert log_in(console)[1].headers["location"] == "/?login=norole"
    provider.error = "access_denied"
    assert log_in(console)[1].headers["location"] == "/?login=refused"


def test_a_login_that_another_browser_began_is_refused(console: Console) -> None:
    one, other = Browser(console.web), Browser(console.web)
    path, another = callback(one), callback(other)
    assert other.ask("GET", path).headers["location"] == "/?login=failed"
    assert Browser(console.web).ask("GET", another).headers["location"] == "/?login=failed"
    assert one.ask("GET", path).headers["location"] == "/trend"
    assert one.ask("GET", path).headers["location"] == "/?login=failed"  # once


def test_good_logins_from_one_address_are_not_limited_and_failed_ones_by_themselves(
    console: Console, provider: Provider, database: str
) -> None:
    add_user(database, "vera", Role.viewer)
    for _ in range(12):
        assert log_in(console)[1].headers["location"] == "/trend"
    for _ in range(12):
        assert Browser(console.web).ask("GET", "oidc/callback?state=x&code=y").headers["location"] == "/?login=failed"
    provider.claims = {"nonce": "another"}
    assert [log_in(console)[1].status for _ in range(11)] == [303] * 10 + [429]
    assert Browser(console.web).log_in("vera", Host="plant.example").status == 200, "a password is another matter"


def test_the_provider_asks_again_where_that_is_set(tmp_path: Path, database: str, provider: Provider) -> None:
    one = Console(
        tmp_path,
        database,
        console_url=URL,
        console_oidc_issuer=provider.issuer,
        console_oidc_client_id=CLIENT,
        console_oidc_roles="viewer=*",
        console_oidc_prompt="login",
    )
    with ended_with_block(one):
        start = Browser(one.until_serving().web).ask("GET", "oidc/login").headers["location"]
    assert parse_qs(urlsplit(start).query)["prompt"] == ["login"]


def test_a_picture_on_another_site_begins_no_login(console: Console) -> None:
    one = Browser(console.web)
    for dest, status in (("image", 403), ("document", 303)):
        answer = one.ask("GET", "oidc/login", Sec_Fetch_Site="cross-site", Sec_Fetch_Dest=dest)
        assert answer.status == status


def test_a_provider_that_is_away_is_named_in_the_audit(console: Console, provider: Provider, database: str) -> None:
    provider.close()
    answer = Browser(console.web).ask("GET", "oidc/login")
    assert answer.headers["location"] == "/?login=failed"
    [(detail,)] = query(database, "SELECT detail FROM console_audit WHERE event = 'oidc refused'")
    assert provider.issuer in detail["reason"]
