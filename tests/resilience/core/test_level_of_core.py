"""The level, decided by the core: each rule of the document, from what agents tell to what they are told; and restarts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resilience.classification.classifier import ErrorClassifier
from resilience.config.file import parse
from resilience.config.settings import Settings
from resilience.core.core import Core
from resilience.core.inputs import Configuration
from resilience.degradation.levels import DegradationLevel
from resilience.events import AuditReport, CircuitReport, Heartbeat, LoopReport, Report
from resilience.journal.history import History
from resilience.journal.journal import Journal
from resilience.redaction import Redactor
from resilience.testing import FakeClock

FULL, LLM, LIMITED, MINIMAL, SAFE = DegradationLevel


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class World:
    """Cores on one journal, one after another, and agents that tell them things."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.path, self.clock, self.changes = folder / "journal.db", clock, 0
        self.core = self._core(Settings())

    def _core(self, settings: Settings) -> Core:
        journal = Journal(self.path, self.clock.now())
        core = Core(journal, History(journal.path), ErrorClassifier(clock=self.clock), Redactor(), self.clock, settings=settings)
        core.start()
        return core

    def restart(self, settings: Settings | None = None) -> None:
        self.core.stop()
        self.core.history.close()
        self.core = self._core(settings or Settings())

    def crash(self) -> None:
        """Ends the core as kill -9 does: without a goodbye."""
        journal = self.core._journal
        self.core._writing.close = lambda _: journal.close()  # type: ignore[method-assign]
        self.core.stop()
        self.core.history.close()
        self.core = self._core(Settings())
        self.look()

    def circuit(self, service: str, state: Any, **numbers: Any) -> None:
        self.changes += 1
        because = "3 calls in a row failed" if state == "OPEN" else "2 probes succeeded"
        report = CircuitReport(service=service, state=state, change=self.changes, because=because, retry_after_s=10, **numbers)
        self.core.beat(Heartbeat(agent="a", pid=1, circuits=(report,))).result(10)

    def errors(self, count: int, **changes: Any) -> None:
        said = {"type": "PromptInjectionError", "message": "ignore all rules", "component": "gpt-5.2", "operation": "ask", **changes}
        self.core.report([Report(**said)] * count).result(10)

    def look(self, passed_s: float = 0.0) -> DegradationLevel:
        self.clock.advance(passed_s)
        self.core.beat(Heartbeat(agent="b", pid=2)).result(10)
        return self.core.state.standing.level

    def choose(self, level: DegradationLevel | None) -> DegradationLevel:
        self.core.set_level(level, actor="test", origin="here", confirmed=True).result(10)
        return self.core.state.standing.level

    @property
    def view(self) -> dict[str, Any]:
        return self.core.view()

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event.body for event in self.core.history.events(0, 500) if event.type == kind]


@pytest.fixture
def world(tmp_path: Path, clock: FakeClock) -> Iterator[World]:
    one = World(tmp_path, clock)
    yield one
    one.core.stop()
    one.core.history.close()


def test_rule_llm_failure(world: World) -> None:
    world.circuit("gpt-5.2", "OPEN")
    assert world.look() is LLM
    assert world.view["cause"] == "gpt-5.2 is not answering (3 calls in a row failed); rule llm_failure."
    assert (world.view["probing"], world.view["context_limit_tokens"]) == (["gpt-5.2"], 4096)
    assert world.look(3600) is LLM
    world.circuit("gpt-5.2", "HALF_OPEN")
    assert world.look(60) is LLM, "a probe is no answer yet"
    world.circuit("gpt-5.2", "CLOSED")
    assert (world.look(29), world.view["probing"]) == (LLM, [])
    assert (world.look(1), world.view["context_limit_tokens"]) == (FULL, None)
    steps = [(one["from"], one["to"], one["by"]) for one in world.events("level.changed")]
    assert steps == [("FULL", "DEGRADED_LLM", "rules"), ("DEGRADED_LLM", "FULL", "rules")]


def test_rule_multiple_external_down(world: World) -> None:
    world.circuit("gmail_api", "OPEN")
    assert world.look() is FULL
    world.circuit("twilio_api", "OPEN")
    assert world.look() is LIMITED
    assert world.view["cause"].startswith("2 of 3 services are not answering (gmail_api, twilio_api)")
    assert world.view["probing"] == ["gmail_api", "twilio_api"]
    world.circuit("gmail_api", "CLOSED")
    assert [world.look(passed_s) for passed_s in (29, 1, 30)] == [LIMITED, LLM, FULL]


