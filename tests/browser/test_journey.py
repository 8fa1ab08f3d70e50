"""What people do with the console, in a real browser before real services."""

import json
import re
from datetime import datetime
from pathlib import Path

import psycopg
from playwright.sync_api import Route, expect

from tests.browser.conftest import COLLEAGUE, PERSON, SECONDS
from tests.browser.visit import PAGES, Visit
from tests.conftest import Production
from tests.consoles import PASSWORD, Console
from tests.modbus_writer import ModbusWriter
from tests.parts import Nexus, publish, until


def test_nobody_sees_anything_without_a_login(visit: Visit) -> None:
    visit.page.goto("/tags")
    expect(visit.page.get_by_role("button", name="Log in")).to_be_visible()
    visit.page.get_by_label("Name").fill(PERSON)
    visit.page.get_by_label("Password").fill("wrong")
    visit.page.get_by_role("button", name="Log in").click()
    expect(visit.page.get_by_role("alert")).to_contain_text("password is wrong")
    visit.log_in("/tags")
    expect(visit.page.get_by_role("heading", name="Tags")).to_be_visible()
    visit.page.get_by_role("button", name="Log out").click()
    expect(visit.page.get_by_role("button", name="Log in")).to_be_visible()


def test_a_refused_login_is_said_in_the_language_of_the_page(visit: Visit) -> None:
    visit.page.goto("/tags")
    visit.page.get_by_role("combobox").select_option("de")
    visit.page.get_by_label("Name").fill(PERSON)
    visit.page.get_by_label("Passwort").fill("wrong")
    visit.page.get_by_role("button", name="Anmelden", exact=True).click()
    expect(visit.page.get_by_role("alert")).to_have_text("Nicht angemeldet. Der Name oder das Passwort ist falsch.")


def test_a_session_that_ends_costs_nobody_what_is_typed(visit: Visit, plant: dict[str, Nexus]) -> None:
    visit.log_in("/files")
    editor = visit.page.get_by_role("textbox", name="plc.yaml")
    expect(editor).to_have_value(re.compile("uint32"))
    editor.fill("devices: []  # half of it")
    visit.page.context.clear_cookies()
    visit.page.get_by_role("button", name="Check").click()
    login = visit.page.get_by_role("dialog", name="Log in")
    expect(login).to_contain_text("Your session has ended")
    login.get_by_label("Name").fill(PERSON)
    login.get_by_label("Password").fill(PASSWORD)
    login.get_by_role("button", name="Log in").click()
    expect(login).to_be_hidden()
    expect(editor).to_have_value("devices: []  # half of it")
    visit.open("About")
    visit.open("Device files")
    expect(editor).to_have_value("devices: []  # half of it")


def test_whoever_mistypes_the_old_password_is_told_so_and_stays(visit: Visit) -> None:
    visit.log_in()
    visit.page.get_by_role("button", name=PERSON).click()
    dialog = visit.page.get_by_role("dialog")
    dialog.get_by_label("Current password").fill("not the old one")
    dialog.get_by_label("New password").fill("another one, and long")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_contain_text("The old password is wrong")
    expect(visit.page.get_by_role("button", name="Log out")).to_be_attached()


def test_whoever_gets_a_new_password_keeps_the_role(visit: Visit) -> None:
    visit.log_in("/users")
    sent: list[object] = []
    visit.page.on("request", lambda asked: sent.append(asked.post_data_json) if asked.method == "PATCH" else None)
    dialog = visit.page.get_by_role("dialog")
    visit.row(COLLEAGUE).get_by_role("button", name="Change").click()
    expect(dialog.get_by_label("Role")).to_have_value("engineer")
    dialog.get_by_label("New password").fill("another one, and long")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    expect(visit.row(COLLEAGUE)).to_contain_text("engineer")
    visit.row(COLLEAGUE).get_by_role("button", name="Change").click()
    dialog.get_by_label("Role").select_option("operator")
    dialog.get_by_role("button", name="Save").click()
    expect(visit.row(COLLEAGUE)).to_contain_text("operator")
    assert sent == [{"password": "another one, and long"}, {"role": "operator"}]


