"""Files that device files name: which may be read."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.config import devices as config
from gateway.config import secret_files
from gateway.drivers.opcua.settings import Settings
from nexus.process.errors import ConfigError

DEVICE = (
    'devices: [{name: a, protocol: opcua, endpoint: "opc.tcp://plc", username: u, '
    'security: {policy: Basic256Sha256%s}, tags: [{name: x, address: "i=1"}]%s}]'
)


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    for name in ("devices", "device-secrets", "elsewhere"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("one line\n")
    (tmp_path / "devices/out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "device-secrets/out").symlink_to(tmp_path / "elsewhere/file")
    (tmp_path / "device-secrets/in").symlink_to("file")  # as Kubernetes has them
    (tmp_path / "device-secrets/round").symlink_to("round")
    return tmp_path


def said(plant: Path, file: str, **environment: str) -> str:
    (plant / "devices/a.yaml").write_text(DEVICE % ("", f', password_file: "{file}"'))
    try:
        config.load(plant / "devices", environment)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("file", ["devices/file", "device-secrets/file", "device-secrets/in"])
def test_files_beside_the_device_files_and_in_the_folder_of_secrets_are_taken(plant: Path, file: str) -> None:
    assert said(plant, f"{plant}/{file}") == ""


@pytest.mark.parametrize(
    "file",
    [
        "{}/elsewhere/file",
        "{}/elsewhere/missing",
        "{}/devices/../elsewhere/file",
        "{}/elsewhere/../devices/file",
        "{}/devices/out/file",
        "{}/device-secrets/out",
        "{}/device-secrets/round",
        "{}/devices-2/file",
        "/proc/self/environ",
        "/proc/self/root{}/devices/file",
        "/dev/zero",
        "file",
    ],
)
def test_any_other_path_is_refused_whether_or_not_something_is_there(plant: Path, file: str) -> None:
    written = file.format(plant)
    assert said(plant, written) == (
        f"{plant}/devices/a.yaml:1: device a: password_file: {written} is not below {plant}/device-secrets or "
        f"{plant}/devices, the only places for files that device files name: move it there, or set NEXUS_DEVICE_SECRETS"
    )


def test_a_setting_names_another_folder_of_secrets(plant: Path) -> None:
    folder = {"NEXUS_DEVICE_SECRETS": f"{plant}/elsewhere"}
    assert said(plant, f"{plant}/elsewhere/file", **folder) == ""
    assert f"is not below {plant}/elsewhere or" in said(plant, f"{plant}/device-secrets/file", **folder)


def test_beside_a_single_device_file_nothing_is_taken_but_from_the_folder_of_secrets(plant: Path) -> None:
    file = plant / "plant.yaml"
    file.write_text(DEVICE % ("", f', password_file: "{plant}/device-secrets/file"'))
    assert len(config.load(file, {})) == 1
    file.write_text(DEVICE % ("", f', password_file: "{plant}/elsewhere/file"'))
    with pytest.raises(ConfigError, match=f"is not below {plant}/device-secrets, the only"):
        config.load(file, {})


def test_a_key_without_its_certificate_is_refused(plant: Path) -> None:
    (plant / "devices/a.yaml").write_text(DEVICE % (f', key: "{plant}/device-secrets/file"', ""))
    with pytest.raises(ConfigError, match="certificate and key belong together"):
        config.load(plant / "devices", {})


@pytest.mark.parametrize("key", ["certificate", "key", "trust"])
def test_the_rule_holds_for_certificates_too(plant: Path, key: str) -> None:
    keys = {"certificate": "device-secrets/file", "key": "device-secrets/file", "trust": "device-secrets"}
    keys[key] = "elsewhere"
    (plant / "devices/a.yaml").write_text(DEVICE % ("".join(f', {k}: "{plant}/{v}"' for k, v in keys.items()), ""))
    with pytest.raises(ConfigError, match=rf"security\.{key}: {plant}/elsewhere is not below") as caught:
        config.load(plant / "devices", {})
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("content", [b"a\nb", b"a\0b", b"\xff\xfe", b"a" * 1_001, b"-----BEGIN\nx\n"])
def test_a_password_file_is_one_short_line(plant: Path, content: bytes) -> None:
    file = plant / "device-secrets/file"
    file.write_bytes(content)
    assert "must hold one line of text, of at most 1,000 bytes" in said(plant, str(file))


def test_a_password_is_the_line_without_its_end(plant: Path) -> None:
    (plant / "device-secrets/file").write_bytes("päss wort\r\n".encode())
    assert secret_files.password(plant / "device-secrets/file") == "päss wort"


def test_on_a_command_line_a_file_may_lie_anywhere(plant: Path) -> None:
    keys = {"endpoint": "opc.tcp://plc", "username": "u", "insecure_password": True}
    assert Settings.model_validate({**keys, "password_file": plant / "elsewhere/file"}).password_file
    with pytest.raises(ValidationError, match="there is no file"):
        Settings.model_validate({**keys, "password_file": plant / "missing"})
