"""The circuits page in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

import resilience
from resilience.events import CircuitReport, Heartbeat
from tests.browser.test_live import live
from tests.failing import fail

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tray.app import Running


def test_a_circuit_opens_on_the_open_page_and_is_commanded_there(page: Page, winclaw: Running, tmp_path: Path) -> None:
    page.get_by_role("link", name="Circuits").click()
    page.get_by_text("No agent has protected a call yet").wait_for()
    agent = resilience.connect("night-runner", folder=tmp_path / "home")
    call = agent.protect("gpt-5.2", retry="none")(fail)
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            call()
    row = page.get_by_role("row", name="gpt-5.2")
    row.get_by_text("3 calls in a row failed · seen by night-runner").wait_for()
    assert "open" in (row.text_content() or "")
    row.get_by_role("button", name="Isolate gpt-5.2").click()
    page.get_by_role("row", name="gpt-5.2").get_by_text("isolated by dashboard").wait_for()
    page.get_by_role("button", name="Release gpt-5.2").click()
    page.get_by_role("button", name="Close gpt-5.2").click()
    page.get_by_text("closed by dashboard").wait_for()
    page.get_by_role("link", name="Overview").click()
    page.get_by_text("1 of 1 answer").wait_for()
    agent.close()


def test_what_has_the_focus_does_not_keep_the_page_from_telling_the_truth(page: Page, winclaw: Running) -> None:
    """The button that has it is gone with what it was for; the focus goes to its neighbour in the row."""
    said = CircuitReport(service="gmail_api", state="CLOSED", change=0)
    winclaw.core.beat(Heartbeat(agent="a", pid=1, circuits=(said,))).result(10)
    page.goto(f"{winclaw.url}/circuits")
    live(page)
    page.get_by_role("button", name="Isolate gmail_api").focus()
    winclaw.core.switch_circuit("gmail_api", "isolate", actor="you", origin="elsewhere").result(10)
    expect(page.get_by_role("row", name="gmail_api")).to_contain_text("isolated by you")
    expect(page.get_by_role("button", name="Release gmail_api")).to_be_focused()
