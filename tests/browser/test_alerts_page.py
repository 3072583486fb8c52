"""Alerts on their page: what is wrong, who was told of it and whether it has arrived, seen to with one click."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from resilience.events import Report

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tray.app import Running

ARTIFACTS = Path(__file__).parent / "artifacts"


def test_an_alert_comes_by_itself_and_is_acknowledged(page: Page, winclaw: Running) -> None:
    page.get_by_role("link", name="Alerts").click()
    expect(page.get_by_text("No alert so far.")).to_be_visible()
    report = Report(type="ConnectionError", message="it <b>burns</b>", component="kitchen", operation="cook", severity="CRITICAL")
    winclaw.core.report([report]).result(10)
    row = page.get_by_role("row").filter(has_text="kitchen")
    expect(row).to_contain_text("it <b>burns</b>")
    expect(row).to_contain_text("Log: delivered")
    expect(row).to_contain_text("Dashboard: delivered")
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / "alerts.png", full_page=True)
    row.get_by_role("button", name="Acknowledge alert 1").click()
    expect(row).to_contain_text("acknowledged")
    expect(row.get_by_role("button")).to_have_count(0)
