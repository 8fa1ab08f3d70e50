"""Limits and axes in a trend: what is written into the chart."""

import json
import re
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Route, expect

from tests.browser.visit import PHONE, Visit

DEVICE = "line/oven"
UNITS = {"temperature": "°C", "flow": "l/min", "setpoint": "°C"}
VALUES = {"temperature": (20.0, 100.0), "flow": (5.0, 10.0), "setpoint": (60.0, 90.0)}
ALARMS = {"temperature": {"high": 80.0, "too high": 80.5}, "flow": {"low": 8.0}}
LABELS = ["flow: low", "temperature: high", "temperature: over", "temperature: too high"]
LABEL_PX = 11

RECORD = """
window.drawn = {};
window.order = [];  /* labels, and the chart's lines, which are strokes of a path */
const real = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
    window.drawn[text] = y;
    window.order.push(text);
    return real.apply(this, arguments);
};
const stroke = CanvasRenderingContext2D.prototype.stroke;
CanvasRenderingContext2D.prototype.stroke = function (path) {
    if (path) window.order.push("line");
    return stroke.apply(this, arguments);
};
"""


def _tags(route: Route) -> None:
    unknown = dict.fromkeys(("since", "address", "type", "writable", "min", "max"))
    items = [
        {
            "topic": f"dev/{DEVICE}/{tag}",
            "device": DEVICE,
            "tag": tag,
            "unit": unit,
            "alarms": [
                {"name": name, "limit": limit, "priority": "high"} for name, limit in ALARMS.get(tag, {}).items()
            ],
            "limit_tags": [{"name": "over", "tag": "setpoint", "priority": "low"}] if tag == "temperature" else [],
            **unknown,
        }
        for tag, unit in UNITS.items()
    ]
    route.fulfill(json={"items": items, "next": None, "total": len(items)})


def _history(route: Route) -> None:
    asked = parse_qs(urlsplit(route.request.url).query)
    series = []
    for topic in asked["topic"]:
        tag = topic.rpartition("/")[2]
        moments = (asked["from"][0], asked["to"][0])
        points = [
            {"time": moment, "value": value, "quality": "good"}
            for moment, value in zip(moments, VALUES[tag], strict=True)
        ]
        series.append({"topic": topic, "unit": UNITS[tag], "resolution": "raw", "points": points, "gaps": []})
    route.fulfill(json={"series": series})


@pytest.fixture
def trend(visit: Visit) -> Visit:
    """Before a trend of two tags with alarms; what is written into the chart is in `window.drawn`, with its height."""
    visit.page.add_init_script(RECORD)
    visit.page.route("**/api/v1/tags?*", _tags)
    visit.page.route("**/api/v1/history?*", _history)
    return visit


def _drawn(visit: Visit) -> dict[str, float]:
    found: dict[str, float] = json.loads(visit.page.evaluate("JSON.stringify(window.drawn)"))
    return found


ADDRESS = f"/trend?t=dev/{DEVICE}/temperature&t=dev/{DEVICE}/flow"


def test_labels_of_limits_name_their_tags_and_lie_apart_also_of_a_limit_that_is_a_tag(trend: Visit) -> None:
    trend.log_in(f"{ADDRESS}&from=2026-01-01T00:00:00Z&to=2026-01-01T01:00:00Z")
    trend.wait_for(f"{json.dumps(LABELS)}.every((label) => label in window.drawn)")
    heights = sorted(_drawn(trend)[label] for label in LABELS)
    assert min(high - low for low, high in pairwise(heights)) >= LABEL_PX


def test_no_label_of_a_limit_hides_a_value(trend: Visit) -> None:
    trend.log_in(f"{ADDRESS}&from=2026-01-01T00:00:00Z&to=2026-01-01T01:00:00Z")
    trend.wait_for(f"{json.dumps(LABELS)}.every((label) => label in window.drawn)")
    order: list[str] = json.loads(trend.page.evaluate("JSON.stringify(window.order)"))
    last = {what: number for number, what in enumerate(order)}
    assert max(last[label] for label in LABELS) < last["line"]


def test_both_units_have_an_axis_on_a_phone(trend: Visit) -> None:
    trend.page.set_viewport_size(PHONE)
    trend.log_in(f"{ADDRESS}&from=2026-01-01T00:00:00Z&to=2026-01-01T01:00:00Z")
    trend.wait_for('"°C" in window.drawn && "l/min" in window.drawn')


def test_a_period_of_several_days_has_both_dates_though_it_ends_today(trend: Visit) -> None:
    trend.log_in(f"{ADDRESS}&last=365d")
    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    both = re.compile(f"{moment} – {moment}$")
    expect(trend.page.locator(".period summary")).to_have_text(both)
    expect(trend.page.get_by_role("textbox", name="Text")).to_have_attribute("placeholder", both)
