"""Rows of any length: what stands in rejects and in the audit can be read."""

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
