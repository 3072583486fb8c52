"""The page of recovery: what can be gone back to, a plan before anything is done, and what came of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect

import resilience
from tests.dashboard.remembering import remembering

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tray.app import Running

HOSTILE = '<img src=x onerror="alert(1)">'


def test_a_component_is_recovered_from_its_plan_to_its_end(page: Page, winclaw: Running, tmp_path: Path) -> None:
    page.get_by_role("link", name="Recovery").click()
    expect(page.get_by_text("Nothing has had to be recovered yet.")).to_be_visible()
    expect(page.get_by_text("None: every transaction was committed")).to_be_visible()
    with remembering(winclaw.core, tmp_path / "home") as (agent, memory):
        agent.checkpoint({"x": 1}, HOSTILE, metadata={"operation": HOSTILE})
        memory["facts"] = []
        page.reload()
        row = page.get_by_role("row", name=re.compile("memory")).first
        expect(row).to_contain_text("asked for")
        expect(page.get_by_text(f"before {HOSTILE}")).to_be_visible()
        page.get_by_label("Of what").fill("nothing")
        page.get_by_role("button", name="Show the plan").click()
        expect(page.get_by_role("alert").filter(has_text="Nothing can be done for nothing")).to_be_visible()
        page.get_by_role("row", name=re.compile("memory")).first.get_by_role("link").click()
        expect(page.get_by_role("list", name="The plan")).to_contain_text("Restore memory from its checkpoint of")
        assert memory == {"facts": []}
        page.get_by_role("button", name="Begin").click()
        expect(page.get_by_role("heading", name="Recover memory recovered, 2 of 2 steps")).to_be_visible(timeout=20_000)
        expect(page.get_by_text("memory is recovered.")).to_be_visible()
        assert memory == {"facts": [1, 2]}
        page.get_by_role("link", name="All of recovery").click()
        expect(page.get_by_role("row", name=re.compile("Recover memory"))).to_contain_text("recovered")


def test_a_transaction_that_is_left_is_shown_and_a_hostile_name_is_only_text(page: Page, tmp_path: Path) -> None:
    home = tmp_path / "home"
    agent = resilience.connect("bot", folder=home)

    def fails(_: Any) -> None:
        raise OSError(HOSTILE)

    try:
        with agent.transaction(HOSTILE) as tx:
            tx.do(lambda: 1, undo=fails)
            raise KeyError("stop")
    except KeyError:
        pass
    page.goto(page.url.rpartition("/")[0] + "/recovery")
    expect(page.get_by_text("left undone: a person has to see to it")).to_be_visible()
    expect(page.get_by_text(HOSTILE).first).to_be_visible()
    agent.close()