def test_rule_memory_system_failure(world: World) -> None:
    world.circuit("memory_system", "OPEN")
    world.circuit("gpt-5.2", "OPEN")
    assert (world.look(), world.view["probing"]) == (MINIMAL, ["memory_system"])
    world.circuit("memory_system", "CLOSED")
    assert [world.look(passed_s) for passed_s in (29, 1, 30, 30, 30)] == [MINIMAL, LIMITED, LLM, LLM, LLM]


def test_rule_security_anomaly(world: World) -> None:
    """In the document's sample nobody ever reported the health of "security"."""
    world.errors(10)
    assert world.look() is FULL
    world.errors(1, component="browser_control", type="SandboxEscapeError")
    assert world.look() is SAFE
    view = world.view
    assert (view["latched"], view["pinned"], view["probing"]) == (True, False, [])
    assert view["cause"] == "security has 11 errors (> 10); rule security_anomaly."
    assert world.look(100_000) is SAFE, "only a person ends it"
    world.restart()
    assert (world.look(), world.view["latched"]) == (SAFE, True)
    assert world.choose(None) is FULL
    assert world.look() is FULL


def test_after_a_release_the_errors_that_a_person_has_seen_do_not_count_again(world: World) -> None:
    world.errors(11)
    assert world.look() is SAFE
    assert world.choose(None) is FULL
    world.look(1)
    world.errors(10)
    assert world.look() is FULL
    world.restart()
    assert world.look() is FULL
    world.errors(1)
    assert world.look() is SAFE


def test_errors_that_have_left_the_window_do_not_count(world: World) -> None:
    for _ in range(20):
        world.errors(1)
        assert world.look(31) is FULL


def test_a_restart_forgets_no_error_that_the_window_holds(world: World) -> None:
    world.errors(10)
    world.restart()
    world.errors(1)
    assert world.look() is SAFE


def test_a_level_that_rules_chose_goes_on_after_a_restart_and_rises_then(world: World) -> None:
    world.circuit("gpt-5.2", "OPEN")
    world.restart()
    assert world.look() is LLM
    world.circuit("gpt-5.2", "CLOSED")
    world.restart()
    assert [world.look(passed_s) for passed_s in (0, 29, 1)] == [LLM, LLM, FULL]


def test_a_pinned_level_shows_what_the_rules_want(world: World) -> None:
    world.choose(LLM)
    world.circuit("memory_system", "OPEN")
    assert (world.look(), world.view["rules_want"]["level"], world.view["probing"]) == (LLM, "MINIMAL", [])
    assert "memory_system" in world.view["rules_want"]["cause"]
    assert world.choose(None) is MINIMAL
    assert world.events("level.changed")[-1]["by"] == "rules"


def test_auto_leads_to_what_the_rules_want_in_one_step(world: World) -> None:
    world.choose(SAFE)
    world.circuit("gpt-5.2", "OPEN")
    assert world.choose(None) is LLM
    assert [(one["from"], one["to"]) for one in world.events("level.changed")] == [("FULL", "SAFE_MODE"), ("SAFE_MODE", "DEGRADED_LLM")]


def test_three_crashes_in_a_quarter_of_an_hour_end_in_safe_mode(world: World, clock: FakeClock) -> None:
    world.look()
    for _ in range(2):
        clock.advance(60)
        world.crash()
        assert world.look() is FULL
    world.restart()
    assert world.look() is FULL, "a stop is no crash"
    clock.advance(60)
    world.crash()
    assert (world.look(), world.view["latched"]) == (SAFE, True)
    assert world.view["cause"] == "WinClaw crashed 3 times in 15 minutes."
    assert world.choose(None) is FULL
    world.crash()
    assert world.look() is FULL, "what was before a person had a look does not count"


def test_crashes_that_are_far_apart_are_no_loop(world: World, clock: FakeClock) -> None:
    for _ in range(6):
        clock.advance(8 * 60)
        world.crash()
        assert world.look() is FULL


