"""The image and the compose files, with the Docker of this machine."""

import json
import os
import re
import shutil
import subprocess
import tarfile
import tomllib
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
    assert "Usage: nexus" in run(image, "--help").stdout
    mount = ("-v", f"{FOLDER}/devices:/etc/nexus/devices:ro")
    done = run(image, "check", "/etc/nexus/devices", options=mount)
    assert (done.returncode, done.stdout.splitlines()[-1][:3]) == (0, "ok:")
    who = run(image, "-c", "import os; print(os.getuid(), os.getgid())", options=("--entrypoint", "python"))
    assert who.stdout == "10001 10001\n"


def test_it_holds_nothing_that_builds(image: str) -> None:
    script = "import importlib.util as u; print([m for m in ('pip', 'hatchling', 'pytest', 'rich') if u.find_spec(m)])"
    done = run(image, "-c", script, options=("--entrypoint", "/opt/nexus/bin/python"))
    assert done.stdout.strip() == "[]", done.stderr


def test_it_writes_parquet(image: str) -> None:
    script = "import io, pyarrow, pyarrow.csv, pyarrow.parquet as p; f = io.BytesIO();"
    script += "p.write_table(pyarrow.table({'x': [1.5]}), f, compression='zstd'); print(f.getvalue()[:4])"
    done = run(image, "-c", script, options=("--entrypoint", "python"))
    assert done.stdout == "b'PAR1'\n", done.stderr


@pytest.fixture(scope="module")
def files(image: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tarfile.TarInfo]:
    """All that is in the image."""
    archive = tmp_path_factory.mktemp("image") / "image.tar"
    container = docker("create", image).stdout.strip()
    try:
        assert docker("export", "--output", str(archive), container).returncode == 0
    finally:
        docker("rm", container)
    with tarfile.open(archive) as opened:
        return {member.name: member for member in opened}


def test_it_is_small_and_holds_no_shell_no_package_manager_and_nothing_setuid(
    files: dict[str, tarfile.TarInfo],
) -> None:
    assert sum(file.size for file in files.values()) < 290_000_000
    assert [name for name, file in files.items() if file.isfile() and file.mode & 0o6000] == []
    tools = {"sh", "bash", "dash", "busybox", "apt", "apt-get", "dpkg", "perl", "pip", "curl", "wget", "su", "mount"}
    assert [name for name, file in files.items() if not file.isdir() and name.rpartition("/")[2] in tools] == []
    writable = {name for name, file in files.items() if file.isdir() and (file.uid == 10001 or file.mode & 0o002)}
    assert writable <= {"tmp", "tmp/", "var/lib/nexus", "var/lib/nexus/"}


def test_it_holds_the_consoles_pages_and_nothing_that_made_them(files: dict[str, tarfile.TarInfo]) -> None:
    [pages] = [name.removesuffix("/index.html") for name in files if name.endswith("console/web/dist/index.html")]
    kinds = {name.rpartition(".")[2] for name in files if name.startswith(f"{pages}/assets/")}
    assert {"js", "css"} <= kinds
    assert [name for name in files if "node_modules" in name or name.endswith(("/bin/node", ".tsx"))] == []


def test_its_bill_of_materials_names_all_that_is_in_it(image: str) -> None:
    bill = run(
        image, "-c", "print(open('/usr/share/sbom/nexus-edge.cdx.json').read())", options=("--entrypoint", "python")
    )
    made = json.loads(bill.stdout)
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    assert len({one["bom-ref"] for one in made["components"]}) == len(made["components"])
    names = {one["purl"].partition("@")[0] for one in made["components"]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {f"pkg:pypi/{re.split(r'[^A-Za-z0-9_-]', one)[0].lower()}" for one in project["dependencies"]}
    assert wanted - names == set()
    assert {"pkg:npm/preact", "pkg:generic/python", "pkg:deb/debian/libc6", "pkg:deb/debian/libpq5"} <= names


def test_a_sample_or_a_password_with_a_comma_is_refused_before_anything_starts(image: str) -> None:
    for secret in ("change-me", "", "a-comma,in-between"):
        done = run(image, "secrets", options=("--env", f"MQTT_USER_gateway-0={secret}"))
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("MQTT_USER_gateway-0: ")
    assert run(image, "secrets", options=("--env", "MQTT_USER_gateway-0=0123456789abcdef")).stdout == "ok: 1 secrets\n"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("docker-compose*.yml")), ids=lambda file: file.name)
def test_compose_files_are_valid(file: Path) -> None:
    if shutil.which("docker") is None or docker("compose", "version").returncode != 0:
        pytest.skip("no Docker Compose here")
    arguments = ["--env-file", ".env.example", "--profile", "*", "-f", file.name]
    done = docker("compose", *arguments, "config", "--quiet")
    assert done.returncode == 0, done.stderr
