"""A plant, a console with a login, and a real Chromium in front of it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from console.access.person import Role
from tests.browser.visit import Visit
from tests.conftest import Production
from tests.consoles import PASSWORD, Console, add_user
from tests.parts import PATIENCE, Nexus, free_port

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
AXE = Path(__file__).parents[2] / "console/web/node_modules/axe-core/axe.min.js"
PERSON = "anna"
SECONDS = 15 * PATIENCE

SIMULATION = """
devices:
  - name: plc
    protocol: modbus-tcp
    port: {port}
    points:
      - {{table: holding, offset: 0, type: uint32, signal: {{kind: counter}}}}
      - {{table: holding, offset: 10, type: int16, signal: {{kind: constant, value: 20}}}}
"""
DEVICES = """\
devices:
  - name: plc
    path: plant/line1/plc
    protocol: modbus-tcp
    host: 127.0.0.1
    port: {port}
    interval: 200ms
    breaker: {{failures: 2, open_for: 500ms}}
    tags:
      - {{name: count, address: "holding:40001:uint32", unit: pcs}}
      - {{name: setpoint, address: "holding:40011:int16", writable: true, min: 0, max: 80}}
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here need a Chromium."""
    skip = pytest.mark.skip(reason="no Chromium: on Debian `apt-get install chromium`")
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)
            if CHROMIUM is None:
                item.add_marker(skip)


@pytest.fixture
def chromium(console: Console) -> Iterator[Browser]:
    """One for each test, and last: while it is there, this thread has an event loop that no other may have."""
    with sync_playwright() as playwright:
        # Tests may run as root, whom Chromium's sandbox refuses.
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    """The folder of the gateway's device files."""
    folder = tmp_path / "devices"
    folder.mkdir()
    return folder


@pytest.fixture
def plant(nexus: Callable[..., Nexus], production: Production, tmp_path: Path, devices: Path) -> dict[str, Nexus]:
    """A simulated device, its gateway, and an ingester."""
    port = free_port()
    (tmp_path / "plant.yaml").write_text(SIMULATION.format(port=port))
    (devices / "plc.yaml").write_text(DEVICES.format(port=port))
    broker = production.broker.url
    simulator = nexus("simulate", str(tmp_path / "plant.yaml"))
    ingester = nexus("ingest", mqtt_url=broker, database_url=production.owner, batch_seconds="0.2")
    gateway = nexus("gateway", "--devices", str(devices), mqtt_url=broker)
    return {"simulator": simulator, "ingester": ingester.until_ready(), "gateway": gateway.until_ready()}


@pytest.fixture
def console(tmp_path: Path, production: Production) -> Iterator[Console]:
    """Its user is PERSON, an engineer, with the password PASSWORD."""
    add_user(production.owner, PERSON, Role.engineer)
    one = Console(tmp_path, production.owner, mqtt_url=production.mqtt("console"))
    try:
        yield one.until_serving()
    finally:
        one.process.kill()
        one.process.wait()


@pytest.fixture
def visit(chromium: Browser, console: Console) -> Iterator[Visit]:
    """A visit to the console, not logged in. Whatever the page logs as an error, but what the server refuses, fails the test."""
    context = chromium.new_context(base_url=f"http://127.0.0.1:{console.web}", locale="en-GB", accept_downloads=True)
    context.set_default_timeout(SECONDS * 1_000)
    expect.set_options(timeout=SECONDS * 1_000)
    page = context.new_page()
    errors: list[str] = []
    _collect(page, errors)
    try:
        yield Visit(page, PERSON, PASSWORD, AXE)
    finally:
        context.close()
    assert errors == []


def _collect(page: Page, errors: list[str]) -> None:
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if _is_fault(said.type, said.text) else None)


def _is_fault(kind: str, text: str) -> bool:
    """Chromium itself reports answers of 4xx and 5xx, and servers that are away."""
    return kind == "error" and not text.startswith(("Failed to load resource", "WebSocket connection to"))