def test_a_tag_is_found_seen_to_change_and_its_trend_zoomed(visit: Visit, plant: dict[str, Nexus]) -> None:
    visit.log_in()
    expect(visit.row("plc")).to_contain_text("online")
    expect(visit.row("plc")).to_contain_text("< 15 s")
    visit.open("Tags")
    visit.page.get_by_role("searchbox", name="Search").fill("COUNT line1")
    expect(visit.page.get_by_role("status").filter(has_text="1 tag")).to_be_visible()
    row = visit.row("plant/line1/plc/count")
    expect(row).to_contain_text("pcs")
    expect(row).to_contain_text("good")
    value = row.get_by_role("cell").nth(2)
    expect(value).to_have_text(re.compile(r"\d"))
    before = value.inner_text()
    expect(value).not_to_have_text(before)
    with visit.page.expect_download() as csv:
        visit.page.get_by_role("button", name="CSV").click()
    title, count = (line.split(",") for line in csv.value.path().read_text().splitlines())
    assert datetime.fromisoformat(count[title.index("Time")]).tzinfo is not None

    row.get_by_role("link", name="plant/line1/plc/count").click()
    expect(visit.page.get_by_role("heading", name="Trend")).to_be_visible()
    expect(visit.row("count")).to_contain_text("every reading")
    chart = visit.page.locator(".chart .u-over")
    visit.drag(chart, 0.5, 0.9)
    expect(visit.page).to_have_url(re.compile("from=.*to="))
    link = visit.page.url
    visit.page.go_back()
    expect(visit.page).not_to_have_url(link)
    visit.page.goto(link)
    expect(visit.row("count")).to_contain_text("pcs")
    assert visit.page.url == link, "a link reproduces the view"
    with visit.page.expect_download() as csv:
        visit.page.get_by_role("link", name="CSV").click()
    assert csv.value.path().read_text().startswith("time,topic,value,")
    with visit.page.expect_download() as png:
        visit.page.get_by_role("button", name="PNG").click()
    assert png.value.path().read_bytes().startswith(b"\x89PNG")


def test_a_long_list_of_tags_scrolls_to_its_end(visit: Visit) -> None:
    visit.page.route("**/api/v1/tags?*", _many_tags)
    visit.log_in("/tags")
    expect(visit.row("line/plc/t0000")).to_be_visible()
    visit.page.get_by_role("table").focus()
    visit.page.keyboard.press("End")
    expect(visit.row("line/plc/t2999")).to_be_visible()


def test_bad_tags_are_found_among_many(visit: Visit) -> None:
    visit.page.route("**/api/v1/tags?*", _many_tags)
    visit.page.route("**/api/v1/last", _all_good_but_one)
    visit.log_in("/tags")
    visit.page.get_by_role("combobox", name="Show").select_option("problems only")
    expect(visit.row("line/plc/t1500")).to_contain_text("bad")
    expect(visit.page.get_by_role("status").filter(has_text="1 tag")).to_be_visible()
    visit.page.get_by_role("combobox", name="Show").select_option("all tags")
    visit.page.get_by_role("columnheader", name="Quality").get_by_role("button").click()
    expect(visit.page.get_by_role("row").nth(1)).to_contain_text("line/plc/t1500")


def _all_good_but_one(route: Route) -> None:
    time = {"time": "2026-01-01T00:00:00Z", "value": 1, "unit": None}
    topics = json.loads(route.request.post_data or "")["topics"]
    items = [{"topic": one, "quality": "bad" if one.endswith("t1500") else "good", **time} for one in topics]
    route.fulfill(json={"items": items, "next": None})


def _many_tags(route: Route) -> None:
    """3,000 of them, by the thousand."""
    unknown = dict.fromkeys(("unit", "since", "address", "type", "writable", "min", "max"))
    first = int(re.search(r"after=(\d+)", route.request.url + "&after=0")[1])  # type: ignore[index]
    names = [f"t{number:04}" for number in range(first, first + 1_000)]
    items = [{"topic": f"dev/line/plc/{name}", "device": "line/plc", "tag": name, **unknown} for name in names]
    route.fulfill(json={"items": items, "next": str(first + 1_000) if first < 2_000 else None, "total": 3_000})


