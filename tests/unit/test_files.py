"""Device files by name, their versions, and what is shown of them."""

import os
from pathlib import Path

import pytest

from gateway.config import checker
from gateway.files import folder as folders
from gateway.files.errors import FilesError
from gateway.files.folder import Folder
from gateway.files.history import History
from gateway.files.masking import MASK, masked
from nexus.contract.codec import DecodeError
from nexus.contract.device_files import (
    LARGEST_BYTES,
    MOST_VERSIONS,
    Answer,
    Problem,
    Request,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)

PLC = 'devices: [{name: a, protocol: modbus-tcp, host: h, tags: [{name: t, address: "coil:1"}]}]\n'


@pytest.mark.parametrize(
    "name",
    [
        "../a.yaml",
        "/etc/a.yaml",
        "a/b.yaml",
        ".a.yaml",
        "a.txt",
        "",
        ".",
        "..",
        "a.yaml/..",
        "a\0.yaml",
        "\u202ea.yaml",
    ],
)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/x.yaml").write_text(PLC)
    before = sorted(tmp_path.rglob("*"))
    for change in (PLC, None):
        with pytest.raises(FilesError, match="is not a name for a device file"):
            Folder(tmp_path / "in").replace({name: change})
    with pytest.raises(FilesError, match="the one file"):
        Folder(tmp_path / "in/x.yaml").replace({"y.yaml": PLC})
    assert sorted(tmp_path.rglob("*")) == before


def test_files_are_replaced_with_their_mode_and_those_that_go_go(tmp_path: Path) -> None:
    own = Folder(tmp_path)
    (tmp_path / "a.yaml").write_text("old")
    (tmp_path / "a.yaml").chmod(0o640)
    (tmp_path / "b.yml").write_text("b")
    (tmp_path / "plan t.yaml").write_text("c")
    digest = own.digest
    own.replace({"a.yaml": "new", "b.yml": None, "n.yaml": "ü", "gone.yaml": None})
    assert own.read() == {"a.yaml": "new", "n.yaml": "ü", "plan t.yaml": "c"}
    assert (tmp_path / "a.yaml").stat().st_mode & 0o777 == 0o640
    assert digest != own.digest != ""
    assert {file.name for file in tmp_path.iterdir()} == {"a.yaml", "n.yaml", "plan t.yaml"}


def test_why_files_can_only_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Folder(tmp_path)
    (tmp_path / "a.yaml").write_text(PLC)
    assert own.read_only_because() is None
    monkeypatch.setattr(folders, "MOST_BYTES", 10)
    assert "use templates" in str(own.read_only_because())
    monkeypatch.setattr(folders, "MOST_BYTES", 1000)
    (tmp_path / "l.yaml").symlink_to(tmp_path / "a.yaml")
    assert "l.yaml is a link" in str(own.read_only_because())
    (tmp_path / "..data").symlink_to(tmp_path)
    assert "ConfigMap" in str(own.read_only_because())
    (tmp_path / "..data").unlink()
    (tmp_path / "l.yaml").unlink()
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert f"may not write in {tmp_path}" in str(own.read_only_because())
    assert "cannot be read" in str(Folder(tmp_path / "none/x.yaml").read_only_because())


def test_the_last_versions_are_kept_and_damaged_ones_left_out(tmp_path: Path) -> None:
    history = History(tmp_path / "history")
    assert history.versions() == ()
    for number in range(MOST_VERSIONS + 5):
        history.add({"a.yaml": f"text {number}"}, "anna", 1_700_000_000_000)  # the same moment again and again
    versions = history.versions()
    assert len(versions) == MOST_VERSIONS
    assert [history.files(one.id)["a.yaml"] for one in versions] == [f"text {n}" for n in range(24, 4, -1)]
    assert (versions[0].by, versions[0].files) == ("anna", ("a.yaml",))
    (tmp_path / "history" / f"{versions[3].id}.json").write_text("{")
    assert len(history.versions()) == MOST_VERSIONS - 1
    for wrong in (versions[3].id, "../../etc/passwd", "", "1"):
        with pytest.raises(FilesError, match="there is no version"):
            history.files(wrong)
    (tmp_path / "file").write_text("")
    with pytest.raises(FilesError, match="are not replaced"):
        History(tmp_path / "file").add({}, None, 1)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password: hunter2", f"password: {MASK}"),
        ("password: hunter2  # of the press", f"password: {MASK}  # of the press"),
        ("- {name: a, password: hunter2, host: h}", f"- {{name: a, password: {MASK}, host: h}}"),
        ("- {password: 'it''s, x', host: h}", f"- {{password: {MASK}, host: h}}"),
        ('"password" : "a\\" b"', f'"password" : {MASK}'),
        ("password: ${DEVICE_PW}", "password: ${DEVICE_PW}"),
        ('{password: "${DEVICE_PW}", host: h}', '{password: "${DEVICE_PW}", host: h}'),
        ("password: x${DEVICE_PW}", f"password: {MASK}"),
        ("password_file: /run/x", "password_file: /run/x"),
        ("password:\n  hunter2", None),
        ("password: |\n  hunter2", None),
        ('"pass\\u0077ord": hunter2', None),
        ("a: &p hunter2\npassword: *p", None),
        (PLC, PLC),
    ],
)
def test_a_password_that_is_written_out_is_not_shown_and_a_variable_is(text: str, shown: str | None) -> None:
    assert masked(text) == shown


def test_what_is_wrong_is_told_by_line_and_what_differs_as_a_diff(tmp_path: Path) -> None:
    found = checker.problems({tmp_path / "a.yaml": PLC.replace("coil", "coils").encode()}, tmp_path, "DEVICE_")
    assert [(one.file, one.line, one.level) for one in found] == [("a.yaml", 1, "error")]
    assert "coils" in found[0].message
    assert checker.problems({tmp_path / "a.yaml": PLC.encode()}, tmp_path, "DEVICE_") == ()
    assert "no device file would be left" in checker.problems({}, tmp_path, "DEVICE_")[0].message
    text = checker.diff({"a.yaml": ("x\ny\n", "x\nz\n"), "n.yaml": ("", "n\n")})
    assert text.splitlines()[:2] == ["--- a/a.yaml", "+++ b/a.yaml"]
    assert "-y\n+z\n" in text
    assert "--- /dev/null\n+++ b/n.yaml" in text


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b'{"op":"rm"}',
        b'{"op":"list","extra":1}',
        b'{"op":"apply","files":{"a":1}}',
        b"\xff",
        b"x" * 2_000_000,
    ],
)
def test_what_is_no_request_is_refused(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_request(payload)


def test_requests_and_answers_are_read_as_they_were_written_and_bounded() -> None:
    asked = Request("apply", {"a.yaml": "x", "b.yaml": None}, digest="0f", by="anna")
    assert decode_request(encode_request(asked)) == asked
    told = Answer(False, "no", problems=(Problem("a.yaml", 3, "wrong", "error"),), digest="0f")
    assert decode_answer(encode_answer(told)) == told
    large = decode_answer(encode_answer(Answer(True, text="x" * LARGEST_BYTES, digest="0f")))
    assert (large.ok, large.text, large.digest) == (False, None, "0f")
    with pytest.raises(DecodeError):
        decode_answer(b'{"ok":"yes"}')
