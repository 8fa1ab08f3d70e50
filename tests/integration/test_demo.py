"""`nexus demo`, as somebody runs it who has nothing but this repository."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.parts import until

DEVICES = ("mixer", "oven", "meter1", "meter2", "meter3", "press", "filler")


def demo(temporary: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"}
    return subprocess.Popen(
        [sys.executable, "-m", "nexus", "demo", *arguments],
        env={**environment, "TMPDIR": str(temporary)},
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


def test_it_ends_by_itself_with_rows_of_every_device(temporary: Path) -> None:
    process = demo(temporary, "--seconds", "2")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    lines = [line.split() for line in output.splitlines()]
    assert [line[0] for line in lines] == list(DEVICES)
    assert all(int(line[2].replace(",", "")) > 0 for line in lines)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_nothing_behind(temporary: Path, number: int) -> None:
    process = demo(temporary)
    until(lambda: list(temporary.glob("*/gateway.log")), "everything is started")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert processes_that_name(temporary) == []
    assert list(temporary.iterdir()) == []


def test_keep_keeps_data_and_logs(temporary: Path) -> None:
    folder = temporary / "kept"
    process = demo(temporary, "--seconds", "1", "--keep", str(folder))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert (folder / "postgres" / "PG_VERSION").exists()
    assert (folder / "ingestion.log").exists()
