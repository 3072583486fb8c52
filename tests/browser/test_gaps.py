"""Pages that were told less than there was: after a flood, and after a flood while they were away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, expect

from resilience.events import Report
from resilience.journal.history import ErrorFilter
from tests.browser.test_live import live
from tray.app import Running

MORE_THAN_IS_SENT = 300


def flood(winclaw: Running, first: str, then: str = "gpt-5.2") -> list[int]:
    """Of so many errors at once the first ones are not sent: their ids."""
    reports = [Report(type="RateLimitError", message=f"slow down {n}", component=first, operation="o") for n in range(5)]
    reports += [Report(type="TimeoutError", message="late", component=then, operation="ask")] * MORE_THAN_IS_SENT
    return winclaw.core.report(reports).result(10)[:5]


@contextmanager
def away(page: Page) -> Iterator[None]:
    page.context.set_offline(True)
    page.evaluate("() => window.dispatchEvent(new Event('offline'))")
    yield
    page.context.set_offline(False)
    page.evaluate("() => window.dispatchEvent(new Event('online'))")


def counted(page: Page) -> int:
    return sum(int(number) for number in page.locator("#rate-table td.n").all_text_contents())


def shown(page: Page) -> list[int]:
    return [int(number) for number in page.locator("#rows tbody tr").evaluate_all("rows => rows.map((row) => row.dataset.id)")]


def stored(winclaw: Running, limit: int) -> list[int]:
    return [event.id for event in winclaw.core.history.errors(ErrorFilter(), limit)]


def test_rows_that_were_not_sent_are_fetched(page: Page, winclaw: Running) -> None:
    page.goto(f"{winclaw.url}/errors?component=rare")
    live(page)
    unsent = flood(winclaw, first="rare")
    for number in unsent:
        expect(page.locator(f"tr[data-id='{number}']")).to_have_count(1)
    assert shown(page) == unsent[::-1]
    expect(page.locator("#troubles")).to_contain_text("slow down")


def test_the_overview_counts_what_was_not_sent_and_tells_of_it(page: Page, winclaw: Running) -> None:
    live(page)
    flood(winclaw, first="rare")
    expect(page.locator("#rate-said")).to_have_text(f"{MORE_THAN_IS_SENT + 5} in the last hour")
    assert counted(page) == MORE_THAN_IS_SENT + 5
    flood(winclaw, first="rare", then="other")
    expect(page.locator("#rate-said")).to_have_text(f"{2 * (MORE_THAN_IS_SENT + 5)} in the last hour")


def test_a_page_that_comes_back_in_a_flood_shows_each_error_once(page: Page, winclaw: Running) -> None:
    overview = page
    errors = page.context.new_page()
    errors.goto(f"{winclaw.url}/errors")
    live(errors)
    live(overview)
    with away(errors), away(overview):
        flood(winclaw, first="rare")
    while not (errors.locator("#live.on").is_visible() and overview.locator("#live.on").is_visible()):
        winclaw.core.report([Report(type="TimeoutError", message="late", component="x", operation="o")] * 10).result(10)
    last = winclaw.core.report([Report(type="TimeoutError", message="late", component="x", operation="o")]).result(10)[0]
    expect(errors.locator("#rows tbody tr").first).to_have_attribute("data-id", str(last), timeout=30_000)
    rows = shown(errors)
    assert rows == stored(winclaw, len(rows))
    total = sum(count for _, _, count in winclaw.core.history.per_minute(""))
    expect(overview.locator("#rate-said")).to_have_text(f"{total} in the last hour", timeout=30_000)
    assert counted(overview) == total
    errors.get_by_role("link", name="Older").click()
    expect(errors.locator("#rows tbody tr")).to_have_count(50)
    assert shown(errors) == stored(winclaw, len(rows) + 50)[len(rows) :]