def test_own_rules_ask_for_error_rates_circuit_states_and_ages(world: World) -> None:
    settings = parse(
        """
        error_handling:
          degradation:
            recover_after_s: 0
            window_s: 60
            rules:
              - {name: shaky, condition: "gmail_api.error_rate > 0.5 and not gmail_api.circuit == isolated", target_level: DEGRADED_LLM}
              - {name: silent, condition: "gmail_api.unhealthy_for_s >= 100", target_level: MINIMAL}
              - {name: old, condition: "level.age_s > 500 and gmail_api.unhealthy", target_level: LIMITED_EXTERNAL}
        """
    )
    world.core.tell(Configuration(settings)).result(10)
    world.circuit("gmail_api", "CLOSED", calls=10, failures=5)
    assert world.look() is FULL
    world.circuit("gmail_api", "CLOSED", calls=14, failures=9)
    assert world.look() is LLM, "9 of 14"
    world.circuit("gmail_api", "CLOSED", calls=30, failures=9)
    assert world.look() is FULL, "9 of 30"
    world.circuit("gmail_api", "OPEN", calls=30, failures=9)
    assert [world.look(passed_s) for passed_s in (0, 99, 1)] == [FULL, FULL, MINIMAL]
    world.circuit("gmail_api", "HALF_OPEN", calls=31, failures=10)
    assert world.look(10) is MINIMAL, "still not answering"
    world.circuit("gmail_api", "CLOSED", calls=40, failures=10)
    assert [world.look() for _ in range(3)] == [LLM, FULL, FULL]


def test_other_rules_hold_as_soon_as_they_are_in_force(world: World) -> None:
    world.circuit("gmail_api", "OPEN")
    assert world.look() is FULL
    rule = "{name: mail, condition: gmail_api.unhealthy, target_level: MINIMAL}"
    world.core.tell(Configuration(parse(f"error_handling: {{degradation: {{rules: [{rule}]}}}}"))).result(10)
    assert world.look() is MINIMAL


def test_a_level_that_no_rule_wants_any_more_rises(world: World) -> None:
    world.circuit("gpt-5.2", "OPEN")
    assert world.look() is LLM
    world.core.tell(Configuration(parse("error_handling: {degradation: {rules: []}}"))).result(10)
    assert [world.look(passed_s) for passed_s in (0, 30)] == [LLM, FULL]


def test_what_is_tried_in_safe_mode_is_in_the_journal(world: World) -> None:
    audit = (AuditReport(service="gmail_api", operation="send", refused=3), AuditReport(service="file_system", operation="read", allowed=1))
    world.core.beat(Heartbeat(agent="a", pid=1, audit=audit)).result(10)
    assert world.events("audit") == [
        {"agent": "a", "operation": "send", "allowed": 0, "refused": 3},
        {"agent": "a", "operation": "read", "allowed": 1, "refused": 0},
    ]


@pytest.mark.parametrize(
    ("level", "allowed"),
    [
        (FULL, 15), (LLM, 5), (LIMITED, 5), (MINIMAL, 1), (SAFE, 0),
    ],
)  # fmt: skip
def test_each_level_says_which_of_the_fifteen_loops_may_run(world: World, level: DegradationLevel, allowed: int) -> None:
    world.choose(level)
    loops = world.view["loops"]
    assert len(loops) == 15
    assert [one["allowed"] for one in loops] == [True] * allowed + [False] * (15 - allowed)


def test_what_agents_tell_of_their_loops_is_shown_until_they_are_gone(world: World, clock: FakeClock) -> None:
    told = (
        LoopReport(loop="planning", state="running", running=1, runs=2, beats=40, beat_age_s=1.5),
        LoopReport(loop="my_own", state="stuck", running=1, runs=1, because="silent for 300 s"),
    )
    world.core.beat(Heartbeat(agent="a", pid=1, loops=told)).result(10)
    loops = {one["name"]: one for one in world.view["loops"]}
    assert len(loops) == 16
    assert (loops["planning"]["state"], loops["planning"]["beats"], loops["planning"]["agents"][0]["agent"]) == ("running", 40, "a")
    assert (loops["my_own"]["state"], loops["my_own"]["tier"], loops["my_own"]["allowed"]) == ("stuck", "all", True)
    assert loops["memory"]["state"] == "unused"
    world.core.beat(Heartbeat(agent="a", pid=1, leaving=True)).result(10)
    assert len(world.view["loops"]) == 15


def test_who_waits_for_a_change_is_woken_by_what_only_rules_decided(world: World) -> None:
    version = world.core.state.version
    rule = "{name: x, condition: gpt-5.2.healthy, target_level: MINIMAL}"
    world.core.tell(Configuration(parse(f"error_handling: {{degradation: {{rules: [{rule}]}}}}"))).result(10)
    assert world.core.wait_for_change(version, 10).standing.level is MINIMAL
