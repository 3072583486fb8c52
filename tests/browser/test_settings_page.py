"""The settings and their versions on their pages: seen live, and rolled back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from resilience.config.version import ConfigTrouble
from resilience.core.inputs import ConfigTroubled

if TYPE_CHECKING:
    from playwright.sync_api import Page

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
    winclaw.core.tell(ConfigTroubled(ConfigTrouble(2, "the level became Minimal, and was Full"))).result(10)
    expect(row).to_contain_text("followed by trouble: the level became Minimal")
    assert page.evaluate("window.same")
    page.get_by_role("link", name="Version 2", exact=True).click()
    expect(page.get_by_text("+# <b>mine</b>")).to_be_visible()
    page.get_by_role("link", name="Settings", exact=True).click()
    page.get_by_role("link", name="Roll back to version 1").click()
    page.get_by_role("button", name="Roll back to version 1").click()
    expect(page.get_by_text("version 3 is in force")).to_be_visible()
    expect(row).to_contain_text("rolled back to 1")
