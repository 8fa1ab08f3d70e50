"""A plant, a console with a login, and a real Chromium in front of it.

The parts and the Chromium are there once for all of these tests, which run one after another in one worker: starting them
takes longer than most of what is tested. A test that stops or changes one leaves it as it was.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from console.access.person import Role
from tests.browser.visit import Visit
from tests.conftest import Production, migrated, new_database
from tests.consoles import PASSWORD, Console, add_user
from tests.parts import PATIENCE, Mosquitto, Nexus, as_role, ended_with_block, free_port

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
AXE = Path(__file__).parents[2] / "console/web/node_modules/axe-core/axe.min.js"
PERSON = "anna"
COLLEAGUE = "berta"
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
ALARM = "name: high, above: 75, priority: high, text: Bearing hot, response: Reduce speed"
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
      - {{name: setpoint, address: "holding:40011:int16", writable: true, min: 0, max: 80, alarms: [{{{alarm}}}]}}
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here need a Chromium."""
    skip = pytest.mark.skip(reason="no Chromium: on Debian `apt-get install chromium`")
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.xdist_group("browser"))
            if CHROMIUM is None:
                item.add_marker(skip)


@pytest.fixture(scope="package")
def folder() -> Iterator[Path]:
    """Where the parts keep what they need."""
    with tempfile.TemporaryDirectory(prefix="nexus-test-") as name:
        yield Path(name)


@pytest.fixture(scope="package")
def production(broker_folder: Path, users_and_acl: str, embedded_postgres: str) -> Iterator[Production]:
    """What services run on in production."""
    broker = Mosquitto(broker_folder, users_and_acl).start()
    with new_database(embedded_postgres) as url:
        yield Production(broker, migrated(url), broker.port)
    broker.stop()


@pytest.fixture(scope="package")
def devices(folder: Path) -> Path:
    """The folder of the gateway's device files."""
    (folder / "devices").mkdir()
    return folder / "devices"


@pytest.fixture(scope="package")
def plant(production: Production, folder: Path, devices: Path) -> Iterator[dict[str, Nexus]]:
    """A simulated device, its gateway, and an ingester."""
    port = free_port()
    (folder / "plant.yaml").write_text(SIMULATION.format(port=port))
    (devices / "plc.yaml").write_text(DEVICES.format(port=port, alarm=ALARM))
    writer = as_role(production.owner, "nexus_writer")
    stored = {
        "NEXUS_MQTT_URL": production.mqtt("ingestion"),
        "NEXUS_DATABASE_URL": writer,
        "NEXUS_BATCH_SECONDS": "0.2",
    }
    simulator = Nexus(folder, ["simulate", str(folder / "plant.yaml")], {})
    ingester = Nexus(folder, ["ingest"], stored)
    gateway = Nexus(folder, ["gateway", "--devices", str(devices)], {"NEXUS_MQTT_URL": production.mqtt("gateway")})
    with ended_with_block(simulator, ingester, gateway):
        yield {"simulator": simulator, "ingester": ingester.until_ready(), "gateway": gateway.until_ready()}


@pytest.fixture(scope="package")
def console(folder: Path, production: Production) -> Iterator[Console]:
    """Its users are PERSON and COLLEAGUE, engineers, with the password PASSWORD."""
    for name in (PERSON, COLLEAGUE):
        add_user(production.owner, name, Role.engineer)
    with ended_with_block(one := Console(folder, production.owner, mqtt_url=production.mqtt("console"))):
        yield one.until_serving()


@pytest.fixture(scope="package")
def chromium(console: Console) -> Iterator[Browser]:
    """Not for the session: while it is there, this thread has an event loop, and other tests need one of their own."""
    with sync_playwright() as playwright:
        # Tests may run as root, whom Chromium's sandbox refuses.
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


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
