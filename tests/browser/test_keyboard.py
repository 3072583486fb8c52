"""Single keys and their sheet, hints for who has no mouse, times in UTC, and parts of a page that cannot be had anew."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from resilience.degradation.levels import DegradationLevel
from resilience.events import CircuitReport, Heartbeat
from tests.browser.test_live import fail, live

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tray.app import Running

ARTIFACTS = Path(__file__).parent / "artifacts"


def test_single_keys_go_to_pages_rows_and_fields_and_change_nothing(page: Page, winclaw: Running) -> None:
    for number in range(3):
        fail(winclaw, "late", type=("TimeoutError", "RateLimitError", "KeyError")[number])
    live(page)
    page.keyboard.press("g")
    page.keyboard.press("e")
    expect(page).to_have_url(f"{winclaw.url}/errors")
    live(page)
    page.keyboard.press("/")
    search = page.get_by_label("Search")
    expect(search).to_be_focused()
    page.keyboard.type("gap? jkS")
    expect(search).to_have_value("gap? jkS")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Pause").focus()
    page.keyboard.press("p")
    expect(page.get_by_role("button", name="Go on (0 waiting)")).to_be_focused()
    page.keyboard.press("p")
    rows = page.locator("main a.what")
    for key, place in (("j", 0), ("j", 1), ("k", 0), ("k", 0), ("j", 1)):
        page.keyboard.press(key)
        expect(rows.nth(place)).to_be_focused()
    page.keyboard.press("Shift+S")
    expect(page.get_by_role("button", name="Safe Mode")).to_be_focused()
    for chord in ("Control+j", "Alt+j", "Meta+j"):
        page.keyboard.press(chord)
    expect(page.get_by_role("button", name="Safe Mode")).to_be_focused()
    page.keyboard.press("j")
    to = rows.first.get_attribute("href")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{winclaw.url}{to}")
    assert winclaw.core.state.standing.level is DegradationLevel.FULL


def test_the_sheet_lists_the_keys_explains_the_page_and_turns_them_off(page: Page, winclaw: Running) -> None:
    winclaw.core.beat(Heartbeat(agent="a", pid=1, circuits=(CircuitReport(service="gmail_api", state="CLOSED", p95_ms=3),))).result(10)
    page.goto(f"{winclaw.url}/circuits")
    live(page)
    page.keyboard.press("?")
    sheet = page.get_by_role("dialog", name="Keyboard")
    expect(sheet).to_contain_text("p95Of the slowest agent: 95 of 100 calls took no longer")
    expect(sheet).to_contain_text("Isolate gmail_apiRefuses every call to it")
    for width, scheme in ((1280, "light"), (320, "dark")):
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert sheet.evaluate("one => one.scrollWidth <= one.clientWidth")
        page.screenshot(path=ARTIFACTS / f"help-{scheme}-{width}.png")
    page.keyboard.press("g")
    page.keyboard.press("e")
    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()
    expect(page).to_have_url(f"{winclaw.url}/circuits")
    opener = page.get_by_role("button", name="Keyboard and help")
    opener.click()
    sheet.get_by_label("These keys work").uncheck()
    sheet.get_by_role("button", name="Close").click()
    expect(opener).to_be_focused()
    page.keyboard.press("?")
    page.reload()
    live(page)
    page.keyboard.press("?")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    expect(sheet).to_be_hidden()


def test_what_a_mouse_is_told_the_keyboard_is_shown(page: Page, winclaw: Running) -> None:
    winclaw.core.beat(Heartbeat(agent="a", pid=1, circuits=(CircuitReport(service="gmail_api", state="CLOSED"),))).result(10)
    page.set_viewport_size({"width": 320, "height": 800})
    page.goto(f"{winclaw.url}/circuits")
    live(page)
    tip = page.locator(".tip")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Isolate gmail_api").focus()
    expect(tip).to_have_text("Refuses every call to it, of every agent, until you release it")
    expect(tip).to_be_in_viewport(ratio=1)
    page.screenshot(path=ARTIFACTS / "hint-light-320.png")
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    page.get_by_role("button", name="Times in UTC").focus()
    expect(tip).to_be_in_viewport(ratio=1)


def test_times_are_in_utc_where_somebody_wants_that(page: Page, winclaw: Running) -> None:
    live(page)
    page.get_by_role("button", name="Times in UTC").click()
    pressed = page.get_by_role("button", name="Times in UTC", pressed=True)
    expect(pressed).to_be_visible()
    fail(winclaw)
    for path, times in (("/", "#feed time"), ("/errors", "#rows time")):
        page.goto(winclaw.url + path)
        live(page)
        time = page.locator(times).first
        at = time.get_attribute("datetime") or ""
        expect(time).to_have_text(f"{at[11:19]} UTC")
        for tick in page.locator("#timeline .ticks time").all():
            expect(tick).to_have_text((tick.get_attribute("datetime") or "")[11:16])
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(page.locator("#printed")).to_have_text(re.compile(r"Printed .* \(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\)"))
    page.get_by_role("button", name="Times in UTC").click()
    expect(pressed).to_have_count(0)
    expect(page.locator("main time").first).not_to_have_text(re.compile("UTC"))


def test_a_part_that_cannot_be_had_anew_is_said_to_be_old(page: Page, winclaw: Running, complaints: list[str]) -> None:
    page.set_viewport_size({"width": 320, "height": 500})
    page.goto(f"{winclaw.url}/loops")
    live(page)
    page.route(page.url, lambda route: route.fulfill(status=503))
    winclaw.core.set_level(DegradationLevel.MINIMAL, actor="tray", origin="this machine").result(10)
    said = page.locator("#live-text")
    expect(said).to_have_text("Out of date: the server answered 503, retrying")
    page.mouse.wheel(0, 3000)
    expect(said).to_be_in_viewport(ratio=1)
    page.screenshot(path=ARTIFACTS / "out-of-date-light-320.png")
    expect(page.locator("body")).to_have_class("stale-page")
    expect(page.get_by_text("1 of 15 may run at this level")).to_have_count(0)
    page.unroute(page.url)
    expect(page.get_by_text("1 of 15 may run at this level")).to_be_visible()
    live(page)
    expect(page.locator("body")).not_to_have_class("stale-page")
    assert all("503" in one for one in complaints)
    complaints.clear()
