"""What a person does in a browser."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Literal

from playwright.sync_api import Locator, Page, ViewportSize, expect

from tests.parts import PATIENCE

DESK: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
# What axe looks for: WCAG A and AA; and what the other colours change.
EVERYTHING = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
COLOURS = ("color-contrast", "link-in-text-block")
SCHEMES: tuple[tuple[Literal["light", "dark"], Sequence[str]], ...] = (("light", EVERYTHING), ("dark", COLOURS))
PAGES = (
    "plant",
    "alarms",
    "notifications",
    "tags",
    "trend",
    "writes",
    "files",
    "rejects",
    "completeness",
    "audit",
    "users",
    "about",
)


@dataclass
class Visit:
    """One tab of one person."""

    page: Page
    name: str
    password: str
    axe: Path

    def log_in(self, path: str = "/") -> None:
        self.page.goto(path)
        self.page.get_by_label("Name").fill(self.name)
        self.page.get_by_label("Password").fill(self.password)
        self.page.get_by_role("button", name="Log in").click()
        expect(self.page.get_by_role("button", name="Log out")).to_be_visible()

    def open(self, name: str) -> None:
        """A page by its link in the head."""
        self.page.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()
        expect(self.page.get_by_role("heading", level=1)).to_have_text(name)

    def row(self, text: str) -> Locator:
        """The first row of a table with this text."""
        return self.page.get_by_role("row").filter(has_text=text).first

    def drag(self, across: Locator, start: float, end: float) -> None:
        """With the mouse, from one share of the width to another."""
        box = across.bounding_box()
        assert box is not None
        middle = box["y"] + box["height"] / 2
        self.page.mouse.move(box["x"] + box["width"] * start, middle)
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + box["width"] * end, middle, steps=5)
        self.page.mouse.up()

    def look_everywhere(self, name: str) -> None:
        """Axe finds nothing, dark or light, on a desk and on a phone."""
        for size in (DESK, PHONE):
            self.page.set_viewport_size(size)
            assert not self.is_wider_than_the_screen(), name
            for scheme, rules in SCHEMES:
                self.page.emulate_media(color_scheme=scheme)
                assert (name, scheme, self.faults(rules)) == (name, scheme, [])
        self.page.set_viewport_size(DESK)

    def faults(self, rules: Sequence[str]) -> list[str]:
        """What axe finds, of these rules or sets of rules."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(self.axe.read_text(encoding="utf-8"))
        found = self.page.evaluate("(rules) => axe.run({runOnly: rules})", rules)
        return [
            f"{one['id']}: {one['help']}: {node['html'][:200]} {node['failureSummary'][:200]}"
            for one in found["violations"]
            for node in one["nodes"]
        ]

    def wait_for(self, expression: str) -> None:
        """Until the page says so; its policy forbids what `wait_for_function` does."""
        deadline = monotonic() + 15 * PATIENCE
        while not self.page.evaluate(expression):
            assert monotonic() < deadline, expression
            self.page.wait_for_timeout(50)

    def watch_tasks(self) -> None:
        """From the next page on, notes how long the page was busy at a time."""
        self.page.add_init_script(
            "window.tasks = [];"
            "new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((one) => one.duration)))"
            ".observe({type: 'longtask'});"
        )

    def longest_task(self) -> float:
        """The longest since the last call, in milliseconds; 0 if none was of 50."""
        return float(self.page.evaluate("Math.max(0, ...window.tasks.splice(0))"))

    def is_wider_than_the_screen(self) -> bool:
        """Whether the page as a whole scrolls sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > innerWidth"))
