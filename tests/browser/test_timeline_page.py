"""The timeline in a real browser: seen, clicked, reached by keys, and true while it is open."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from resilience import home
from resilience.clock import as_text
from resilience.events import CircuitReport, Heartbeat
from resilience.journal.journal import Journal
from resilience.journal.schema import EventRecord
from tests.browser.test_live import ARTIFACTS, fail, live
from tests.resilience.records import an_error
from tray.app import Running, running

HEAL: dict[str, Any] = {
    "heal": 3, "rule": "silent", "action": "restart_service", "attempt": 1, "trigger": "no answer for 4 s", "result": "started again",
    "diagnosis": {"component": "gpt-5.2"}, "verification": "it answers", "side_effects": [], "seconds": 240.0, "actor": "",
}  # fmt: skip


def past(minutes: float, kind: str, component: str, **body: Any) -> EventRecord:
    at = datetime.now(UTC) - timedelta(minutes=minutes)
    return EventRecord(as_text(at), kind, component, json.dumps(body).encode())


def history() -> list[Any]:
    """An hour in which a circuit opened, the level fell, a heal helped, and WinClaw crashed earlier."""
    late = as_text(datetime.now(UTC) - timedelta(minutes=24.2))
    return [
        past(57, "app.started", "winclaw", version="1", away_s=130.0, crashed=True, because="it was killed by SIGKILL"),
        past(56, "agent.connected", "researcher", pid=7),
        past(40, "agent.connected", "<b>writer</b>", pid=9),
        past(30, "agent.lost", "<b>writer</b>", pid=9, last_beat=as_text(datetime.now(UTC) - timedelta(minutes=30.4))),
        an_error(at=late, message="Request timed out after 60 s"),
        past(24, "circuit.opened", "gpt-5.2", because="3 of 3 calls failed", agent="researcher"),
        past(23.9, "level.changed", "level", **{"from": "FULL", "to": "DEGRADED_LLM", "cause": "gpt-5.2 not answering; rule llm_failure."}),
        past(23, "heal.started", "gateway", outcome="running", **HEAL),
        past(19, "heal.ended", "gateway", outcome="healed", **HEAL),
        past(18, "circuit.closed", "gpt-5.2", because="it answers again"),
        past(17, "level.changed", "level", **{"from": "DEGRADED_LLM", "to": "FULL", "cause": "All is well."}),
    ]  # fmt: skip


@pytest.fixture
def winclaw(tmp_path: Path) -> Iterator[Running]:
    folder = tmp_path / "home"
    home.make_private_folder(folder)
    journal = Journal(folder / home.JOURNAL, datetime.now(UTC))
    journal.commit(history())
    journal.close()
    with running(folder, port=0) as started:
        yield started


def lane(page: Page, name: str) -> Any:
    return page.locator(f"#timeline .track[data-of='{name}']")


def test_a_click_shows_what_happened_then_and_why_and_there_is_a_way_back(page: Page, winclaw: Running) -> None:
    live(page)
    span = lane(page, "circuit:gpt-5.2").get_by_role("link")
    expect(span).to_have_accessible_name(re.compile(r"gpt-5\.2: open · 6 min · 3 of 3 calls failed · researcher"))
    span.click()
    shown = page.locator("#shown")
    expect(shown).to_contain_text("gpt-5.2 open → level 2 → Start gateway again → healed → gpt-5.2 closed → level 1 → over after 6 min")
    expect(shown).to_contain_text("gpt-5.2 not answering; rule llm_failure.")
    expect(page.locator("#troubles")).to_contain_text("Request timed out after 60 s")
    expect(page.locator("#troubles td.n")).to_have_text("1")
    live(page)
    number = fail(winclaw, "it comes now")
    winclaw.core.beat(Heartbeat(agent="newcomer")).result(10)
    expect(lane(page, "agent:newcomer")).to_be_visible()
    expect(lane(page, "errors").get_by_role("link")).to_have_count(2)
    expect(page.locator(f"#feed [data-id='{number}']")).to_have_count(0)  # what is shown stands still
    shown.get_by_role("link", name="Back to now").click()
    expect(page.locator(f"#feed [data-id='{number}']")).to_be_visible()
    assert page.url.endswith("/?window=1h")


def test_a_click_into_a_long_span_shows_the_moment_that_it_hits(page: Page) -> None:
    live(page)
    box = lane(page, "level").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + box["height"] / 2)
    expect(page.locator("#shown")).to_be_visible()
    at = datetime.fromisoformat(re.findall(r"at=([^&]+)", page.url)[0].replace("%3A", ":"))
    assert abs(datetime.now(UTC) - at - timedelta(minutes=45)) < timedelta(minutes=2)


def test_it_is_reached_by_keys_said_below_and_told_as_a_table(page: Page, winclaw: Running) -> None:
    live(page)
    said = page.locator("#timeline-said")
    page.get_by_role("link", name="7d").focus()
    page.keyboard.press("Tab")
    expect(said).to_have_text(re.compile(r"Level: Full .*All is well\."))
    page.keyboard.press("ArrowLeft")
    expect(said).to_contain_text("Level: Degraded LLM")
    page.keyboard.press("ArrowDown")
    expect(said).to_contain_text("gpt-5.2: open")
    page.keyboard.press("Enter")
    expect(page.locator("#shown")).to_contain_text("over after 6 min")
    page.locator("#timeline summary").click()
    row = page.locator("#timeline tr").filter(has_text="Degraded LLM").first
    expect(row).to_contain_text("6 min 54 s")
    expect(page.locator("#timeline tr").filter(has_text="<b>writer</b>").last).to_contain_text(re.compile("up (9|10) of (59|60) minutes"))
    expect(row.locator("time").first).to_have_attribute("title", re.compile("UTC$"))


def test_it_is_true_while_it_is_open_and_keeps_the_focus_and_the_fold(page: Page, winclaw: Running) -> None:
    live(page)
    page.locator("#timeline summary").click()
    lane(page, "circuit:gpt-5.2").get_by_role("link").focus()
    report = CircuitReport(service="gmail_api", state="OPEN", change=1, because="5 calls failed", retry_after_s=600.0)
    winclaw.core.beat(Heartbeat(agent="researcher", pid=7, circuits=(report,))).result(10)
    expect(lane(page, "circuit:gmail_api").get_by_role("link")).to_have_accessible_name(re.compile("gmail_api: open"))
    expect(lane(page, "circuit:gpt-5.2").get_by_role("link")).to_be_focused()
    expect(page.locator("#timeline details")).to_have_attribute("open", "")
    expect(page.locator("#agents .beats").first).to_have_attribute("aria-label", re.compile(r"^researcher: up \d+ of \d+ minutes"))


def test_it_is_whole_without_scripts_at_every_width_and_in_both_themes(chromium: Browser, context: BrowserContext, winclaw: Running) -> None:
    ARTIFACTS.mkdir(exist_ok=True)
    for scheme, width in (("light", 1280), ("dark", 320)):
        with chromium.new_context(java_script_enabled=False, color_scheme=scheme, viewport={"width": width, "height": 900}) as plain:  # type: ignore[arg-type]
            page = plain.new_page()
            page.goto(winclaw.access.login_link())
            assert page.locator("html").evaluate("all => all.scrollWidth - all.clientWidth") <= 0
            lane(page, "circuit:gpt-5.2").get_by_role("link").click()
            expect(page.locator("#shown")).to_contain_text("over after 6 min")
            assert page.locator("html").evaluate("all => all.scrollWidth - all.clientWidth") <= 0
            page.screenshot(path=ARTIFACTS / f"timeline-{scheme}-{width}.png", full_page=True)
