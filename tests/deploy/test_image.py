"""The image and the compose files, with the Docker of this machine."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infrastructure/docker"
HARDENED = [
    "--read-only",
    "--cap-drop",
    "ALL",
    "--security-opt",
    "no-new-privileges",
    "--tmpfs",
    "/tmp",
    "--network",
    "none",
]

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, cwd=FOLDER)


@pytest.fixture(scope="module")
def image() -> str:
    """Built on NEXUS_TEST_BASE_IMAGE: any Debian with python3 and python3-venv."""
    base = os.environ.get("NEXUS_TEST_BASE_IMAGE")
    if base is None:
        pytest.skip("NEXUS_TEST_BASE_IMAGE names no base image")
    if docker("version").returncode != 0:
        pytest.skip("no Docker daemon answers")
    arguments = ["--network", "host", "--build-arg", f"BASE_IMAGE={base}", "-f", "Dockerfile", "-t", "nexus-edge:test"]
    done = docker("build", *arguments, str(ROOT))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return "nexus-edge:test"


def run(image: str, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return docker("run", "--rm", *HARDENED, *options, image, *arguments)


def test_it_runs_without_root_and_without_writing(image: str) -> None:
    assert "usage: nexus" in run(image, "--help").stdout
    mount = ("-v", f"{FOLDER}/devices:/etc/nexus/devices:ro")
    done = run(image, "check", "/etc/nexus/devices", options=mount)
    assert (done.returncode, done.stdout.splitlines()[-1][:3]) == (0, "ok:")
    assert run(image, options=("--entrypoint", "id")).stdout.startswith("uid=10001 gid=10001")


def test_it_holds_nothing_that_builds(image: str) -> None:
    script = "import importlib.util as u; print([m for m in ('pip', 'hatchling', 'pytest', 'rich') if u.find_spec(m)])"
    done = run(image, "-c", script, options=("--entrypoint", "/opt/nexus/bin/python"))
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("file", sorted(FOLDER.glob("docker-compose*.yml")), ids=lambda file: file.name)
def test_compose_files_are_valid(file: Path) -> None:
    if shutil.which("docker") is None or docker("compose", "version").returncode != 0:
        pytest.skip("no Docker Compose here")
    arguments = ["--env-file", ".env.example", "--profile", "*", "-f", file.name]
    done = docker("compose", *arguments, "config", "--quiet")
    assert done.returncode == 0, done.stderr
