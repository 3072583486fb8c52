"""Alerts on their page: what is wrong, who was told of it and whether it has arrived, seen to with one click."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from resilience.events import Report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tray.app import Running


def test_an_alert_comes_by_itself_and_is_acknowledged(page: Page, winclaw: Running) -> None:
    page.get_by_role("link", name="Alerts").click()
    expect(page.get_by_text("No alert so far.")).to_be_visible()
    report = Report(type="RuntimeError", message="it <b>burns</b>", component="kitchen", operation="cook", severity="CRITICAL")
    winclaw.core.report([report]).result(10)
    row = page.get_by_role("region", name="Alerts", exact=True).get_by_role("row").filter(has_text="kitchen")
    expect(row).to_contain_text("it <b>burns</b>")
    expect(row).to_contain_text("Log: delivered")
    expect(row).to_contain_text("Dashboard: delivered")
    told = page.get_by_role("region", name="Messages, newest first").get_by_role("row").filter(has_text="kitchen")
    expect(told).to_have_count(2)
    expect(told.first).to_contain_text("that it began")
    expect(told.first).to_contain_text("delivered after")
    row.get_by_role("link", name="What happened around it").click()
    expect(page.get_by_text("kitchen began to fail (Error at kitchen).")).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text="it <b>burns</b>")).to_be_visible()
    page.get_by_role("link", name="All alerts").click()
    page.evaluate("window.same = true")
    row.get_by_role("button", name="Snooze alert 1 for an hour").click()
    expect(row).to_contain_text("not told: snoozed until")
    expect(page.get_by_role("region", name="Not told").get_by_role("row").filter(has_text="kitchen")).to_contain_text("snoozed until")
    row.get_by_role("button", name="Tell again of alert 1").click()
    expect(row.get_by_role("button", name="Snooze alert 1 for an hour")).to_be_visible()
    assert page.evaluate("window.same"), "the page stays where it is"
    page.get_by_role("button", name="Acknowledge all").click()
    expect(row).to_contain_text("acknowledged")
    expect(row).to_contain_text("by dashboard, from 127.0.0.1")
    expect(row.get_by_role("button")).to_have_count(0)


def test_a_channel_is_tested_with_a_click_and_all_are_snoozed_with_another(page: Page) -> None:
    page.get_by_role("link", name="Alerts").click()
    expect(page.get_by_role("button", name="Test ")).to_have_count(2)
    page.get_by_role("button", name="Test Dashboard").click()
    alerts = page.get_by_role("region", name="Alerts", exact=True)
    expect(alerts.get_by_role("row").filter(has_text="A test")).to_contain_text("Dashboard: delivered")
    page.get_by_role("button", name="Snooze all for an hour").click()
    page.get_by_role("button", name="Tell again", exact=True).click()
    expect(page.get_by_role("button", name="Snooze all for an hour")).to_be_visible()


def test_what_needs_you_is_seen_to_on_the_first_page_with_and_without_scripts(
    page: Page, winclaw: Running, chromium: Browser
) -> None:
    for kitchen in ("north <b>kitchen</b>", "south kitchen"):
        winclaw.core.report(
            [Report(type="RuntimeError", message="it burns", component=kitchen, operation="cook", severity="CRITICAL")]
        ).result(10)
    needs = page.locator("#needs")
    expect(needs.get_by_role("button", name="Acknowledge: Error at north <b>kitchen</b>")).to_be_visible()
    page.evaluate("window.same = true")
    needs.get_by_role("button", name="Snooze: Error at north").click()
    expect(needs.get_by_role("button", name="Tell again: Error at north")).to_be_visible()
    expect(needs).to_contain_text("It is snoozed until")
    needs.get_by_role("button", name="Acknowledge: Error at north").click()
    expect(needs.get_by_role("heading")).to_have_text("Needs you 1")
    assert page.evaluate("window.same")
    plain = chromium.new_context(java_script_enabled=False)
    other = plain.new_page()
    other.goto(winclaw.access.login_link())
    other.get_by_role("button", name="Acknowledge: Error at south kitchen").click()
    expect(other.locator("#needs")).to_contain_text("Nothing needs you.")
    assert other.url == f"{winclaw.url}/"
    plain.close()
    expect(needs).to_contain_text("Nothing needs you.")
