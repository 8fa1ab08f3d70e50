"""Device files through the broker: a gateway process, production's rules, and the console's user."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.asker import Asker
from tests.parts import Mosquitto, Nexus, free_port, until

Start = Callable[..., Nexus]
Ask = Callable[..., dict[str, Any]]
TOPIC = "file/g/gateway"


def plc(name: str, interval: str = "1s", kind: str = "uint16") -> str:
    tags = f'[{{name: count, address: "holding:40001:{kind}"}}]'
    where = f"protocol: modbus-tcp, host: 127.0.0.1, port: {PORT}"
    return f"# by hand\ndevices:\n  - {{name: {name}, {where}, interval: {interval}, tags: {tags}}}\n"


PORT = free_port()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices/a.yaml").write_text(plc("a"))
    return tmp_path / "devices"


@pytest.fixture
def broker(mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    return mosquitto()


@pytest.fixture
def ask(broker: Mosquitto) -> Iterator[Ask]:
    with Asker(broker.mqtt("console"), "answer/#") as asker:

        def asked(op: str, **keys: Any) -> dict[str, Any]:
            return asker.ask(TOPIC, {"op": op, **keys}, by="anna")

        yield asked


def gateway(nexus: Start, folder: Path, broker: Mosquitto, **keys: str) -> Nexus:
    started = nexus("gateway", "--devices", str(folder), mqtt_url=broker.url, group="g", **keys)
    until(lambda: started.metric("nexus_gateway_broker_connected") == 1, "it is connected", 30)
    return started


def test_files_are_read_checked_compared_applied_and_put_back(
    nexus: Start, folder: Path, broker: Mosquitto, ask: Ask
) -> None:
    own = gateway(nexus, folder, broker)
    until(lambda: own.metric("nexus_gateway_devices_polled") == 1, "it polls", 30)
    listed = ask("list")
    assert (listed["ok"], listed["files"], listed["writable"]) == (True, ["a.yaml"], True)
    assert ask("read", file="a.yaml")["text"] == plc("a")
    assert "there are a.yaml" in ask("read", file="../a.yaml")["error"]

    broken = ask("check", files={"a.yaml": plc("a", kind="uint17")})
    assert not broken["ok"]
    assert [(one["file"], one["line"], one["level"]) for one in broken["problems"]] == [("a.yaml", 3, "error")]
    assert "uint17" in broken["problems"][0]["message"]
    refused = ask("apply", files={"a.yaml": plc("a", kind="uint17")}, digest=listed["digest"])
    assert (refused["ok"], len(refused["problems"])) == (False, 1)
    assert (folder / "a.yaml").read_text() == plc("a")

    changes = {"a.yaml": plc("a", "500ms"), "b.yaml": plc("b")}
    diff = ask("diff", files=changes)
    assert diff["ok"]
    assert "interval: 500ms" in diff["diff"]
    assert "+++ b/b.yaml" in diff["diff"]
    assert "read them again" in ask("apply", files=changes, digest="0")["error"]
    assert ask("apply", files=changes, digest=listed["digest"])["ok"]
    assert {file.name: file.read_text() for file in folder.iterdir()} == changes
    until(lambda: own.metric("nexus_gateway_devices_polled") == 2, "the gateway takes them", 30)

    [version] = ask("history")["versions"]
    assert (version["by"], version["files"]) == ("anna", ["a.yaml"])
    assert ask("rollback", id=version["id"])["ok"]
    assert {file.name: file.read_text() for file in folder.iterdir()} == {"a.yaml": plc("a")}
    until(lambda: own.metric("nexus_gateway_devices_polled") == 1, "and back", 30)
    assert len(ask("history")["versions"]) == 2
    assert "no version" in ask("rollback", id="17")["error"]
    assert "no device file would be left" in str(ask("check", files={"a.yaml": None})["problems"])
    assert own.stop() == 0


def test_secrets_stay_with_the_gateway(
    nexus: Start, folder: Path, broker: Mosquitto, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEVICE_PASSWORD", "very-secret")
    keys = "protocol: opcua, endpoint: opc.tcp://127.0.0.1:1, username: u, insecure_password: true"
    password = 'password: "${DEVICE_PASSWORD}"'
    press = f"devices:\n  - {{name: p, {keys}, {password}, tags: [{{name: t, address: 'i=1'}}]}}\n"
    (folder / "p.yaml").write_text(press)
    (folder / "q.yaml").write_text(press.replace("name: p,", "name: q,").replace('"${DEVICE_PASSWORD}"', "hunter2"))
    own = gateway(nexus, folder, broker)
    assert ask("read", file="p.yaml")["text"] == press
    shown = ask("read", file="q.yaml")
    assert "password: ********" in shown["text"]
    wrong = ask("diff", files={"p.yaml": press.replace("opcua", "opcuaa"), "q.yaml": shown["text"] + "# more\n"})
    assert wrong["problems"]
    refused = ask("apply", files={"q.yaml": shown["text"]}, digest=shown["digest"])
    assert "put it into a variable first" in refused["error"]
    assert "hunter2" in (folder / "q.yaml").read_text()
    for told in (shown, wrong, refused):
        assert "very-secret" not in str(told)
        assert "hunter2" not in str(told)
    assert own.stop() == 0


def test_files_of_a_group_and_of_a_config_map_can_only_be_read(
    nexus: Start, folder: Path, broker: Mosquitto, ask: Ask, tmp_path: Path
) -> None:
    first = gateway(nexus, folder, broker, lease="2s")
    second = gateway(nexus, folder, broker, lease="2s", member="other", spool_dir=str(tmp_path / "other"))
    until(lambda: not ask("list")["writable"], "the other gateway is known")
    told = ask("apply", files={"a.yaml": plc("a", "2s")}, digest=ask("list")["digest"])
    assert "several gateways share these devices" in told["error"]
    assert ask("check", files={"a.yaml": plc("a", "2s")})["ok"]
    assert second.stop() == 0
    until(lambda: ask("list")["writable"], "it is gone")
    (folder / "..data").symlink_to(tmp_path)
    told = ask("apply", files={"a.yaml": plc("a", "2s")}, digest=ask("list")["digest"])
    assert "ConfigMap" in told["error"]
    assert "interval: 1s" in (folder / "a.yaml").read_text()
    assert first.stop() == 0


def test_requests_that_are_none_change_nothing_and_end_nothing(nexus: Start, folder: Path, broker: Mosquitto) -> None:
    own = gateway(nexus, folder, broker)
    with ExitStack() as stack:
        asker = stack.enter_context(Asker(broker.mqtt("console"), "answer/#"))
        for payload in (
            "",
            "null",
            "[]",
            '{"op":"apply"}',
            '{"op":"read"}',
            '{"op":"rollback","id":"../x"}',
            "9" * 5000,
        ):
            assert asker.ask(TOPIC, payload)["ok"] is False
        asker.tell(TOPIC, {"op": "apply", "files": {}}, answer_to="status/a", correlation=b"x")
        asker.tell(TOPIC, {"op": "apply", "files": {}})
        stranger = stack.enter_context(Asker(broker.mqtt("operator"), "answer/#", "status/#"))
        stranger.tell(TOPIC, {"op": "read", "file": "a.yaml"}, answer_to="answer/mine", correlation=b"y")
        assert asker.ask(TOPIC, {"op": "list"})["ok"]
        assert not stranger.answers(b"y")
        assert not [one for one in stranger.heard if one.correlation == b"x"]
    assert own.metric("nexus_handler_faults_total") == 0
    assert own.stop() == 0
