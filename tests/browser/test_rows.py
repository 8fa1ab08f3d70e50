"""Rows of any length: what stands in rejects and in the audit can be read."""

from typing import Any

from playwright.sync_api import Route, expect

from tests.browser.visit import PHONE, Visit

REASON = "the value 0.1 of this tag is not the one that is stored for the same time: its device sends two"


def _rejects(route: Route) -> None:
    never = dict.fromkeys(("retry", "tried", "tags", "source"))
    one = {
        "id": 1,
        "time": "2026-01-01T00:00:00Z",
        "topic": "dev/well/7/level",
        "reason": REASON,
        "payload": "{}",
        "bytes": 2,
    }
    route.fulfill(json={"items": [one | never], "next": None, "reasons": [{"reason": REASON, "count": 1}]})


def test_a_long_reason_of_a_reject_fits_on_a_phone(visit: Visit) -> None:
    visit.page.set_viewport_size(PHONE)
    visit.page.route("**/api/v1/rejects?*", _rejects)
    visit.page.route("**/api/v1/rejects", _rejects)
    visit.log_in("/rejects")
    expect(visit.page.get_by_role("combobox", name="Reason")).to_contain_text(REASON[:80])
    expect(visit.row(REASON)).to_be_visible()
    assert not visit.is_wider_than_the_screen()


DIFFERENCE = """\
--- a/plc.yaml
+++ b/plc.yaml
@@ -1,2 +1,2 @@
 devices:
-    interval: 200ms
+    interval: 300ms
"""
NOTE = {"from": "2026-01-01T00:00:00.123Z", "to": "2026-01-01T00:00:00.123Z", "text": "probe swapped"}


def _audit(route: Route) -> None:
    usual: dict[str, Any] = {"time": "2026-01-01T00:00:00Z", "person": "anna", "topic": None, "via": "password"}
    usual |= {"address": "127.0.0.1", "source": "console", "ok": True, "old": None, "new": None, "detail": {}}
    detail = {"difference": DIFFERENCE, "files": "plc.yaml"}
    items = [
        usual | {"event": "device files apply", "topic": "file/gateway/one", "detail": detail},
        usual | {"event": "annotation", "topic": "dev/plant/line1/oven/zone1/temperature", "new": NOTE},
        usual | {"event": "user changed", "old": {"role": "engineer"}, "new": {"role": "operator"}},
    ]
    route.fulfill(json={"items": items, "next": None})


def test_the_audit_keeps_the_lines_of_a_difference_and_its_words_whole(visit: Visit) -> None:
    visit.page.route("**/api/v1/audit?*", _audit)
    visit.page.route("**/api/v1/audit", _audit)
    visit.log_in("/audit")
    lines = visit.row("interval").locator("code").inner_text().splitlines()
    assert lines == ["files: plc.yaml, difference:", *DIFFERENCE.splitlines()]
    for name, least in (("Before", 60), ("Requested", 150)):
        box = visit.row("user changed").locator(f"[data-label={name}]").bounding_box()
        assert box is not None
        assert box["width"] >= least, name
