"""Passwords, signed tokens, and the role that an OpenID provider's claims give."""

import hashlib
from typing import Any

import pytest

from console.access import passwords
from console.access.oidc import role_of
from console.access.person import Role
from console.access.tokens import Signer
from console.settings import Settings
from nexus.process.errors import ConfigError
from nexus.process.settings import load

GOOD = "four words make one"


def test_a_password_matches_what_is_kept_of_it_and_nothing_else() -> None:
    kept = passwords.hashed(GOOD)
    assert GOOD not in kept
    assert kept != passwords.hashed(GOOD)
    assert passwords.matches(GOOD, kept)
    assert not passwords.matches(GOOD + " ", kept)
    assert passwords.matches(
        "\u0041\u030a and three more", passwords.hashed("\u00c5 and three more")
    )  # as typed elsewhere


def test_a_name_that_nobody_has_costs_what_one_costs_that_somebody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    real, costs = hashlib.scrypt, []

    def scrypt(password: bytes, **given: Any) -> bytes:
        costs.append((given["n"], given["r"], given["p"], given["dklen"]))
        return real(password, **given)

    kept = passwords.hashed(GOOD)
    monkeypatch.setattr(hashlib, "scrypt", scrypt)
    assert passwords.matches(GOOD, kept)
    assert not passwords.matches(GOOD, None)
    assert costs == [(2**15, 8, 1, 32)] * 2


@pytest.mark.parametrize(("password", "said"), [("short", "at least 12"), ("a" * 20, "few"), ("ab" * 501, "at most")])
def test_a_password_that_is_no_good_is_refused(password: str, said: str) -> None:
    assert said in str(passwords.fault(password))
    assert passwords.fault(GOOD) is None


def test_a_token_is_good_for_its_purpose_until_it_expires() -> None:
    signer = Signer(b"k" * 32)
    token = signer.signed("session", {"id": "x"}, 100.0)
    found = signer.read("session", token, 99.0)
    assert found is not None
    assert found["id"] == "x"
    assert signer.read("session", token, 100.0) is None
    assert signer.read("device", token, 99.0) is None
    assert Signer(b"l" * 32).read("session", token, 99.0) is None
    for nonsense in ("", ".", "..", "a.b.c", "a" * 10_000, token + "x", "\u00e4.b.c"):
        assert signer.read("session", nonsense, 99.0) is None, nonsense


ROLES = [(Role.engineer, "plant-engineers"), (Role.operator, "shift"), (Role.operator, "shift-b")]


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"groups": ["staff", "shift"]}, Role.operator),
        ({"groups": ["shift-b", "plant-engineers"]}, Role.engineer),
        ({"groups": "shift"}, Role.operator),
        ({"groups": ["staff"]}, None),
        ({"groups": None}, None),
        ({}, None),
    ],
)
def test_the_highest_role_that_a_claim_gives_counts(claims: dict[str, Any], role: Role | None) -> None:
    assert role_of(claims, "groups", ROLES) == role


def test_a_claim_may_be_within_another_and_everybody_may_have_a_role() -> None:
    assert role_of({"realm_access": {"roles": ["shift"]}}, "realm_access.roles", ROLES) == Role.operator
    assert role_of({"https://a.b/roles": ["shift"]}, "https://a.b/roles", ROLES) == Role.operator
    assert role_of({"realm_access": ["roles"]}, "realm_access.roles", ROLES) is None
    assert role_of({}, "groups", [*ROLES, (Role.viewer, "*")]) == Role.viewer


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"CONSOLE_OIDC_ROLES": "admin=x"}, "NEXUS_CONSOLE_OIDC_ROLES: write role=value"),
        ({"CONSOLE_OIDC_ROLES": "anybody=x"}, "NEXUS_CONSOLE_OIDC_ROLES: write role=value"),
        ({"CONSOLE_URL": "plant.example/console"}, "NEXUS_CONSOLE_URL: write what browsers show"),
        ({"CONSOLE_PROXIES": "10.0.0.0/8, proxy"}, "NEXUS_CONSOLE_PROXIES"),
        ({"CONSOLE_SESSION": "soon"}, "NEXUS_CONSOLE_SESSION: 'soon' is not a duration"),
        ({"CONSOLE_OIDC_ISSUER": "https://login.example"}, "also needs NEXUS_CONSOLE_URL"),
        (
            {
                **{"CONSOLE_OIDC_ISSUER": "http://login.example", "CONSOLE_URL": "https://a"},
                **{"CONSOLE_OIDC_CLIENT_ID": "x", "CONSOLE_OIDC_ROLES": "viewer=*"},
            },
            "NEXUS_CONSOLE_OIDC_ISSUER must begin with https://",
        ),
    ],
)
def test_settings_that_cannot_be_right_are_refused(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], said: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"NEXUS_{name}", value)
    with pytest.raises(ConfigError, match=said):
        load(Settings).oidc()
