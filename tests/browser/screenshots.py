"""Pictures of the console's pages, from the demo, for the documentation: `make screenshots`."""

import re
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.conftest import AXE, CHROMIUM
from tests.browser.visit import Visit

ASSETS = Path(__file__).parents[2] / "docs/assets"
HISTORY_SECONDS = 60  # of which a trend can be shown
SETTLE_MS = 3_000
PATIENCE_MS = 60_000
LINE1 = "dev/demo/line1"
PAGES = {
    "plant": "/",
    "alarms": "/alarms",
    "alarm-statistics": "/alarms?list=statistics",
    "tags": "/tags",
    "trend": f"/trend?last=2m&t={LINE1}/oven/temperature&t={LINE1}/mixer/temperature&t={LINE1}/mixer/running",
    "writes": f"/writes?topic={LINE1}/oven/setpoint",
    "files": "/files",
    "rejects": "/rejects",
    "completeness": "/completeness",
    "audit": "/audit",
    "users": "/users",
    "about": "/about",
}


def main() -> None:
    seconds = str(HISTORY_SECONDS + 120)
    nexus = str(Path(sys.executable).with_name("nexus"))
    with subprocess.Popen([nexus, "demo", "--seconds", seconds], stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        said = re.search(r"(http://\S+)\s+\(log in as (\S+), password (\S+)\)", demo.stdout.readline())
        assert said is not None, "the demo's first line says where the console is"
        time.sleep(HISTORY_SECONDS)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            for scheme in ("light", "dark"):
                _take(browser, scheme, *said.groups())
        demo.terminate()
        demo.stdout.read()


def _take(browser: Browser, scheme: str, url: str, name: str, password: str) -> None:
    context = browser.new_context(
        base_url=url,
        locale="en-GB",
        viewport={"width": 1280, "height": 800},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    visit = Visit(context.new_page(), name, password, AXE)
    visit.log_in()
    _write_once(visit.page)
    for page, path in PAGES.items():
        visit.page.goto(path)
        visit.page.wait_for_timeout(SETTLE_MS)
        visit.page.screenshot(path=ASSETS / f"console-{page}-{scheme}.png")
    context.close()


def _write_once(page: Page) -> None:
    """So that there is something in the audit."""
    page.goto(PAGES["writes"])
    page.get_by_label("New value").fill("215")
    page.get_by_role("button", name="Write").click()
    page.get_by_role("dialog").get_by_role("button", name="Write").click()
    page.get_by_text("The device holds").wait_for()


if __name__ == "__main__":
    main()
