"""The page of errors and that of one error, in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from resilience.events import Report
from tests.browser.test_live import fail, live
from tray.app import Running

BAIT = "<img src=x onerror=document.title='owned'>"


def test_hostile_text_arrives_live_as_text(page: Page, winclaw: Running) -> None:
    page.goto(f"{winclaw.url}/errors")
    live(page)
    number = fail(winclaw, BAIT, component=BAIT, operation=BAIT)
    row = page.locator(f"tr[data-id='{number}']")
    expect(row).to_contain_text(BAIT)
    expect(row.locator("code")).to_have_text(BAIT)
    assert page.locator("img").count() == 0
    assert "owned" not in page.title()


@pytest.mark.parametrize("query", ["kind=transient", "kind=transient.network.rate_limit", "component=gmail_api", "severity=WARNING"])
def test_live_rows_keep_to_the_filter(page: Page, winclaw: Running, query: str) -> None:
    page.goto(f"{winclaw.url}/errors?{query}")
    live(page)
    other = fail(winclaw, "other", type="PromptInjectionError")
    wanted = fail(winclaw, "wanted", type="RateLimitError", component="gmail_api")
    expect(page.locator(f"tr[data-id='{wanted}']")).to_be_visible()
    expect(page.locator(f"tr[data-id='{other}']")).to_have_count(0)


def test_a_page_of_old_rows_and_a_search_stand_still(page: Page, winclaw: Running) -> None:
    fail(winclaw, "needle")
    for query in ("text=needle", "before=1000000"):
        page.goto(f"{winclaw.url}/errors?{query}")
        live(page)
        rows = page.locator("#rows tbody tr").count()
        fail(winclaw, "needle")
        expect(page.locator("#live-text")).to_have_text("Live")
        expect(page.locator("#rows tbody tr")).to_have_count(rows)
        expect(page.get_by_role("button", name="Pause")).to_have_count(0)


def test_the_rows_are_bounded_and_the_newest_is_on_top(page: Page, winclaw: Running) -> None:
    page.goto(f"{winclaw.url}/errors")
    live(page)
    for _ in range(6):
        last = winclaw.core.report([Report(type="TimeoutError", message="late", component="x", operation="o")] * 50).result(10)[-1]
    expect(page.locator("#rows tbody tr").first).to_have_attribute("data-id", str(last))
    assert page.locator("#rows tbody tr").count() <= 100


def test_the_first_error_takes_the_place_of_the_instructions(page: Page, winclaw: Running) -> None:
    page.goto(f"{winclaw.url}/errors")
    live(page)
    expect(page.get_by_text("No errors yet.")).to_be_visible()
    fail(winclaw)
    expect(page.get_by_text("No errors yet.")).to_have_count(0)


def test_the_tree_counts_along_and_stays_as_it_was_folded(page: Page, winclaw: Running) -> None:
    fail(winclaw, type="RateLimitError", component="gmail_api")
    fail(winclaw, type="PromptInjectionError")
    page.clock.install()
    page.goto(f"{winclaw.url}/errors")
    live(page)
    branch = page.locator("details[data-key='transient']")
    branch.locator("summary").first.click()
    expect(branch).not_to_have_attribute("open", re.compile(""))
    page.locator("#live-text").click()
    number = fail(winclaw, type="RateLimitError", component="gmail_api")
    expect(page.locator(f"tr[data-id='{number}']")).to_be_visible()
    page.clock.fast_forward("05")
    expect(page.get_by_role("link", name="transient 2")).to_be_visible()
    expect(branch).not_to_have_attribute("open", re.compile(""))


def test_one_filter_is_taken_back_and_the_others_stay(page: Page, winclaw: Running) -> None:
    fail(winclaw)
    page.goto(f"{winclaw.url}/errors?kind=agentic.llm&severity=WARNING")
    page.get_by_role("link", name="Without kind agentic.llm").click()
    expect(page).to_have_url(f"{winclaw.url}/errors?severity=WARNING")
    expect(page.get_by_role("combobox")).to_have_value("WARNING")


def test_one_error_is_told_whole(page: Page, winclaw: Running) -> None:
    number = fail(winclaw, "late", type="LLMTimeoutError", stack=f"Traceback\n{BAIT}")
    page.goto(f"{winclaw.url}/errors/{number}")
    expect(page.get_by_role("heading", name="late")).to_be_visible()
    expect(page.get_by_text("The language model did not answer in time.")).to_be_visible()
    expect(page.get_by_role("heading", name="What helps")).to_be_visible()
    expect(page.get_by_role("region", name="Stack")).to_contain_text(BAIT)
    live(page)
    page.get_by_role("link", name="Show all of them").click()
    expect(page.locator("#rows tbody tr")).to_have_count(1)
