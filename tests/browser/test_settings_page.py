"""The settings and their versions on their pages: seen live, and rolled back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from resilience.config.version import ConfigTrouble
from resilience.core.inputs import ConfigTroubled

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tray.app import Running

OTHER = (
    "# <b>mine</b>\nerror_handling:\n  circuit_breaker: {default: {failure_threshold: 3}}\n"
    "  services: {a-service-with-a-rather-long-name-that-needs-room: {description: it is new}}\n"
)


def test_a_saved_configuration_is_seen_live_and_rolled_back(page: Page, winclaw: Running, tmp_path: Path) -> None:
    page.get_by_role("link", name="Settings").click()
    page.evaluate("window.same = true")
    expect(page.get_by_text("Every setting has its default.")).to_be_visible()
    (tmp_path / "home" / "error_handling_config.yaml").write_text(OTHER)
    row = page.get_by_role("listitem").filter(has=page.get_by_role("link", name="Version 2", exact=True))
    expect(row).to_contain_text("in force")
    expect(page.get_by_text("circuit_breaker.default.failure_threshold: 5 → 3").first).to_be_visible()
    _look_for_one(page)
    winclaw.core.tell(ConfigTroubled(ConfigTrouble(2, "the level became Minimal, and was Full"))).result(10)
    expect(row).to_contain_text("followed by trouble: the level became Minimal")
    assert page.evaluate("window.same")
    page.get_by_role("link", name="Version 2", exact=True).click()
    expect(page.get_by_text("+# <b>mine</b>")).to_be_visible()
    page.get_by_label("Compare with").select_option("version 1")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("region", name="Difference, line by line")).to_contain_text("+# <b>mine</b>")
    page.get_by_role("link", name="Settings", exact=True).click()
    page.get_by_role("link", name="Roll back to version 1").click()
    page.get_by_role("button", name="Roll back to version 1").click()
    expect(page.get_by_text("version 3 is in force")).to_be_visible()
    expect(row).to_contain_text("rolled back to 1")


def _look_for_one(page: Page) -> None:
    """The setting that was saved is found by a word, with the keyboard alone: its value, default, line and meaning."""
    page.get_by_text("When calls to a failing service are stopped.").click()
    setting = page.get_by_role("row").filter(has_text="default.failure_threshold")
    expect(setting).to_contain_text("failures in a row that open it")
    expect(setting.get_by_role("cell")).to_have_text([re.compile("failures in a row"), "3", "5", "line 3"])
    page.get_by_role("searchbox", name="Find").focus()
    page.keyboard.type("hours logged in")
    expect(page.get_by_text("1 found", exact=True)).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="session_hours")).to_be_visible()
    expect(setting).to_be_hidden()
    page.keyboard.press("Escape")
    expect(setting).to_be_visible()
    page.get_by_label("only what is other than by default").check()
    expect(page.get_by_role("row").filter(has_text="success_threshold")).to_have_count(0)
    expect(page.get_by_text("a-service-with-a-rather-long-name")).not_to_have_count(0)
    page.get_by_label("only what is other than by default").uncheck()


def test_without_scripts_every_setting_is_there_and_what_is_wrong_is_located(
    chromium: Browser, winclaw: Running, tmp_path: Path
) -> None:
    file = tmp_path / "home" / "error_handling_config.yaml"
    file.write_text("error_handling:\n  tray: {toasts: 3}\n  retry: {budget: {burst: many}}\n")
    while not winclaw.core.state.notices:
        winclaw.core.wait_for_change(winclaw.core.state.version, 1)
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(winclaw.access.login_link("/settings"))
    wrong = page.get_by_role("table", name="What is wrong in").get_by_role("row")
    expect(wrong.nth(1)).to_contain_text("error_handling.tray.toasts")
    expect(wrong.nth(2).get_by_role("cell").first).to_have_text("3")
    page.get_by_text("How long the journal remembers.").click()
    expect(page.get_by_role("row").filter(has_text="max_age_days")).to_contain_text("90 days")
    assert page.locator("tr").count() < 500
    assert page.get_by_role("searchbox").count() == 0
    context.close()
