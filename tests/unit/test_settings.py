"""Who we are to the broker: from the URL, or from settings of their own."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from console.settings import Settings as ConsoleSettings
from db.settings import Settings as DatabaseSettings
from gateway.settings import Settings as GatewaySettings
from ingestion.rules.settings import Settings as RulesSettings
from ingestion.settings import Settings as IngestionSettings
from nexus.mqtt.settings import Settings, broker
from nexus.process import names
from nexus.process.errors import ConfigError
from nexus.process.settings import Process, check_database_url, load


def who(environment: str = "production", **settings: object) -> tuple[str | None, str | None]:
    made = broker(Settings(**settings), environment)  # type: ignore[arg-type]
    return made.user, made.password


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "gateway-3").write_text('a,b"c:d@e\n')
    return tmp_path / "gateway-3"


def test_user_and_password_come_from_the_url_or_from_settings_of_their_own(file: Path) -> None:
    assert who(mqtt_url="mqtt://h") == (None, None)
    assert who(mqtt_url="mqtt://u%40v:p%3Aq@h") == ("u@v", "p:q")
    assert who(mqtt_url="mqtt://h", mqtt_user="gateway-3", mqtt_password_file=file) == ("gateway-3", 'a,b"c:d@e')
    assert who(mqtt_url="mqtt://gateway-3@h", mqtt_password_file=file) == ("gateway-3", 'a,b"c:d@e')


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mqtt_url": "mqtt://u@h", "mqtt_user": "v"}, "NEXUS_MQTT_USER: NEXUS_MQTT_URL already names a user"),
        ({"mqtt_url": "mqtt://u:p@h", "mqtt_password_file": "{file}"}, "NEXUS_MQTT_URL already has a password"),
        ({"mqtt_password_file": "{file}"}, "NEXUS_MQTT_PASSWORD_FILE: a password without a user"),
        ({"mqtt_user": "u", "mqtt_password_file": "{file}/no"}, "NEXUS_MQTT_PASSWORD_FILE: cannot read"),
        ({"mqtt_user": "u", "mqtt_password_file": "/dev/null"}, "NEXUS_MQTT_PASSWORD_FILE: the password is empty"),
        ({"mqtt_url": "mqtt://u:@h"}, "NEXUS_MQTT_URL: the password is empty"),
        ({"mqtt_url": "mqtt://u:Change-Me@h"}, "NEXUS_MQTT_URL: the password is still 'change-me'"),
    ],
)
def test_credentials_that_cannot_be_right_are_refused(file: Path, settings: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        who(**{name: value.format(file=file) for name, value in settings.items()})


def test_a_sample_is_for_development_only() -> None:
    assert who("development", mqtt_url="mqtt://u:change-me@h") == ("u", "change-me")


@pytest.mark.parametrize(
    "url",
    [
        "mqtt://user:hush]hush@host",
        "mqtt://[user:hushhush@h",
        "mqtt://user:hush#hush@host",
        "mqtt://user:hush/hush@host",
        "mqtt://user:hushhush@host:x",
        "http://user:hushhush@host",
        "user:hushhush@host",
        "mqtt://user:hush@hush/hush@host",
        "mqtt://user:hush@hush@host",
        "mqtt://user:hush@hush?hush@host",
    ],
)
def test_a_wrong_broker_url_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match="percent-encoded") as error:
        who(mqtt_url=url)
    assert "hush" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:hushhush@h/d",
        "postgresql://u:hush hush@h/d",
        "postgresql://u:hush%zzhush@h/d",
        "postgresql://u:hushhush@[::1/d",
        'postgresql://u:hushhush@h:5432x/d?"hush',
        "host=h password='hushhush",
        "password=hush hush",
        "postgresql://u:hush@hush@h/d",
        "postgresql://u:hush@hush/hush@h/d",
        "postgresql://u:hush/hush@h/d",
    ],
)
def test_a_wrong_database_url_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match="NEXUS_DATABASE_URL") as error:
        check_database_url(url, "production")
    assert "hush" not in str(error.value)


@pytest.mark.parametrize("value", ["yes", "no", "True", "off", "1", "never"])
def test_an_answer_is_no_group_of_ingesters(value: str) -> None:
    with pytest.raises(ValidationError, match="write auto, none, or the name"):
        GatewaySettings(receipts=value)


def test_settings_come_from_the_environment_in_upper_or_lower_case(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"NEXUS_HEALTH_PORT": "8082", "nexus_log_level": "debug", "NEXUS_HTTP_HOSTS": "Edge-1, edge-1.plant"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    process = load(Process)
    assert (process.health_port, process.log_level, process.http_hosts) == (8082, "debug", ("edge-1", "edge-1.plant"))
    assert process.model_fields_set == {"health_port", "log_level", "http_hosts"}


def test_each_wrong_setting_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXUS_HEALTH_PORT", "hushhush")
    monkeypatch.setenv("nexus_log_format", "hushhush")
    with pytest.raises(ConfigError) as error:
        load(Process)
    assert str(error.value).splitlines() == [
        "NEXUS_HEALTH_PORT: must be a whole number",
        "NEXUS_LOG_FORMAT: must be 'json' or 'console'",
    ]


def test_names_that_are_no_settings_are_said_with_the_nearest() -> None:
    environment = {"NEXUS_SPOOLBYTES": "5", "NEXUS_SPOOL_BYTES": "5", "nexus_mqtt_url": "", "PATH": "", "NEXUS_": ""}
    found = names.unknown({**environment, "NEXUS_XYZ": "1", "NEXUS_DB_PORT_5432_TCP": "", "NEXUS_DB_SERVICE_HOST": ""})
    assert found == {"NEXUS_": "", "NEXUS_SPOOLBYTES": "NEXUS_SPOOL_BYTES", "NEXUS_XYZ": ""}


def test_all_settings_are_known_by_name() -> None:
    own = (GatewaySettings, IngestionSettings, RulesSettings, ConsoleSettings, DatabaseSettings)
    kinds: list[type[BaseSettings]] = [Process, Settings, *own]
    read = {f"NEXUS_{name.upper()}" for kind in kinds for name in kind.model_fields}
    assert read | {"NEXUS_DEVICES", "NEXUS_DEVICE_SECRETS", "NEXUS_PKI_DIR", "NEXUS_STATE_DIR"} == names.KNOWN


def test_a_database_url_of_no_utf8_is_refused_in_a_line() -> None:
    with pytest.raises(ConfigError, match="NEXUS_DATABASE_URL: not UTF-8"):
        check_database_url("postgresql://127.0.0.1/\udcff", "production")


def test_an_age_beyond_what_a_date_can_hold_is_refused() -> None:
    for name in ("retention_rejects", "retention_audit", "retention", "compress_after"):
        with pytest.raises(ValidationError):
            DatabaseSettings.model_validate({name: "999999999d"})
