"""A deployment's secrets: samples, empty, short and unsafe ones are refused, all at once, and never shown."""

import json
from pathlib import Path

import pytest

from nexus.cli.credentials import check, faults
from nexus.process.errors import ConfigError

GOOD = "0f3a-9b.c_d~4711"


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("", "is empty"),
        ("change-me", "this is a sample"),
        ("Change_Me", "this is a sample"),
        ("changeme1", "this is a sample"),
        ("PASSWORD123", "this is a sample"),
        ("short-one", "shorter than 12"),
        ("with,a-comma-in-it", "only letters, digits"),
        ('with"a-quote-in-it', "only letters, digits"),
        ("with-a-line-end-in-it\n", "only letters, digits"),
        ("with@a-sign-in-it", "only letters, digits"),
    ],
)
def test_a_bad_secret_is_refused_by_name(secret: str, said: str) -> None:
    for name in ("MQTT_USER_gateway-0", "SECRET_database"):
        [fault] = faults({name: secret, "SECRET_other": GOOD, "NOT_OURS": ""}, development=False)
        assert fault.startswith(f"{name}: ")
        assert said in fault
        assert not secret or secret not in fault.removeprefix(name)


def test_in_development_samples_pass_and_broken_ones_do_not() -> None:
    assert faults({"SECRET_a": "change-me", "MQTT_USER_b": "x"}, development=True) == []
    assert len(faults({"SECRET_a": "", "MQTT_USER_b": "x,y", "MQTT_USER_a,b": "x"}, development=True)) == 3


def test_all_faults_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        check({"SECRET_a": "", "SECRET_b": "change-me"}, development=False, users=tmp_path / "users.json")
    assert len(str(error.value).splitlines()) == 2
    assert not (tmp_path / "users.json").exists()
    with pytest.raises(ConfigError, match="no secrets"):
        check({}, development=False, users=None)


def test_the_brokers_users_are_written_for_nobody_else_to_read(tmp_path: Path) -> None:
    file = tmp_path / "users.json"
    environment = {"MQTT_USER_gateway-0": GOOD, "MQTT_USER_viewer": GOOD, "SECRET_cookie": GOOD}
    assert check(environment, development=False, users=file) == 3
    users = json.loads(file.read_text())
    assert [(one["user_id"], one["password"], one["is_superuser"]) for one in users] == [
        ("gateway-0", GOOD, False),
        ("viewer", GOOD, False),
    ]
    assert file.stat().st_mode & 0o777 == 0o600
