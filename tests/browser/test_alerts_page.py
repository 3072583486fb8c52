"""Alerts on their page: what is wrong, who was told of it and whether it has arrived, seen to with one click."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from resilience.events import Report

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tray.app import Running


def test_an_alert_comes_by_itself_and_is_acknowledged(page: Page, winclaw: Running) -> None:
    page.get_by_role("link", name="Alerts").click()
    expect(page.get_by_text("No alert so far.")).to_be_visible()
    report = Report(type="RuntimeError", message="it <b>burns</b>", component="kitchen", operation="cook", severity="CRITICAL")
    winclaw.core.report([report]).result(10)
    row = page.get_by_role("row").filter(has_text="kitchen")
    expect(row).to_contain_text("it <b>burns</b>")
    expect(row).to_contain_text("Log: delivered")
    expect(row).to_contain_text("Dashboard: delivered")
    row.get_by_role("link", name="What happened around it").click()
    expect(page.get_by_text("kitchen began to fail (Error at kitchen).")).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text="it <b>burns</b>")).to_be_visible()
    page.get_by_role("link", name="All alerts").click()
    row.get_by_role("button", name="Snooze alert 1 for an hour").click()
    expect(row).to_contain_text("not told: snoozed until")
    row.get_by_role("button", name="Be told of alert 1 again").click()
    expect(row.get_by_role("button", name="Snooze alert 1 for an hour")).to_be_visible()
    page.get_by_role("button", name="Acknowledge all").click()
    expect(row).to_contain_text("acknowledged")
    expect(row).to_contain_text("by dashboard, from 127.0.0.1")
    expect(row.get_by_role("button")).to_have_count(0)


def test_a_channel_is_tested_with_a_click_and_all_are_snoozed_with_another(page: Page) -> None:
    page.get_by_role("link", name="Alerts").click()
    expect(page.get_by_role("button", name="Test ")).to_have_count(2)
    page.get_by_role("button", name="Test Dashboard").click()
    expect(page.get_by_role("row").filter(has_text="A test")).to_contain_text("Dashboard: delivered")
    page.get_by_role("button", name="Snooze all for an hour").click()
    page.get_by_role("button", name="Tell again").click()
    expect(page.get_by_role("button", name="Snooze all for an hour")).to_be_visible()