def test_a_set_point_is_written_read_back_and_in_the_audit(
    visit: Visit, plant: dict[str, Nexus], production: Production
) -> None:
    visit.log_in("/writes?topic=dev/plant/line1/plc/setpoint")
    expect(visit.page.locator(".now")).to_have_text("20")
    visit.page.get_by_label("New value").fill("81")
    expect(visit.page.get_by_text("Outside the limits 0 … 80")).to_be_visible()
    expect(visit.page.get_by_role("button", name="Write")).to_be_disabled()
    visit.page.get_by_label("New value").fill("4,2")
    expect(visit.page.get_by_text("write 4.2")).to_be_visible()
    expect(visit.page.get_by_role("button", name="Write")).to_be_disabled()
    visit.page.get_by_label("New value").fill("42")
    visit.page.get_by_role("button", name="Write").click()
    dialog = visit.page.get_by_role("dialog")
    expect(dialog).to_contain_text("20 → 42")
    dialog.get_by_role("button", name="Write").click()
    expect(visit.page.get_by_text("The device holds: 42")).to_be_visible()
    expect(visit.page.locator(".now")).to_have_text("42")
    with psycopg.connect(production.owner, autocommit=True) as connection:
        gateways = "SELECT FROM audit WHERE event = 'write'"
        until(lambda: connection.execute(gateways).fetchall(), "the gateway's own row is stored", SECONDS)
    visit.open("Audit")
    row = visit.page.get_by_role("row").filter(has_text="dev/plant/line1/plc/setpoint").filter(has_text="write")
    expect(row).to_contain_text(f"{PERSON}write")
    expect(row).to_contain_text("donegateway: done")
    with psycopg.connect(production.owner) as connection:
        rows = connection.execute(
            "SELECT person, old, new, ok FROM console_audit WHERE event = 'write' ORDER BY id"
        ).fetchall()
    assert rows == [(PERSON, None, 42, None), (PERSON, 20, 42, True)]


def test_an_alarm_is_seen_on_every_page_acknowledged_shelved_and_over(
    visit: Visit, plant: dict[str, Nexus], devices: Path
) -> None:
    device = ModbusWriter(int(re.search(r"port: (\d+)", (devices / "plc.yaml").read_text())[1]))  # type: ignore[index]
    visit.log_in("/about")
    bar = visit.page.get_by_role("region", name="Alarms")
    expect(bar).to_contain_text("No alarms")
    device.set(10, 78)
    try:
        expect(bar).to_contain_text("1 alarm to acknowledge")
        bar.get_by_role("link", name="Bearing hot").click()
        expect(visit.page.get_by_role("heading", level=1)).to_have_text("plant/line1/plc/setpoint/high")
        expect(visit.page.get_by_text("Reduce speed")).to_be_visible()
        expect(visit.row("raised")).to_contain_text("78 (75)")
        visit.open("Alarms")
        row = visit.row("Bearing hot")
        expect(row).to_contain_text("High")
        visit.look_everywhere("alarms with an alarm")
        row.get_by_role("button", name="Acknowledge").click()
        dialog = visit.page.get_by_role("dialog")
        dialog.get_by_label("Reason").fill("on my way")
        dialog.get_by_role("button", name="Acknowledge").click()
        expect(bar).to_contain_text("1 alarm, all acknowledged")
        row.get_by_role("button", name="Shelve").click()
        dialog.get_by_label("For").select_option("8 h")
        dialog.get_by_role("button", name="Shelve").click()
        expect(visit.page.get_by_text("No active alarms")).to_be_visible()
        visit.page.get_by_role("button", name="Shelved").click()
        expect(row).to_contain_text("until")
        row.get_by_role("button", name="Unshelve").click()
        dialog.get_by_role("button", name="Unshelve").click()
        visit.page.get_by_role("button", name="Active").click()
        expect(row).to_contain_text("active, acknowledged")
    finally:
        device.set(10, 20)
    expect(bar).to_contain_text("No alarms")
    visit.page.get_by_role("button", name="History").click()
    expect(visit.row("on my way")).to_contain_text(PERSON)
    visit.look_everywhere("history of alarms")


