"""Why something came to be, and what came of it: what the events say, and nothing that they do not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dashboard.present import causality
from dashboard.present.causality import Episode
from dashboard.present.spans import Lane, Span
from dashboard.present.windows import Moment
from resilience.alerting.alerts import Alert, Cause, Telling, TellingState
from resilience.clock import as_text
from resilience.context import ErrorSeverity
from resilience.events import Event
from tests.dashboard.present.conftest import NOW
from tests.dashboard.present.test_lanes import at, event, heal, level


def error(minutes: float, component: str = "gpt-5.2", fingerprint: str = "f") -> Event:
    body = {"message": "it is late", "operation": "ask", "kind": "k", "severity": "ERROR", "fingerprint": fingerprint}
    return Event(int(minutes * 1000), as_text(at(minutes)), "error", component, body)


def alert(minutes: float, component: str = "gpt-5.2", about: str = "error:f", **more: Any) -> Alert:
    cause = Cause(about=about, title="It burns", message="M", severity=ErrorSeverity.CRITICAL, component=component)
    return Alert(id=7, cause=cause, at=at(minutes), last_at=at(minutes), **more)


def span(begins: float, ends: float | None, word: str = "open", detail: str = "", href: str = "") -> Span:
    return Span(at(begins), at(ends) if ends is not None else None, word, "bad", "sq", detail, "", href)


# What the brief of the whole is about: opened, level 2, Ollama, healed, over.
STORY = (
    error(9.5), error(9.8), event(10, "circuit.opened", because="3 of 3 calls failed"),
    level(10.1, "FULL", "DEGRADED_LLM", "gpt-5.2 not answering; rule llm_failure."),
    heal(10.2, "started", 3, "running", diagnosis={"component": "gpt-5.2"}), heal(10.5, "ended", 3, "healed", diagnosis={"component": "gpt-5.2"}),
    event(10.65, "circuit.half_open"), event(10.7, "circuit.closed"), level(11.5, "DEGRADED_LLM", "FULL", "All is well."),
)  # fmt: skip
OTHERS = (
    error(10.2, "gmail_api", "g"), event(10.3, "circuit.opened", "gmail_api"), level(12, "FULL", "MINIMAL", "gmail_api not answering."),
    event(10.4, "audit"), event(10.4, "command", asked="reset"), error(8.9), error(12), event(12.5, "circuit.opened"), event(10.3, "heal.started", "x", heal=9, action="y", outcome="running", trigger=""),
)  # fmt: skip


def chain(*events: Event, alerts: tuple[Alert, ...] = (), of: str = "gpt-5.2", ends: float | None = 10.7) -> dict[str, Any]:
    return causality.chain(Episode(span(10, ends), frozenset({of})), events, alerts, NOW)


def test_the_chain_tells_what_led_to_it_what_came_of_it_and_how_long_it_took() -> None:
    found = chain(*STORY, *OTHERS)
    assert found["short"] == "gpt-5.2 open → level 2 → Start gateway again → healed → gpt-5.2 half-open → gpt-5.2 closed → level 1 → over after 42 s"
    assert [step["line"]["text"] for step in found["steps"]] == [
        "it is late", "gpt-5.2 is open", "Full → Degraded LLM", "Healing gateway: start gateway again", "gateway is healed",
        "gpt-5.2 is half-open", "gpt-5.2 is closed", "Degraded LLM → Full",
    ]  # fmt: skip
    assert [step["times"] for step in found["steps"]][:2] == [2, 1]
    assert found["steps"][1]["line"]["detail"] == "circuit · 3 of 3 calls failed"
    assert found["steps"][2]["line"]["detail"] == "gpt-5.2 not answering; rule llm_failure."


def test_what_goes_on_is_not_called_over() -> None:
    assert chain(*STORY[:4], ends=None)["over"] == "not over yet, after 50 min"
    assert chain(ends=10)["over"] == "over at once"


def test_a_level_that_rises_step_by_step_belongs_to_it_until_it_is_where_it_was() -> None:
    steps = (
        level(10, "FULL", "MINIMAL", "gpt-5.2 fails"), level(11, "MINIMAL", "LIMITED_EXTERNAL", "Rising step by step."),
        level(12, "LIMITED_EXTERNAL", "FULL", "All is well."), level(13, "FULL", "MINIMAL", "gmail fails"),
    )  # fmt: skip
    assert chain(*steps)["short"].split(" → ")[:-1] == ["level 4", "level 3", "level 1"]


def test_an_alert_belongs_to_it_with_what_each_channel_did() -> None:
    def told(channel: str, state: TellingState) -> Telling:
        return Telling(key=channel, channel=channel, what="raised", text="", at=NOW, state=state)

    tellings = (told("email", TellingState.DELIVERED), told("toast", TellingState.DELIVERED), told("sms", TellingState.FAILED), told("log", TellingState.WAITING))
    found = chain(*STORY, alerts=(alert(10.05, tellings=tellings), alert(10, "gmail_api"), alert(12)))
    (step,) = [one for one in found["steps"] if one["type"] == "alert"]
    assert step["line"]["text"] == "Alert: It burns"
    assert step["line"]["detail"] == "told by email, toast; did not arrive by sms; waits for log"
    assert (step["line"]["href"], found["alerts"]) == ("/alerts#alert-7", [7])
    assert [one["type"] for one in found["steps"]].index("alert") == 2
    assert chain(alerts=(alert(10),))["steps"][0]["line"]["detail"] == "nobody was told"


def test_an_alert_of_the_level_belongs_to_it_if_the_level_fell_for_it() -> None:
    of_level = alert(10.2, "level", "level")
    assert chain(*STORY, alerts=(of_level,))["alerts"] == [7]
    assert chain(STORY[2], alerts=(of_level,))["alerts"] == []


def test_a_long_chain_keeps_its_beginning_and_its_end() -> None:
    many = [event(10 + number / 100, "circuit.opened", because=str(number)) for number in range(40)]
    found = chain(*many, ends=20)
    details = [step["line"]["detail"] for step in found["steps"]]
    assert (len(details), found["left_out"]) == (causality.MOST, 40 - causality.MOST)
    assert (details[0], details[-1]) == ("circuit · 0", "circuit · 39")
    assert found["short"] == "gpt-5.2 open → over after 10 min"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("gpt-5.2 not answering", True), ("rule x: gpt-5.2.unhealthy", False), ("gpt-5.2.", True), ("(gpt-5.2)", True),
        ("my-gpt-5.2", False), ("gpt-5.20", False), ("gpt-5.2-mini", False), ("gpt-5x2", False), ("", False),
    ],
)  # fmt: skip
def test_a_cause_names_a_component_as_a_word_of_its_own(text: str, named: bool) -> None:
    assert causality.names(text, "gpt-5.2") is named
    assert not causality.names(text, "")


def episode(key: str, minutes: float, *spans: Span, events: tuple[Event, ...] = STORY, alerts: tuple[Alert, ...] = ()) -> Episode | None:
    return causality.episode([Lane("another", "Level", ()), Lane(key, "x", spans)], Moment(at(minutes), key), events, alerts, NOW)


def test_of_a_circuit_all_that_followed_without_a_break_is_one() -> None:
    lane = (span(1, 2), span(10, 12), span(12, 13, "half-open"), span(13, 15), span(16, None))
    found = episode("circuit:gpt-5.2", 12.5, *lane)
    assert found == (lane[2]._replace(since=at(10), until=at(15)), {"gpt-5.2"})
    assert episode("circuit:gpt-5.2", 30, *lane) == (lane[-1], {"gpt-5.2"})
    assert episode("circuit:gpt-5.2", 5, *lane) is None
    assert causality.episode([], Moment(at(1), "level"), (), (), NOW) is None


def test_what_is_chosen_is_what_began_at_that_moment_rather_than_what_ended_then() -> None:
    first, second = span(1, 2), span(2, 3)
    assert episode("level", 2, first, second) == (second, frozenset())


def test_of_a_level_it_is_the_components_that_its_cause_names() -> None:
    found = episode("level", 11, span(10.1, 11.5, "Degraded LLM", "gpt-5.2 not answering; rule llm_failure."), events=(*STORY, *OTHERS))
    assert found is not None
    assert found.of == {"gpt-5.2"}


def test_of_a_heal_it_is_what_was_healed_and_where_the_trouble_was() -> None:
    found = episode("healing", 10.3, span(10.2, 10.5, href="/healing/3"))
    assert found is not None
    assert found.of == {"gateway", "gpt-5.2"}


def test_of_an_alert_it_is_its_component_until_it_is_resolved() -> None:
    one = alert(10, resolved_at=at(30))
    found = episode("alerts", 10, span(10, 10, href="/alerts#alert-7"), alerts=(one,))
    assert found is not None
    assert (found.of, found.span.until) == ({"gpt-5.2"}, at(30))
    assert episode("alerts", 10, span(10, 10, href="/alerts#alert-8"), alerts=(one,)) is None


def test_of_winclaw_agents_and_processes_it_is_themselves() -> None:
    for key, of in (("winclaw", {"winclaw", "journal"}), ("agent:a", {"a"}), ("process:p:q", {"p:q"})):
        found = episode(key, 1, span(1, 2), span(2, 3))
        assert found is not None
        assert found.of == of
        assert found.span.until == at(3 if key.startswith("process") else 2)


def test_every_sort_of_event_has_its_short_word_or_none() -> None:
    kinds = {
        "process.exited": "gpt-5.2 ended", "process.silent": "gpt-5.2 silent", "agent.lost": "gpt-5.2 lost", "app.started": "WinClaw started again",
        "heal.escalated": "needs a person", "circuit.isolated": "gpt-5.2 isolated", "anomaly.began": "", "level.changed": "level ?",
    }  # fmt: skip
    assert {kind: causality._word(event(1, kind)) for kind in kinds} == kinds
    assert causality._word(event(1, "heal.ended", outcome="failed")) == "that did not help"


def test_the_time_it_takes_is_from_its_own_beginning() -> None:
    found = causality.chain(Episode(Span(at(1), at(1) + timedelta(seconds=41), "open", "bad", "sq"), frozenset({"x"})), (), (), NOW)
    assert found == {"steps": [], "left_out": 0, "alerts": [], "over": "over after 41 s", "short": "over after 41 s"}
