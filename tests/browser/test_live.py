"""Real errors of a real agent, in a real browser."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from resilience.degradation.levels import DegradationLevel
from resilience.events import Report
from tests.program import REPOSITORY
from tests.sample_agent import EXPECTED
from tray.app import Running

ARTIFACTS = Path(__file__).parent / "artifacts"


def fail(winclaw: Running, message: str = "late", **fields: str) -> int:
    report = Report(**{"type": "TimeoutError", "message": message, "component": "gpt-5.2", "operation": "ask", **fields})  # type: ignore[arg-type]
    return winclaw.core.report([report]).result(10)[0]


def live(page: Page) -> None:
    expect(page.locator("#live.on")).to_be_visible()


def test_real_failures_of_a_real_agent_appear_live_under_their_kinds(page: Page, winclaw: Running, tmp_path: Path) -> None:
    page.goto(f"{winclaw.url}/errors")
    live(page)
    home = winclaw.core.history._path.parent
    subprocess.run(
        [sys.executable, "-m", "tests.sample_agent", str(tmp_path / "workshop")],
        env={**os.environ, "WINCLAW_HOME": str(home)}, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL, timeout=60,
    )  # fmt: skip
    for operation, kind in EXPECTED.items():
        row = page.locator("#rows tbody tr").filter(has=page.get_by_text(operation, exact=True))
        expect(row).to_have_count(1)
        expect(row.locator("td").nth(2)).to_have_text(kind)
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / "errors.png")


def test_a_new_error_appears_on_the_overview_without_reloading(page: Page, winclaw: Running) -> None:
    live(page)
    fail(winclaw, "the model did not answer")
    expect(page.locator("#feed li").first).to_contain_text("the model did not answer")
    expect(page.locator("#feed li").first).to_contain_text("agentic.llm.timeout")


def test_hostile_text_is_shown_as_text(page: Page, winclaw: Running) -> None:
    bait = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"
    live(page)
    fail(winclaw, bait, operation=bait, component=bait)
    expect(page.locator("#feed li").first).to_contain_text(bait)
    error = fail(winclaw, bait, stack=bait)
    for path in ("/", "/errors", f"/errors/{error}", f"/errors?text={'%3Cscript%3E'}"):
        page.goto(winclaw.url + path)
        assert "owned" not in page.title()
        assert page.locator("img").count() == 0


def test_safe_mode_by_one_click_and_back_by_a_confirmation(page: Page, winclaw: Running) -> None:
    page.get_by_role("button", name="Safe Mode").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Level 5 of 5 · Safe Mode")
    assert winclaw.core.state.standing.level is DegradationLevel.SAFE_MODE
    page.get_by_role("link", name="Leave Safe Mode…").click()
    expect(page.get_by_text("This will happen")).to_be_visible()
    page.get_by_role("button", name="Leave Safe Mode").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Level 1 of 5 · Full")
    actors = [event.body["actor"] for event in winclaw.core.history.events(0) if event.type == "command"]
    assert actors == ["dashboard", "dashboard"]


def test_a_change_made_elsewhere_shows_on_the_open_page(page: Page, winclaw: Running) -> None:
    live(page)
    winclaw.core.set_level(DegradationLevel.SAFE_MODE, actor="tray", origin="this machine").result(10)
    expect(page.get_by_role("heading", level=1)).to_contain_text("Safe Mode")
    expect(page.get_by_role("link", name="Leave Safe Mode…")).to_be_visible()


def test_a_page_says_that_it_is_stale_and_comes_back_without_doubles(page: Page, winclaw: Running) -> None:
    page.goto(f"{winclaw.url}/errors")
    live(page)
    first = fail(winclaw, "before")
    expect(page.locator(f"tr[data-id='{first}']")).to_have_count(1)
    page.context.set_offline(True)
    page.evaluate("() => window.dispatchEvent(new Event('offline'))")
    expect(page.locator("#live-text")).to_contain_text("Disconnected", timeout=30_000)
    ids = [fail(winclaw, f"while away {number}") for number in range(5)]
    page.context.set_offline(False)
    page.evaluate("() => window.dispatchEvent(new Event('online'))")
    expect(page.locator("#live.on")).to_be_visible(timeout=30_000)
    for error in [first, *ids]:
        expect(page.locator(f"tr[data-id='{error}']")).to_have_count(1)


def test_paused_rows_wait(page: Page, winclaw: Running) -> None:
    page.goto(f"{winclaw.url}/errors")
    live(page)
    page.get_by_role("button", name="Pause").click()
    error = fail(winclaw, "while paused")
    expect(page.get_by_role("button", name="Go on (1 waiting)")).to_be_visible()
    expect(page.locator(f"tr[data-id='{error}']")).to_have_count(0)
    page.get_by_role("button", name="Go on (1 waiting)").click()
    expect(page.locator(f"tr[data-id='{error}']")).to_have_count(1)


def test_the_list_is_narrowed_by_kind_words_and_paged(page: Page, winclaw: Running) -> None:
    winclaw.core.report([Report(type="RateLimitError", message=f"slow down {n}", component="x", operation="o") for n in range(60)]).result(10)
    fail(winclaw, "needle in the hay")
    page.goto(f"{winclaw.url}/errors")
    page.get_by_role("link", name="rate limit").click()
    expect(page.locator("#rows tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(page.locator("#rows tbody tr")).to_have_count(10)
    page.get_by_role("link", name="Clear").click()
    page.get_by_label("Search").fill("needle")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#rows tbody tr")).to_have_count(1)
    page.locator("#rows tbody a").first.click()
    expect(page.get_by_role("heading", name="Why it was classified so")).to_be_visible()


def test_export_is_neutralised_for_spreadsheets(page: Page, winclaw: Running) -> None:
    fail(winclaw, "=HYPERLINK(1)")
    page.goto(f"{winclaw.url}/errors")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert ",'=HYPERLINK(1)," in download.value.path().read_text("utf-8")


def test_a_used_link_says_how_to_come_in(chromium: Browser, winclaw: Running) -> None:
    context = chromium.new_context()
    page = context.new_page()
    link = winclaw.access.login_link()
    page.goto(link)
    other = chromium.new_context().new_page()
    other.goto(link)
    expect(other.get_by_role("heading", level=1)).to_contain_text("come in through the tray")
    other.context.close()
    context.close()
