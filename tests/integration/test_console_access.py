"""Who gets into the console, what each role may do there, and what is kept of it; with production's database role."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from console.access.person import Role
from tests.consoles import PASSWORD, Answer, Browser, Console, add_user
from tests.integration.test_writer import query
from tests.parts import Postgres, as_role, ended_with_block, until


@pytest.fixture
def start(tmp_path: Path, database: str) -> Iterator[Callable[..., Console]]:
    """Starts consoles on a database with the users vera (viewer), otto (operator) and edda (engineer)."""
    for name, role in (("vera", Role.viewer), ("otto", Role.operator), ("edda", Role.engineer)):
        add_user(database, name, role)
    with ExitStack() as stack:

        def one(**settings: str) -> Console:
            console = Console(tmp_path, database, **settings)
            stack.enter_context(ended_with_block(console))
            return console.until_serving()

        yield one


@pytest.fixture
def console(start: Callable[..., Console]) -> Console:
    return start()


def browser(console: Console, name: str) -> Browser:
    one = Browser(console.web)
    assert one.log_in(name).status == 200
    return one


def audit(url: str, event: str) -> list[tuple[Any, ...]]:
    return query(url, f"SELECT person, address, ok, old, new FROM console_audit WHERE event = '{event}' ORDER BY id")


def refused(answer: Answer, status: int, said: str) -> bool:
    assert answer.headers["content-type"] == "application/problem+json", answer
    assert (answer.status, said in answer.json["detail"]) == (status, True), answer.json
    return True


def test_one_logs_in_and_out_with_a_cookie_that_no_script_and_no_other_site_gets(
    console: Console, database: str
) -> None:
    one = Browser(console.web)
    answer = one.log_in(" Otto ")
    assert answer.json == {
        **{"name": "otto", "role": "operator", "via": "session", "read_only": False, "insecure": False},
        "csrf": one.csrf,
    }
    assert "samesite=strict" in answer.headers["set-cookie"].lower()
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert one.ask("GET", "session").json == answer.json
    kept = dict(one.cookies)
    assert one.ask("DELETE", "session").status == 204
    assert "nexus_session" not in one.cookies
    assert one.ask("GET", "session").status == 401
    one.cookies = kept
    assert refused(one.ask("GET", "session"), 401, "this session has ended")
    assert audit(database, "login") == audit(database, "logout") == [("otto", "127.0.0.1", True, None, None)]


def test_a_cookie_that_was_tampered_with_or_signed_by_another_is_no_session(console: Console, database: str) -> None:
    one = browser(console, "vera")
    head, body, signature = one.cookies["nexus_session"].split(".")
    other = jwt.encode({"alg": "HS256"}, {"aud": "session", "exp": 9e9}, OctKey.generate_key())
    unsigned = urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    device = one.cookies["nexus_device"]  # ours, and for another purpose
    for cookie in (f"{head}.{body[:-2]}.{signature}", f"{unsigned}.{body}.", other, device, "", "x" * 5000):
        stranger = Browser(console.web, cookies={"nexus_session": cookie})
        assert stranger.ask("GET", "session").status == 401, cookie
    assert one.ask("GET", "session").status == 200
    assert audit(database, "session refused")[0] == ("", "127.0.0.1", False, None, None)


def test_what_changes_something_needs_the_csrf_token_and_a_page_of_ours(console: Console, database: str) -> None:
    one = browser(console, "edda")
    user = {"name": "new", "role": "viewer", "password": PASSWORD}
    token, one.csrf = one.csrf, None
    assert refused(one.ask("POST", "users", user), 403, "X-CSRF-Token")
    one.csrf = token
    for origin in (
        "http://evil.example",
        f"http://127.0.0.1:{console.web + 1}",
        "null",
        "http://[",
        f"ftp://127.0.0.1:{console.web}",
    ):
        assert refused(one.ask("POST", "users", user, Origin=origin), 403, "another site"), origin
        assert Browser(console.web).log_in("edda", Origin=origin).status == 403
    assert query(database, "SELECT name FROM console_users WHERE name = 'new'") == []
    assert one.ask("POST", "users", user, Origin=f"http://127.0.0.1:{console.web}").status == 201


def test_without_a_login_pages_of_other_sites_change_nothing_either(tmp_path: Path, database: str) -> None:
    with ended_with_block(console := Console(tmp_path, database, console_insecure="1").until_serving()):
        anybody = Browser(console.web)
        assert anybody.ask("GET", "session").json["name"] == "anonymous"
        key = {"name": "mine", "role": "viewer"}
        assert refused(anybody.ask("POST", "keys", key, Origin="http://evil.example"), 403, "another site")
        assert anybody.ask("POST", "keys", key).status == 201
        assert audit(database, "key added")[0][:3] == ("anonymous", "127.0.0.1", True)


def test_only_who_is_logged_in_may_send_much(console: Console) -> None:
    large = json.dumps([{"topic": "t", "time": "2026-01-01T00:00:00Z", "value": 1.0}] * 2000).encode()
    for stranger in (
        Browser(console.web),
        Browser(console.web, key="nx_1_2"),
        Browser(console.web, cookies={"nexus_session": "x"}),
    ):
        assert refused(stranger.ask("POST", "last", large), 413, "log in first")
    assert browser(console, "otto").ask("POST", "last", large).status == 422, "it was read"


def test_a_name_that_leads_here_is_not_answered_and_no_page_may_frame_ours(console: Console) -> None:
    one = browser(console, "vera")
    assert refused(one.ask("GET", "session", Host="rebound.example"), 421, "NEXUS_HTTP_HOSTS")
    headers = one.ask("GET", "session").headers
    assert headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"


def test_a_key_is_a_login_until_it_is_revoked_or_expires(console: Console, database: str) -> None:
    engineer = browser(console, "edda")
    late = {"name": "late", "role": "viewer", "expires": "2020-01-01T00:00:00Z"}
    assert refused(engineer.ask("POST", "keys", late), 422, "in the past")
    expires = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    made = engineer.ask("POST", "keys", {"name": "mes", "role": "operator", "expires": expires}).json
    program = Browser(console.web, key=made["key"])
    assert program.ask("GET", "session").json["role"] == "operator"
    assert program.ask("GET", "users").status == 403
    [listed] = engineer.ask("GET", "keys").json["items"]
    assert (listed["name"], listed["created_by"], listed["last_used"] is not None) == ("mes", "edda", True)
    with psycopg.connect(database) as owner:
        owner.execute("UPDATE console_keys SET expires = now()")
    until(lambda: program.ask("GET", "session").status == 401, "it has expired")
    assert engineer.ask("DELETE", f"keys/{made['id']}").status == 204
    assert refused(program.ask("GET", "session"), 401, "unknown, revoked or expired")
    assert Browser(console.web, key="nexus_000000000000_" + "0" * 48).ask("GET", "session").status == 401
    assert Browser(console.web, key="x").ask("GET", "session").status == 401


def test_a_change_of_a_user_ends_the_sessions_on_all_replicas(start: Callable[..., Console]) -> None:
    here, there = start(), start()
    engineer, one = browser(here, "edda"), browser(there, "otto")
    moved = Browser(here.web, cookies=one.cookies, csrf=one.csrf)
    assert moved.ask("GET", "session").status == 200  # the replicas sign with one secret
    assert engineer.ask("PATCH", "users/otto", {"role": "viewer"}).json["role"] == "viewer"
    assert moved.ask("GET", "session").status == 401
    until(lambda: one.ask("GET", "session").status == 401, "the other replica knows")
    one = browser(there, "otto")
    assert one.ask("GET", "session").json["role"] == "viewer"
    assert engineer.ask("PATCH", "users/otto", {"password": "quite another one"}).status == 200
    until(lambda: one.ask("GET", "session").status == 401, "the other replica knows")
    assert one.log_in("otto").status == 401
    assert one.log_in("otto", "quite another one").status == 200
    assert engineer.ask("DELETE", "users/otto").status == 204
    until(lambda: one.ask("GET", "session").status == 401, "the other replica knows")
    assert refused(one.log_in("otto", "quite another one"), 401, "the name or the password is wrong")


def test_one_changes_ones_own_password_and_the_other_sessions_end(console: Console) -> None:
    one, elsewhere = browser(console, "vera"), browser(console, "vera")
    assert refused(one.ask("POST", "session/password", {"old": PASSWORD, "new": "short"}), 422, "at least 12")
    new = {"old": "not the old one", "new": "the new one, and long"}
    assert refused(one.ask("POST", "session/password", new), 422, "the old password is wrong")
    assert one.ask("GET", "session").status == 200
    answer = one.ask("POST", "session/password", {**new, "old": PASSWORD})
    one.csrf = answer.json["csrf"]
    assert one.ask("GET", "session").status == 200
    assert elsewhere.ask("GET", "session").status == 401
    assert Browser(console.web).log_in("vera", new["new"]).status == 200


def test_the_last_engineer_stays(console: Console) -> None:
    one = browser(console, "edda")
    assert refused(one.ask("DELETE", "users/edda"), 409, "the last engineer")
    assert refused(one.ask("PATCH", "users/edda", {"role": "viewer"}), 409, "the last engineer")
    assert one.ask("PATCH", "users/otto", {"role": "engineer"}).status == 200
    assert one.ask("DELETE", "users/edda").status == 204


def test_a_guesser_is_slowed_down_and_locks_out_nobody(start: Callable[..., Console], database: str) -> None:
    console = start(console_proxies="127.0.0.1")
    known = browser(console, "edda")
    guesser = Browser(console.web, headers={"X-Forwarded-For": "203.0.113.7"})
    tries = [guesser.log_in("edda", "a guess of many").status for _ in range(30)]  # slow ones are let in
    assert tries[:10] == [401] * 10
    assert set(tries[10:]) >= {429}
    until(lambda: guesser.log_in("otto", "a guess of many").status == 429, "it waits")
    elsewhere = Browser(console.web, headers={"X-Forwarded-For": "203.0.113.8"})
    assert elsewhere.log_in("edda").status == 200
    known.headers["X-Forwarded-For"] = "203.0.113.7"  # of the same address, and known from before
    assert known.log_in("edda").status == 200
    rows = query(database, "SELECT event, address FROM console_audit WHERE NOT ok ORDER BY id")
    assert rows[0] == ("login refused", "203.0.113.7")
    assert console.metric("nexus_console_refusals_total") > len(rows)  # an attack does not fill the table


def test_only_our_proxies_say_whose_request_it_is(start: Callable[..., Console], database: str) -> None:
    direct, behind = start(), start(console_proxies="127.0.0.0/8, ::1")
    said = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9", "X-Forwarded-Proto": "https"}
    answer = Browser(direct.web, headers=said).log_in("vera")
    assert "secure" not in answer.headers["set-cookie"].lower()
    assert "secure" in Browser(behind.web, headers=said).log_in("otto").headers["set-cookie"].lower()
    assert [row[:2] for row in audit(database, "login")] == [("vera", "127.0.0.1"), ("otto", "203.0.113.9")]


def test_a_proxys_own_name_for_us_needs_the_origin_that_the_browser_sees(start: Callable[..., Console]) -> None:
    console = start(console_url="https://plant.example/")
    assert Browser(console.web).log_in("vera", Origin="https://plant.example").status == 200
    assert Browser(console.web).log_in("vera", Origin="https://plant.example:444").status == 403


def test_a_read_only_console_shows_and_changes_nothing(start: Callable[..., Console], database: str) -> None:
    one = browser(start(console_read_only="1"), "edda")
    assert one.ask("GET", "users").status == 200
    assert one.ask("GET", "session").json["read_only"] is True
    assert refused(one.ask("DELETE", "users/otto"), 403, "NEXUS_CONSOLE_READ_ONLY")
    assert refused(one.ask("POST", "keys", {"name": "a", "role": "viewer"}), 403, "NEXUS_CONSOLE_READ_ONLY")
    assert audit(database, "read-only")[0][:3] == ("edda", "127.0.0.1", False)


LOGINS = ("console_users", "console_keys", "console_sessions", "console_secrets", "console_audit")


def test_no_role_changes_the_audit_and_only_the_consoles_sees_logins(database: str) -> None:
    changes = ("UPDATE console_audit SET person = 'me'", "DELETE FROM console_audit", "TRUNCATE console_audit")
    looks = [f"SELECT 1 FROM {table}" for table in LOGINS]
    forbidden = [("nexus_console", one) for one in changes]
    forbidden += [(role, one) for role in ("nexus_reader", "nexus_writer") for one in (*changes, *looks)]
    for role, statement in forbidden:
        denied = pytest.raises(psycopg.errors.InsufficientPrivilege)
        with psycopg.connect(as_role(database, role)) as connection, denied:
            connection.execute(statement.encode())


def test_the_audit_is_read_in_pages_the_newest_first_with_what_gateways_recorded(
    console: Console, database: str
) -> None:
    with psycopg.connect(database) as owner:
        owner.execute(
            "INSERT INTO audit VALUES (now() - interval '1 hour', repeat('0', 32), 'audit/a/b', 'write', 'hmi', true, %s)",
            ('{"value": 5, "was": 4, "now": 5}',),
        )
    one = browser(console, "otto")
    for _ in range(5):
        browser(console, "vera")
    events, after = [], ""
    while True:
        page = one.ask("GET", f"audit?limit=2{after}").json
        events += [(row["event"], row["person"]) for row in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={quote(page['next'])}"
    assert events == [("login", "vera")] * 5 + [("login", "otto")] + [("user added", "root")] * 3 + [("write", "hmi")]
    [write] = one.ask("GET", "audit?topic=dev/a/b&person=hmi").json["items"]
    assert (write["old"], write["new"], write["source"], write["topic"]) == (4, 5, "gateway", "dev/a/b")
    assert one.ask("GET", "audit?from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z").json["items"] == []
    assert refused(one.ask("GET", "audit?after=nonsense"), 422, "`next` of the page before")
    assert browser(console, "vera").ask("GET", "audit").status == 403


def test_who_was_known_stays_known_while_the_database_is_away_and_changes_nothing(
    postgres: Postgres, tmp_path: Path
) -> None:
    add_user(postgres.url, "edda", Role.engineer)
    with ended_with_block(console := Console(tmp_path, postgres.url).until_serving()):
        one = browser(console, "edda")
        assert one.ask("GET", "session").status == 200
        postgres.stop("immediate")
        assert one.ask("GET", "session").status == 200
        assert refused(one.ask("POST", "keys", {"name": "a", "role": "viewer"}), 503, "try again")
        assert refused(Browser(console.web).log_in("edda"), 503, "try again")
        postgres.start()
        until(lambda: one.ask("POST", "keys", {"name": "a", "role": "viewer"}).status == 201, "it goes on")


def live(console: Console, **headers: str) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{console.web}/api/v1/live", additional_headers=headers, compression=None)


def test_a_live_stream_needs_a_login_and_ends_with_it(console: Console) -> None:
    for headers in ({}, {"Cookie": "nexus_session=x"}, {"Authorization": "Bearer x"}):
        with pytest.raises(InvalidStatus) as refused:
            live(console, **headers)
        assert refused.value.response.status_code == 401
    one, engineer = browser(console, "vera"), browser(console, "edda")
    cookie = f"nexus_session={one.cookies['nexus_session']}"
    with pytest.raises(InvalidStatus) as refused:
        live(console, Cookie=cookie, Origin="http://evil.example")
    assert refused.value.response.status_code == 403
    with live(console, Cookie=cookie, Origin=f"http://127.0.0.1:{console.web}") as stream:
        assert engineer.ask("DELETE", "users/vera").status == 204
        with pytest.raises(ConnectionClosed) as closed:
            while True:  # it is told that there is no broker here
                stream.recv(timeout=120)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401


def test_what_no_table_can_hold_is_refused(console: Console) -> None:
    one = browser(console, "edda")
    assert one.ask("DELETE", "keys/%00").status == 422
    assert one.ask("DELETE", "users/%00").status == 422
    assert one.ask("POST", "keys", {"name": "a\0", "role": "viewer"}).status == 422
    assert (
        one.ask("POST", "keys", {"name": "a", "role": "viewer", "expires": "9999-12-31T23:59:59-12:00"}).status == 422
    )
    assert one.ask("POST", "users", {"name": "a\0", "role": "viewer", "password": PASSWORD}).status == 422
    assert one.ask("GET", "audit?person=%00").status == 422
    assert one.ask("GET", "audit?from=0001-01-01T00:00:00%2B14:00").status == 200
    stranger = Browser(console.web)
    assert stranger.log_in("edda\0").status == 401
    assert stranger.log_in("\ud800").status == 422
    assert stranger.log_in("a", "\ud800").status == 422
