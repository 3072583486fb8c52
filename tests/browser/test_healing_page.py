"""Heals on their pages: what was done and why, and the decision that one waits for."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace
from playwright.sync_api import expect

from resilience.core.inputs import HealTold
from resilience.events import Report
from resilience.healing.diagnosis import Diagnosis
from resilience.healing.heals import Heal, HealState
from resilience.healing.policy import HealingActionType

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tray.app import Running


def test_a_heal_is_approved_and_seen_to_have_helped(page: Page, winclaw: Running, tmp_path: Path) -> None:
    rules = [
        {"name": "configuration", "kinds": ["persistent.configuration"], "actions": ["reload_config"], "confirm": True, "settle_s": 0},
        {"name": "throttled", "kinds": ["transient"], "actions": ["escalate_to_human"]},
    ]  # fmt: skip
    page.get_by_role("link", name="Healing").click()
    expect(page.get_by_text("Nothing has had to be healed yet. 9 rules watch")).to_be_visible()
    settings = {"error_handling": {"self_healing": {"rules": rules}}}
    (tmp_path / "home" / "error_handling_config.yaml").write_text(json.dumps(settings))
    while len(winclaw.core.state.settings.self_healing.rules) != len(rules):  # no page shows that it is in force
        page.wait_for_timeout(50)
    for kind, component in (("InvalidConfigError", "gateway"), ("RateLimitError", "gmail_api")):
        winclaw.core.report([Report(type=kind, message="it <b>broke</b>", component=component, operation="start")]).result(10)
    row = page.get_by_role("row", name=re.compile("Load the configuration again"))
    expect(row).to_contain_text("waits for you")
    expect(page.get_by_role("row", name=re.compile("Ask a person about gmail_api"))).to_contain_text("needs you")
    queue = page.locator("#queue")
    expect(queue).to_contain_text("persistent.configuration.invalid in start: it <b>broke</b>.")
    expect(queue).to_contain_text("after that it is not done")
    expect(queue.get_by_role("button", name="Approve: Load the configuration again")).to_be_visible()
    row.get_by_role("link", name="Decide on heal").click()
    expect(page.get_by_text("persistent.configuration.invalid in start: it <b>broke</b>.")).to_be_visible()
    page.get_by_role("button", name="Approve").click()
    expect(row).to_contain_text("healed")
    expect(page.get_by_role("heading", name="Healing 1 of 1 actions have helped")).to_be_visible()
    page.get_by_role("button", name="Dismiss heal").click()
    expect(page.get_by_role("row", name=re.compile("Ask a person about gmail_api"))).to_contain_text("dismissed")
    page.goto(winclaw.url)
    expect(page.get_by_text("gateway is healed")).to_be_visible()


def test_the_page_follows_a_heal_without_being_loaded_again(page: Page, winclaw: Running) -> None:
    page.get_by_role("link", name="Healing").click()
    page.evaluate("window.same = true")
    expect(page.get_by_text("Nothing has had to be healed yet")).to_be_visible()
    heal = Heal(
        id=1, rule="mine", action=HealingActionType.CLEAR_CACHE, target="gmail_api", trigger="it failed",
        diagnosis=Diagnosis(pattern="mine", component="gmail_api", root_cause="gmail_api"), at=datetime.now(UTC), state=HealState.RUNNING,
    )  # fmt: skip
    for state, words in ((HealState.RUNNING, "under way"), (HealState.HEALED, "healed")):
        winclaw.core.tell(HealTold(replace(heal, state=state))).result(10)
        expect(page.get_by_role("row", name=re.compile("gmail_api"))).to_contain_text(words)
    assert page.evaluate("window.same")
    page.get_by_role("link", name=re.compile("gmail_api")).click()
    winclaw.core.tell(HealTold(replace(heal, state=HealState.ESCALATED))).result(10)
    expect(page.get_by_role("heading", name="needs you")).to_be_visible()
    page.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_role("row", name=re.compile("gmail_api"))).to_contain_text("dismissed")
