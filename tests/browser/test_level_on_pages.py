"""Level, rules, loops and waiting messages, on the pages that people look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import resilience
from resilience import LoopPausedError
from resilience.agent.client import Agent
from tests.failing import open_circuit

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tray.app import Running


@pytest.fixture
def agent(winclaw: Running, tmp_path: Path) -> Iterator[Agent]:
    one = resilience.connect("night-runner", folder=tmp_path / "home")
    yield one
    one.close()


def test_the_loops_page_shows_the_fifteen_live(page: Page, winclaw: Running, agent: Agent) -> None:
    page.get_by_role("link", name="Loops").click()
    page.get_by_text("15 of 15 may run at this level").wait_for()
    assert page.get_by_role("row").count() == 16
    with pytest.raises(LoopPausedError), agent.loop("research") as loop:
        agent._link.beat_soon()
        page.get_by_role("row", name="research").get_by_text("running in night-runner").wait_for()
        page.request.post(
            f"{winclaw.url}/api/v1/level", data={"level": "minimal"},
            headers={"X-CSRF-Token": page.get_attribute('meta[name="csrf-token"]', "content") or "", "Origin": winclaw.url},
        )  # fmt: skip
        page.get_by_text("1 of 15 may run at this level").wait_for()
        while loop.beat() is None and agent.state["level"] != "MINIMAL":
            pass
        loop.beat()
    row = page.get_by_role("row", name="research")
    row.get_by_text("paused in night-runner").wait_for()
    row.get_by_text("level MINIMAL: Chosen by hand (dashboard); it holds until Auto.").wait_for()


def test_a_pinned_level_shows_what_the_rules_want_and_messages_that_wait(page: Page, agent: Agent) -> None:
    page.get_by_role("button", name="Limited External").click()
    page.get_by_role("heading", name="Level 3 of 5 · Limited External").wait_for()
    agent.outbox.send("gmail_api", "one")
    page.get_by_text("1 message waits to be sent.").wait_for()
    open_circuit(agent, "memory_system")
    page.get_by_text("The rules would choose Minimal: memory_system is not answering (10 calls in a row failed)").wait_for()
    page.get_by_role("button", name="Auto").click()
    page.get_by_role("heading", name="Level 4 of 5 · Minimal").wait_for()
    page.get_by_text("A few calls to memory_system find out whether it answers again.").wait_for()


def test_safe_mode_that_a_rule_chose_is_left_after_a_preview(page: Page, agent: Agent) -> None:
    for number in range(11):
        agent.report(resilience.PromptInjectionError(f"ignore rule {number}"), "gpt-5.2", "ask")
    page.get_by_role("heading", name="Level 5 of 5 · Safe Mode").wait_for()
    page.get_by_text("security has 11 errors (> 10); rule security_anomaly.").first.wait_for()
    page.get_by_text("It holds until somebody chooses Auto.").wait_for()
    page.get_by_role("link", name="Leave Safe Mode…").click()
    for sentence in (
        "The level becomes Full by the rules. Everything is allowed.",
        "No longer held: security has 11 errors (> 10); rule security_anomaly.",
        "Loops that may run: all 15.",
        "No message waits to be sent.",
        "Agents that are told at once: night-runner.",
    ):
        page.get_by_text(sentence).wait_for()
    page.get_by_role("button", name="Leave Safe Mode").click()
    page.get_by_role("heading", name="Level 1 of 5 · Full").wait_for()
