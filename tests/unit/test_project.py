"""What the project says of itself is of one piece."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from gateway import drivers

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())


def test_all_is_every_protocol() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    assert sorted(extras["all"]) == sorted(extras["modbus"] + extras["opcua"] + extras["s7"])
    pinned = (ROOT / "constraints-runtime.txt").read_text()
    for one in extras["all"]:
        assert re.search(rf"^{re.split('[^a-z0-9-]', one)[0]}==", pinned, re.MULTILINE), "the image has all protocols"


def test_the_public_ci_runs_every_python_that_is_supported() -> None:
    supported = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["project"]["classifiers"]))
    assert WORKFLOW["jobs"]["unit"]["strategy"]["matrix"]["python"] == supported
    assert PROJECT["project"]["requires-python"] == f">={supported[0]}"


def test_the_public_ci_runs_what_the_makefile_has() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    used = [step["run"] for job in WORKFLOW["jobs"].values() for step in job["steps"] if "run" in step]
    made = [command.removeprefix("make ") for command in used if command.startswith("make ")]
    assert {"lint", "unit", "test", "docs", "coverage"} == set(made) <= set(targets)


@pytest.mark.parametrize("package", PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
def test_every_package_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()


@pytest.mark.parametrize(
    "file", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda file: file.name
)
def test_issue_templates_ask_for_the_version_and_name_real_protocols(file: Path) -> None:
    form = yaml.safe_load(file.read_text())
    assert {"name", "description", "body"} <= set(form)
    fields = {one["id"]: one for one in form["body"] if "id" in one}
    assert file.stem == "feature" or fields["version"]["validations"]["required"]
    if file.stem == "device":
        assert fields["protocol"]["attributes"]["options"] == list(drivers.BUILT_IN)
