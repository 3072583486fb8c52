"""The timeline over HTTP: the window, the chosen moment, and what belongs to it."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from urllib.parse import quote

import pytest

from resilience.clock import as_text
from resilience.degradation.levels import DegradationLevel
from resilience.events import CircuitReport, Heartbeat
from tests.dashboard.conftest import Caller
from tests.dashboard.test_pages import Visitor, fail


@pytest.fixture
def visitor(call: Caller) -> Visitor:
    return Visitor(call)


def opened(call: Caller, because: str = "3 of 3 calls failed") -> str:
    """A circuit that opens; returns when."""
    core = call.winclaw.core
    report = CircuitReport(service="gpt-5.2", state="OPEN", change=1, because=because, retry_after_s=600.0)
    core.beat(Heartbeat(agent="researcher", pid=1, circuits=(report,))).result(10)
    return next(one.at for one in core.history.events(0) if one.type == "circuit.opened")


def text(page: str) -> str:
    return html.unescape(" ".join(re.sub("<[^>]+>", " ", page).split()))


def section(page: str, name: str) -> str:
    return page[page.index(f'id="{name}"') :].partition("</section>")[0]


def test_the_overview_shows_what_changed_as_links_and_as_a_table(call: Caller, visitor: Visitor) -> None:
    at = opened(call, "<b>hostile</b>")
    fail(call)
    shown = section(visitor.see("/"), "timeline")
    assert f'href="/?window=1h&amp;at={quote(at)}&amp;of=circuit%3Agpt-5.2"' in shown
    assert "<b>hostile</b>" not in shown
    assert "<b>hostile</b>" in text(shown)
    rows = [text(row) for row in re.findall(r"<tr>(.*?)</tr>", shown, re.DOTALL)]
    assert any(row.startswith("gpt-5.2 open ") and " now " in row for row in rows)
    assert any(row.startswith("researcher there ") for row in rows)
    assert any(row.startswith("Errors 1 error ") for row in rows)


def test_each_window_is_a_link_and_says_which_one_it_is(visitor: Visitor) -> None:
    for window in ("1h", "24h", "7d"):
        shown = section(visitor.see(f"/?window={window}"), "timeline")
        assert re.findall(r'href="/\?window=(\w+)" aria-current="true"', shown) == [window]


def test_a_moment_filters_what_happened_and_the_errors(call: Caller, visitor: Visitor) -> None:
    opened(call)
    fail(call, "the model is late", times=3)
    call.winclaw.core.set_level(DegradationLevel.MINIMAL, actor="tray", origin="this machine").result(10)
    now = call.winclaw.core.clock.now()
    here, earlier = (visitor.see(f"/?at={quote(as_text(one))}") for one in (now, now - timedelta(minutes=30)))
    assert "Degraded LLM → Minimal" in text(section(here, "feed-title"))
    assert "the model is late" in text(section(here, "errors-title"))
    assert "Back to now" in text(section(here, "shown"))
    assert "Nothing was written down in that time." in text(section(earlier, "feed-title"))
    assert "No error came in that time." in text(section(earlier, "errors-title"))
    assert 'id="shown"' not in visitor.see("/")


def test_a_span_that_is_chosen_tells_its_causes_and_its_end(call: Caller, visitor: Visitor) -> None:
    at = opened(call)
    level = next(one for one in call.winclaw.core.history.events(0) if one.type == "level.changed")
    page = visitor.see(f"/?window=1h&at={quote(at)}&of=circuit%3Agpt-5.2")
    shown = text(section(page, "shown"))
    assert "How it came about, and what followed: gpt-5.2" in shown
    assert "gpt-5.2 open → level 2 → not over yet, after " in shown
    assert level.body["cause"] in shown
    assert re.search(r'<li data-id="\d+" aria-current="true"', section(page, "feed"))
    assert 'aria-current="true"><title' in section(page, "timeline")


def test_what_is_no_window_and_no_moment_is_said(call: Caller, visitor: Visitor) -> None:
    for query in ("window=2h", "at=yesterday", "at=2026-01-01T12:00", "at=0001-01-01T00:00Z", "at=2026-01-01T12:00:00%2B99:00"):
        visitor.see(f"/?{query}", status=422)
    answer = call("GET", "/api/v1/timeline?window=2h", headers=call.operator)
    assert (answer.status, answer.json["field"]) == (422, "window")


def test_a_lane_that_is_not_there_has_no_causes_and_does_no_harm(call: Caller, visitor: Visitor) -> None:
    for of in ("circuit:nobody", "level:x", "<script>", "errors", "x" * 5000, "\u202e", "winclaw"):
        page = visitor.see(f"/?at={quote(as_text(call.winclaw.core.clock.now()))}&of={quote(of)}")
        assert "How it came about" not in page
        assert "<script>" not in page


def test_the_api_gives_the_same_to_agents_too(call: Caller) -> None:
    at = opened(call)
    fail(call)
    for headers in (call.operator, call.agent):
        found = call("GET", "/api/v1/timeline?window=24h", headers=headers).json
        lanes = {one["lane"]: one for one in found["lanes"]}
        assert (found["window"], found["left_out"], found["errors"][0]["errors"]) == ("24h", {}, 1)
        assert lanes["circuit:gpt-5.2"]["spans"][0] == {
            "since": at, "until": None, "what": "open", "tone": "bad", "detail": "3 of 3 calls failed · researcher",
        }  # fmt: skip
        assert next(iter(lanes)) == "level"


def test_agents_have_bars_of_the_last_hour_with_their_words(call: Caller, visitor: Visitor) -> None:
    opened(call)
    assert re.search(r'aria-label="researcher: up 0 of \d\d minutes in the last hour"', section(visitor.see("/"), "agents"))