def test_a_value_that_moves_is_written_all_the_same(visit: Visit, plant: dict[str, Nexus], devices: Path) -> None:
    device = ModbusWriter(int(re.search(r"port: (\d+)", (devices / "plc.yaml").read_text())[1]))  # type: ignore[index]
    sent: list[object] = []
    visit.page.route("**/api/v1/write", lambda route: _moved_meanwhile(route, sent))
    visit.log_in("/writes?topic=dev/plant/line1/plc/setpoint")
    dialog = visit.page.get_by_role("dialog")
    anyway = dialog.get_by_role("button", name="Write all the same")
    try:
        device.set(10, 20)
        expect(visit.page.locator(".now")).to_have_text("20")
        visit.page.get_by_label("New value").fill("33")
        visit.page.get_by_role("button", name="Write").click()
        expect(anyway).to_be_hidden()
        dialog.get_by_role("button", name="Write").click()
        expect(dialog).to_contain_text("The value has changed")
        expect(dialog).to_contain_text("20 → 33")
        expect(visit.page.locator(".now")).to_have_text("20")
        anyway.click()
        expect(visit.page.get_by_text("The device holds: 33")).to_be_visible()
        expect(dialog).to_be_hidden()
    finally:
        device.set(10, 20)
    assert sent == [20, None]


def _moved_meanwhile(route: Route, sent: list[object]) -> None:
    """What was seen is not there any more when the gateway looks; keeps what the page expected."""
    asked = json.loads(route.request.post_data or "")
    sent.append(asked["expected"] and asked["expected"]["value"])
    if asked["expected"]:
        asked["expected"]["value"] = 19
    route.continue_(post_data=asked)


def test_a_device_file_is_broken_repaired_applied_and_rolled_back(
    visit: Visit, plant: dict[str, Nexus], devices: Path
) -> None:
    file = devices / "plc.yaml"
    before = file.read_text()
    visit.log_in("/files")
    editor = visit.page.get_by_role("textbox", name="plc.yaml")
    expect(editor).to_have_value(before)
    editor.fill(before.replace("uint32", "uint33"))
    visit.page.get_by_role("button", name="Check").click()
    expect(visit.page.get_by_role("listitem").filter(has_text="uint33")).to_contain_text("plc.yaml:10")
    expect(visit.page.locator(".gutter .error")).to_have_text("10")
    visit.page.get_by_role("button", name="Apply").click()
    expect(visit.page.get_by_role("listitem").filter(has_text="uint33")).to_contain_text("plc.yaml:10")
    assert file.read_text() == before

    after = before.replace("200ms", "300ms")
    editor.fill(after)
    visit.page.get_by_role("button", name="Compare").click()
    expect(visit.page.locator(".diff .added")).to_have_text("+    interval: 300ms")
    visit.page.get_by_role("button", name="Apply").click()
    expect(visit.page.get_by_text("Applied.")).to_be_visible()
    assert file.read_text() == after
    visit.row(PERSON).get_by_role("button", name="Roll back").click()
    visit.page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    expect(visit.page.get_by_text("Rolled back.")).to_be_visible()
    expect(editor).to_have_value(before)
    assert file.read_text() == before


def test_a_device_file_is_made_and_deleted(
    visit: Visit, plant: dict[str, Nexus], devices: Path, production: Production
) -> None:
    file = devices / "line2.yaml"
    visit.log_in("/files")
    visit.page.get_by_role("button", name="New file").click()
    dialog = visit.page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("plc.yaml")
    dialog.get_by_role("button", name="Begin").click()
    expect(dialog).to_contain_text("There is a file of this name")
    dialog.get_by_label("Name").fill("line2.yaml")
    dialog.get_by_role("button", name="Begin").click()
    editor = visit.page.get_by_role("textbox", name="line2.yaml")
    expect(editor).to_have_value(re.compile("name: plc001"))
    visit.look_everywhere("a new device file")
    editor.fill(editor.input_value().replace("192.168.1.10", "127.0.0.1"))
    visit.page.get_by_role("button", name="Apply").click()
    expect(visit.page.get_by_text("Applied.")).to_be_visible()
    assert "127.0.0.1" in file.read_text()
    visit.page.get_by_role("button", name="Delete file").click()
    dialog.get_by_role("button", name="Delete file").click()
    expect(visit.page.get_by_text("line2.yaml is deleted.")).to_be_visible()
    expect(visit.page.get_by_role("textbox", name="plc.yaml")).to_be_visible()
    assert not file.exists()
    visit.page.goto("/")
    expect(visit.row("plc001")).to_contain_text("no longer in the device files")
    publish(production.broker.port, "status/plant/line1/plc001", b"", retain=True)  # others look for one device
    expect(visit.page.get_by_text("Devices and storage are fine")).to_be_visible()


