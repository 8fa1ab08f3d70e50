"""Device files in the console: asked of the gateway through the broker, changed by engineers only, and in the audit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from console.access.person import Role
from tests.conftest import Production
from tests.consoles import Browser, Console, add_user
from tests.parts import Nexus, until

Start = Callable[..., Nexus]
WHO = {"group": "g", "member": "gateway"}
FILE = """devices:
  - {name: a, protocol: modbus-tcp, host: 127.0.0.1, port: 1, interval: %s, tags: [{name: t, address: "coil:1"}]}
"""
STEALING = """devices:
  - name: b
    protocol: opcua
    endpoint: opc.tcp://127.0.0.1:1
    security: {policy: Basic256Sha256, trust: any}
    username: u
    password_file: %s
    tags: [{name: t, address: "i=1"}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices/a.yaml").write_text(FILE % "1s")
    return tmp_path / "devices"


@pytest.fixture
def browser(tmp_path: Path, production: Production) -> Any:
    for role in (Role.viewer, Role.operator, Role.engineer):
        add_user(production.owner, role.name, role)
    console = Console(tmp_path, production.owner, mqtt_url=production.mqtt("console")).until_serving()
    found = Browser(console.web)
    assert found.log_in("engineer").status == 200
    yield found
    console.stop()


def events(browser: Browser) -> list[tuple[str, Any, str]]:
    rows = browser.ask("GET", "audit").json["items"]
    return [(row["event"], row["ok"], row["person"]) for row in rows if row["event"].endswith("-files")]


def test_an_engineer_finds_breaks_repairs_applies_and_takes_back(
    nexus: Start, folder: Path, production: Production, browser: Browser
) -> None:
    nexus("gateway", "--devices", str(folder), mqtt_url=production.broker.url, group="g")

    def listed() -> Any:
        return browser.ask("GET", "files").json["gateways"]

    until(lambda: [one for one in listed() if one["writable"]], "the gateway answers", 40)
    [found] = listed()
    assert (found["group"], found["member"], found["files"], found["reason"]) == ("g", "gateway", ["a.yaml"], None)
    content = browser.ask("GET", "files/content?group=g&member=gateway&file=a.yaml").json
    assert content["text"] == FILE % "1s"
    assert browser.ask("GET", "files/content?group=g&member=gateway&file=../x.yaml").status == 404

    wrong = {**WHO, "files": {"a.yaml": FILE % "never"}}
    checked = browser.ask("POST", "files/check", wrong).json
    assert not checked["ok"]
    assert events(browser) == [("check-files", False, "engineer")]
    assert [(one["file"], one["line"]) for one in checked["problems"]] == [("a.yaml", 2)]
    refused = browser.ask("POST", "files/apply", {**wrong, "digest": content["digest"]})
    assert (refused.status, refused.json["ok"], len(refused.json["problems"])) == (200, False, 1)

    right = {**WHO, "files": {"a.yaml": FILE % "2s"}}
    assert "interval: 2s" in browser.ask("POST", "files/diff", right).json["diff"]
    stale = browser.ask("POST", "files/apply", {**right, "digest": "0"})
    assert (stale.status, "read them again" in stale.json["detail"]) == (409, True)
    assert browser.ask("POST", "files/apply", {**right, "digest": content["digest"]}).json["ok"]
    assert (folder / "a.yaml").read_text() == FILE % "2s"

    [version] = browser.ask("GET", "files/history?group=g&member=gateway").json["items"]
    assert (version["person"], version["files"]) == ("engineer", ["a.yaml"])
    assert version["time"].endswith("Z")
    assert browser.ask("POST", "files/rollback", {**WHO, "id": version["id"]}).json["ok"]
    assert (folder / "a.yaml").read_text() == FILE % "1s"
    rows = browser.ask("GET", "audit").json["items"]
    restored, applied = [
        row["detail"] for row in rows if row["ok"] and row["event"] in ("apply-files", "rollback-files")
    ]
    old, new = (FILE % "1s").splitlines()[1], (FILE % "2s").splitlines()[1]
    assert f"\n-{old}\n+{new}\n" in applied["diff"]
    assert f"\n-{new}\n+{old}\n" in restored["diff"]
    outcomes = [(event, ok) for event, ok, person in events(browser) if person == "engineer"]
    assert outcomes[::-1] == [
        ("check-files", False),
        *(("apply-files", None), ("apply-files", False)),
        ("check-files", True),
        *(("apply-files", None), ("apply-files", False)),
        *(("apply-files", None), ("apply-files", True)),
        *(("rollback-files", None), ("rollback-files", True)),
    ]


def test_no_device_file_reads_what_else_is_on_the_gateways_machine(
    nexus: Start, folder: Path, production: Production, browser: Browser
) -> None:
    nexus("gateway", "--devices", str(folder), mqtt_url=production.broker.url, group="g")
    until(lambda: [one for one in browser.ask("GET", "files").json["gateways"] if one["writable"]], "it answers", 40)
    digest = browser.ask("GET", "files/content?group=g&member=gateway&file=a.yaml").json["digest"]
    secret = folder.parent / "secret"
    secret.write_text("of the machine")
    (folder.parent / "device-secrets").mkdir()
    (folder.parent / "device-secrets/password").write_text("of a device")

    def checked(operation: str, file: str | Path) -> Any:
        wanted = {**WHO, "files": {"b.yaml": STEALING % file}, "digest": digest}
        wanted = wanted if operation == "apply" else {**WHO, "files": wanted["files"]}
        answer = browser.ask("POST", f"files/{operation}", wanted).json
        return answer["ok"], [one["message"].replace(str(file), "FILE") for one in answer["problems"]]

    for operation in ("check", "diff", "apply"):
        there, missing = checked(operation, secret), checked(operation, folder.parent / "missing")
        assert there == missing == checked(operation, "/proc/self/environ")
        assert (there[0], "FILE is not below" in there[1][0]) == (False, True)
    assert checked("apply", folder.parent / "device-secrets/password") == (True, [])


def test_a_gateway_that_is_not_there_and_files_that_are_too_large_are_named(browser: Browser) -> None:
    assert browser.ask("GET", "files").json == {"gateways": []}
    gone = browser.ask("POST", "files/check", {**WHO, "files": {}})
    assert (gone.status, "no gateway gateway of group g is online" in gone.json["detail"]) == (404, True)
    for name in ("a.yaml", "../../etc/passwd", "#", "+"):
        answer = browser.ask("POST", "files/check", {"group": name, "member": name, "files": {name: "x"}})
        assert answer.status == 404
    assert browser.ask("POST", "files/check", {**WHO, "files": [1]}).status == 422


@pytest.mark.parametrize("role", [Role.viewer, Role.operator])
def test_only_engineers_see_and_change_files(browser: Browser, role: Role) -> None:
    other = Browser(browser.port)
    assert other.log_in(role.name).status == 200
    for method, path, body in (
        ("GET", "files", None),
        ("GET", "files/content?group=g&member=gateway&file=a.yaml", None),
        ("GET", "files/history?group=g&member=gateway", None),
        ("POST", "files/check", {**WHO, "files": {}}),
        ("POST", "files/diff", {**WHO, "files": {}}),
        ("POST", "files/apply", {**WHO, "files": {}, "digest": ""}),
        ("POST", "files/rollback", {**WHO, "id": "1"}),
    ):
        assert other.ask(method, path, body).status == 403, path
