"""`nexus demo`, as somebody runs it who has nothing but this repository."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from nexus.cli import embedded
from nexus.cli.demo import shown_value
from nexus.cli.demo_console import new_login
from nexus.process.errors import ConfigError
from tests.parts import PATIENCE, free_port, until

SOURCES = ("mixer", "oven", "meter1", "meter2", "meter3", "press", "filler", "line1")


def demo(temporary: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "nexus", "demo", *arguments],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def temporary(broker_folder: Path) -> Path:
    folder = broker_folder / f"demo-{time.time_ns()}"
    folder.mkdir(mode=0o755)
    return folder


def processes_that_name(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in command:
            found.append(command)
    return found


def _said(lines: list[str], text: str) -> bool:
    return any(text in line for line in lines)


def test_it_ends_by_itself_with_rows_of_every_device_and_rule(temporary: Path) -> None:
    process = demo(temporary, "--seconds", "2")
    output, _ = process.communicate(timeout=60 * PATIENCE)
    assert process.returncode == 0, output
    assert re.match(
        r"Console: http://127\.0\.0\.1:\d+  \(log in as demo, password \S{16}\)\nBroker: mqtt://127\.0\.0\.1:\d+\n",
        output,
    ), output
    lines = [line.split() for line in output.splitlines() if line.endswith(" rows")]
    assert [line[0] for line in lines] == list(SOURCES)
    assert all(int(line[2].replace(",", "")) > 0 for line in lines)
    assert list(temporary.iterdir()) == []


def test_a_simulated_fault_raises_an_alarm_and_is_over(temporary: Path) -> None:
    lines: list[str] = []
    with demo(temporary) as process:

        def read() -> None:
            for line in process.stdout or ():
                lines.append(line)  # noqa: PERF402  each is looked at as it comes

        reader = threading.Thread(target=read)
        reader.start()
        try:
            for event in ("raised", "cleared"):
                said = f"{event}: demo/line1/mixer/cooling/low (high)"
                until(partial(_said, lines, said), said, 90)
        finally:
            process.send_signal(signal.SIGTERM)
            reader.join()


def test_a_console_that_is_not_there_is_trouble_and_the_login_is_ours_alone(tmp_path: Path) -> None:
    login = new_login(tmp_path, free_port())
    assert "refused" in (login.trouble() or "")
    assert login.wait(threading.Event(), lambda: None, 0.0) == login.trouble()
    assert (login.file.read_text(), login.file.stat().st_mode & 0o077) == (login.password, 0)
    assert new_login(tmp_path, 1).password != login.password


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_nothing_behind(temporary: Path, number: int) -> None:
    process = demo(temporary)
    until(lambda: list(temporary.glob("*/gateway.log")), "everything is started")
    process.send_signal(number)
    process.communicate(timeout=60 * PATIENCE)
    assert processes_that_name(temporary) == []
    assert list(temporary.iterdir()) == []


def test_keep_keeps_data_and_logs(temporary: Path) -> None:
    folder = temporary / "kept"
    process = demo(temporary, "--seconds", "1", "--keep", str(folder))
    output, _ = process.communicate(timeout=60 * PATIENCE)
    assert process.returncode == 0, output
    assert (folder / "postgres" / "PG_VERSION").exists()
    assert (folder / "ingestion.log").exists()
    assert f"in {folder}" in output


def test_a_full_disk_is_said_before_anything_starts(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "NEEDED_BYTES", 10**18)
    with pytest.raises(ConfigError, match="MB are needed: free some space"), embedded.running(temporary):
        pass


@pytest.mark.parametrize(
    ("value", "text", "shown"),
    [(1.0, None, "1"), (8.8e15, "8800000000000041", "8800000000000041"), (84.4999, None, "84.4999"), (None, None, "–")],
)
def test_values_are_shown_as_people_read_them(value: float | None, text: str | None, shown: str) -> None:
    assert shown_value(value, text) == shown