def test_axe_finds_nothing_on_any_page_dark_or_light_on_a_desk_and_on_a_phone(
    visit: Visit, plant: dict[str, Nexus]
) -> None:
    visit.page.goto("/")
    expect(visit.page.get_by_label("Name")).to_be_visible()
    visit.look_everywhere("login")
    visit.log_in()
    for name in PAGES:
        topic = {"trend": "?t=dev/plant/line1/plc/count", "writes": "?topic=dev/plant/line1/plc/setpoint"}.get(name, "")
        visit.page.goto(f"/{name}{topic}")
        expect(visit.page.get_by_role("heading", level=1)).to_be_visible()
        visit.page.wait_for_load_state("networkidle")
        visit.look_everywhere(name)


def test_eight_tabs_show_live_values(visit: Visit, plant: dict[str, Nexus]) -> None:
    visit.log_in()
    tabs = [visit.page.context.new_page() for _ in range(8)]
    for tab in tabs:
        tab.goto("/tags?q=count")
    for tab in tabs:
        value = tab.get_by_role("row").filter(has_text="count").get_by_role("cell").nth(2)
        expect(value).to_have_text(re.compile(r"\d"))
        before = value.inner_text()
        expect(value).not_to_have_text(before)


def test_the_first_page_is_small_and_asks_nobody_else(visit: Visit) -> None:
    sizes: list[int] = []
    hosts: set[str] = set()
    visit.page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    visit.page.on(
        "requestfinished",
        lambda request: sizes.append(request.sizes()["responseBodySize"]) if "/api/" not in request.url else None,
    )
    visit.page.goto("/")
    expect(visit.page.get_by_label("Name")).to_be_visible()
    visit.page.wait_for_load_state("networkidle")
    assert len(hosts) == 1
    assert 10_000 < sum(sizes) < 100_000


def test_german_texts_and_the_chosen_colours_stay(visit: Visit) -> None:
    visit.page.goto("/")
    visit.page.get_by_label("Language").select_option("de")
    expect(visit.page.get_by_role("button", name="Anmelden")).to_be_visible()
    for theme in ("light", "dark"):
        visit.page.get_by_role("button", name="Farben").click()
        expect(visit.page.locator("html")).to_have_attribute("data-theme", theme)
    visit.page.reload()
    expect(visit.page.locator("html")).to_have_attribute("data-theme", "dark")
    assert visit.page.locator("html").get_attribute("lang") == "de"


def test_the_menu_is_never_cut_whatever_the_language(visit: Visit) -> None:
    visit.log_in()
    for language in ("en", "de"):
        visit.page.get_by_role("banner").get_by_role("combobox").select_option(language)
        for width in (1920, 1280, 1100, 390):
            visit.page.set_viewport_size({"width": width, "height": 800})
            visit.wait_for(
                "(() => { const menu = document.querySelector('header nav');"
                " return menu && menu.scrollWidth <= menu.clientWidth; })()"
            )


def test_pages_say_what_is_away_and_go_on_when_it_is_back(
    visit: Visit, plant: dict[str, Nexus], production: Production
) -> None:
    visit.log_in()
    expect(visit.row("plc")).to_contain_text("online")
    plant["simulator"].stop()
    expect(visit.row("offline")).to_contain_text("plant/line1/plc")
    plant["simulator"].restart()
    expect(visit.page.get_by_text("Devices and storage are fine")).to_be_visible()
    visit.page.get_by_role("definition").first.get_by_role("link").click()
    state = visit.page.get_by_role("combobox", name="State")
    expect(state).to_have_value("online")
    state.select_option("all states")
    production.broker.stop()
    expect(visit.page.get_by_text("no connection to the broker")).to_be_visible()
    expect(visit.page.get_by_role("link", name="plc", exact=True)).to_be_visible()
    expect(visit.row("1 device")).to_contain_text("unknown")
    production.broker.start()
    expect(visit.page.get_by_text("Devices and storage are fine")).to_be_visible()


def test_a_console_that_is_away_leaves_the_page_and_comes_back(
    visit: Visit, plant: dict[str, Nexus], console: Console
) -> None:
    visit.log_in("/plant/50%")  # an address that is cut
    expect(visit.row("plc")).to_contain_text("online")
    console.stop()
    expect(visit.page.get_by_text("The console does not answer")).to_be_visible()
    expect(visit.page.get_by_role("link", name="plc", exact=True)).to_be_visible()
    console.restart()
    expect(visit.page.get_by_text("The console does not answer")).to_be_hidden()
