"""The overview and the frame that every page shares, in a real browser."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, Page, expect

from resilience.degradation.levels import DegradationLevel
from resilience.events import Heartbeat, Report
from tests.browser.test_live import fail, live
from tray.app import Running

ONE_LINE = "#feed li:not([hidden])"


def level(winclaw: Running, chosen: DegradationLevel) -> None:
    winclaw.core.set_level(chosen, actor="tray", origin="this machine").result(10)


def test_an_error_that_comes_again_is_counted_on_its_line(page: Page, winclaw: Running) -> None:
    live(page)
    lines = page.locator(ONE_LINE).count()
    for _ in range(5):
        fail(winclaw, "the model is late")
    expect(page.locator(ONE_LINE).first).to_contain_text("\N{MULTIPLICATION SIGN}5")
    expect(page.locator(ONE_LINE)).to_have_count(lines + 1)
    level(winclaw, DegradationLevel.MINIMAL)
    expect(page.locator(ONE_LINE).filter(has_text="Full → Minimal")).to_have_count(1)
    number = fail(winclaw, "the model is late")
    expect(page.locator(ONE_LINE).first).to_have_attribute("data-id", str(number))
    expect(page.locator(ONE_LINE).first).not_to_contain_text("\N{MULTIPLICATION SIGN}")


def test_a_flood_does_not_make_the_page_grow(page: Page, winclaw: Running) -> None:
    live(page)
    reports = [Report(type="TimeoutError", message="late", component=f"c{n}", operation="ask") for n in range(100)]
    for _ in range(10):
        last = winclaw.core.report(reports).result(10)[-1]
    expect(page.locator(f"#feed [data-id='{last}']")).to_be_visible()
    assert page.locator("#feed li").count() <= 60
    assert page.locator("*").count() < 2000


def test_the_chart_counts_along_and_has_its_numbers_in_a_table(page: Page, winclaw: Running) -> None:
    live(page)
    for _ in range(3):
        fail(winclaw)
    expect(page.locator("#rate canvas")).to_be_visible()
    expect(page.locator("#rate-said")).to_have_text("3 in the last hour")
    page.get_by_text("The same as a table").click()
    numbers = page.locator("#rate-table td.n")
    expect(numbers).to_have_count(60)
    assert sum(int(number) for number in numbers.all_text_contents()) == 3


def test_troubles_and_agents_are_counted_anew_without_reloading(page: Page, winclaw: Running) -> None:
    page.clock.install()
    page.reload()
    live(page)
    page.evaluate("window.same = true")
    winclaw.core.beat(Heartbeat(agent="researcher")).result(10)
    expect(page.locator("#agents")).to_contain_text("1 of 1 connected")
    number = fail(winclaw, "the disk is full")
    expect(page.locator(f"#feed [data-id='{number}']")).to_be_visible()
    page.clock.fast_forward("05")
    expect(page.locator("#troubles")).to_contain_text("the disk is full")
    assert page.evaluate("window.same")


def test_the_level_changes_in_place_and_is_announced(page: Page, winclaw: Running) -> None:
    """The live region stays the same element: one that is replaced is not read out."""
    live(page)
    page.evaluate("window.same = document.getElementById('announced')")
    level(winclaw, DegradationLevel.LIMITED_EXTERNAL)
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("Level 3 of 5 · Limited External"))
    expect(page.locator("#announced")).to_contain_text("Level 3 of 5 · Limited External. Chosen by hand (tray)")
    expect(page.locator(".ladder .on")).to_have_text("3")
    expect(page).to_have_title(re.compile("^Limited External"))
    assert page.evaluate("window.same === document.getElementById('announced')")


def test_commands_leave_the_page_where_it_is(page: Page, winclaw: Running) -> None:
    live(page)
    page.evaluate("window.same = true")
    page.get_by_role("button", name="Minimal").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Minimal")
    expect(page.get_by_role("button", name="Minimal")).to_have_attribute("aria-current", "true")
    page.get_by_role("button", name="Safe Mode").click()
    expect(page.get_by_role("link", name="Leave Safe Mode…")).to_be_focused()
    assert winclaw.core.state.standing.level is DegradationLevel.SAFE_MODE
    assert page.evaluate("window.same")


def test_a_command_that_fails_is_said_at_once(page: Page, winclaw: Running, complaints: list[str]) -> None:
    """An off switch must never look pressed when it is not."""
    live(page)
    page.route("**/api/v1/level", lambda route: route.fulfill(status=503, json={"detail": "The disk is full."}))
    page.get_by_role("button", name="Safe Mode").click()
    expect(page.get_by_role("alert")).to_have_text("That did not work: The disk is full.")
    page.unroute("**/api/v1/level")
    page.route("**/api/v1/level", lambda route: route.abort())
    page.get_by_role("button", name="Safe Mode").click()
    expect(page.get_by_role("alert")).to_contain_text("WinClaw does not answer")
    expect(page.get_by_role("button", name="Safe Mode")).to_be_enabled()
    assert all("/api/v1/level" in complaint for complaint in complaints)
    complaints.clear()


def test_what_safe_mode_does_is_told_before_it_is_pressed(page: Page) -> None:
    contract = page.locator("#contract")
    expect(contract).to_be_hidden()
    page.get_by_role("button", name="Safe Mode").hover()
    expect(contract).to_be_visible()
    for word in ("Blocked", "Goes on", "Queued", "Lasts"):
        expect(contract).to_contain_text(word)
    page.keyboard.press("Escape")
    expect(contract).to_be_hidden()
    expect(page.get_by_role("button", name="Safe Mode")).to_have_accessible_description(re.compile("Blocked"))


def test_a_server_that_hangs_is_noticed_within_five_seconds(page: Page) -> None:
    """Its connection stays open and says nothing; the page asks, gets no answer, and says so."""
    page.clock.install()
    page.reload()
    live(page)
    page.route("**/api/v1/state", lambda _: None)
    with page.expect_request("**/api/v1/state"):
        page.clock.fast_forward("03")
    page.clock.fast_forward("02")
    expect(page.locator("#live-text")).to_have_text(re.compile(r"Disconnected \d s, retrying"))
    expect(page.locator("body")).to_have_class("stale-page")
    expect(page.locator("#announced")).to_contain_text("Disconnected")
    page.unroute("**/api/v1/state")
    live(page)
    expect(page.locator("body")).not_to_have_class("stale-page")


def test_a_page_whose_session_ended_says_so(page: Page, winclaw: Running, complaints: list[str]) -> None:
    page.clock.install()
    page.reload()
    live(page)
    winclaw.access.rotate()
    page.clock.fast_forward("03")
    expect(page.locator("#live-text")).to_contain_text("Signed out")
    assert all("401" in complaint or "WebSocket" in complaint for complaint in complaints)
    complaints.clear()


def test_paused_the_feed_stands_still(page: Page, winclaw: Running) -> None:
    live(page)
    page.get_by_role("button", name="Pause").click()
    number = fail(winclaw)
    page.get_by_role("button", name="Go on (1 waiting)").click()
    expect(page.locator(f"#feed [data-id='{number}']")).to_be_visible()


def test_times_are_local_with_utc_in_the_tooltip(chromium: Browser, winclaw: Running) -> None:
    with chromium.new_context(timezone_id="Asia/Kolkata") as context:
        page = context.new_page()
        page.goto(winclaw.access.login_link())
        live(page)
        shown = page.locator("#feed time").first
        at = shown.get_attribute("datetime")
        assert at is not None
        assert shown.get_attribute("title") == f"{at[:10]} {at[11:19]} UTC"
        assert shown.text_content() != at[11:19]
        assert page.evaluate("at => new Date(at).toTimeString().slice(0, 8)", at) == shown.text_content()


def test_the_first_paint_takes_few_requests(page: Page, winclaw: Running) -> None:
    live(page)
    page.wait_for_load_state("networkidle")  # what coming in asked for is over
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(winclaw.url)
    live(page)
    assert len(asked) <= 10, asked


def test_nothing_moves_for_who_does_not_want_that(page: Page, winclaw: Running) -> None:
    live(page)
    for motion, animation in (("no-preference", "fresh"), ("reduce", "none")):
        page.emulate_media(reduced_motion=motion)  # type: ignore[arg-type]
        row = page.locator(f"#feed [data-id='{fail(winclaw, motion)}']")
        expect(row).to_be_visible()
        assert row.evaluate("row => getComputedStyle(row).animationName") == animation


def test_the_band_stays_in_sight(page: Page, winclaw: Running) -> None:
    reports = [Report(type="TimeoutError", message="late", component=f"c{n}", operation="ask") for n in range(20)]
    winclaw.core.report(reports).result(10)
    for width in (320, 1280):
        page.set_viewport_size({"width": width, "height": 600})
        page.goto(winclaw.url)
        live(page)
        page.mouse.move(10, 400)
        page.mouse.wheel(0, 3000)
        expect(page.get_by_role("heading", level=1)).to_be_in_viewport()
        expect(page.get_by_role("button", name="Safe Mode")).to_be_in_viewport()


def test_when_nothing_is_wrong_it_says_since_when(page: Page) -> None:
    live(page)
    expect(page.locator("#needs")).to_contain_text("Nothing needs you.")
    expect(page.locator("#checked")).to_have_text(re.compile(r"\d s ago"))
