"""The document's manager, as its readers use it; the decisions themselves are tested in ``test_degradation``."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from resilience import (
    CircuitBreakerOpenError,
    DegradationLevel,
    DegradationManager,
    DegradationRule,
    FeatureDisabledError,
    Resilience,
    ServiceHealth,
)
from resilience.degradation.conditions import Condition
from resilience.degradation.health import Circumstances
from resilience.degradation.manager import DEFAULT_RULES
from resilience.degradation.policy import Degradation
from resilience.testing import FakeClock

FULL, LLM, LIMITED, MINIMAL, SAFE = DegradationLevel


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def manager(clock: FakeClock) -> DegradationManager:
    return DegradationManager(clock=clock)


def health(clock: FakeClock, service: str, healthy: bool = False, errors: int = 0) -> ServiceHealth:
    return ServiceHealth(service, healthy, clock.now(), errors, 12.0)


def test_it_degrades_and_features_are_complete_from_the_start(manager: DegradationManager, clock: FakeClock) -> None:
    """In the document's sample it never degraded, and everything was off at boot."""
    assert len(manager.get_enabled_features()) == 15
    asyncio.run(_awaits(manager, health(clock, "gpt-5.2")))
    assert manager.current_level is LLM
    assert not manager.is_feature_enabled("use_gpt_5_2")
    assert manager.get_status()["disabled_features"] == ["use_gpt_5_2", "enable_all_loops", "read_only_mode"]
    manager.update_service_health(health(clock, "gpt-5.2", healthy=True))
    clock.advance(30)
    assert manager.current_level is FULL


async def _awaits(manager: DegradationManager, told: ServiceHealth) -> None:
    await manager.update_service_health(told)


def test_a_manual_override_stays(manager: DegradationManager, clock: FakeClock) -> None:
    """In the document's sample the next health report undid it."""
    manager.manual_override(MINIMAL)
    manager.update_service_health(health(clock, "gpt-5.2", healthy=True))
    assert manager.current_level is MINIMAL
    manager.manual_override(None)
    assert manager.current_level is FULL


def test_listeners_see_the_new_level_in_force_and_may_do_what_they_like(manager: DegradationManager, clock: FakeClock) -> None:
    """In the document's sample they ran before the flags changed, under the lock: one that asked hung for ever."""
    seen: list[object] = []

    def broken(*_: object) -> None:
        raise RuntimeError("mine")

    manager.add_listener(broken)
    manager.add_listener(lambda old, new: seen.append((old, new, manager.current_level, manager.is_feature_enabled("use_gpt_5_2"))))
    manager.update_service_health(health(clock, "gpt-5.2"))
    assert seen == [(FULL, LLM, LLM, False)]


def test_rules_in_code(manager: DegradationManager, clock: FakeClock) -> None:
    manager.register_rule(DegradationRule("mine", lambda h: h.of("disk").error_count > 3, MINIMAL))
    manager.register_rule(DegradationRule("broken", lambda h: 1 / 0 > 0, SAFE))
    manager.register_rule(DegradationRule("text", "count_unhealthy([a, b]) == 2", LIMITED))
    manager.update_service_health(health(clock, "disk", healthy=True, errors=4))
    assert (manager.current_level, manager.standing.cause) == (MINIMAL, "its condition holds; rule mine.")
    for name in ("a", "b"):
        manager.update_service_health(health(clock, name))
    manager.update_service_health(health(clock, "disk", healthy=True))
    clock.advance(30)
    assert manager.current_level is LIMITED
    assert manager.standing.cause == "2 of 2 services are not answering (a, b) (== 2); rule text."


def test_health_that_nobody_renews_becomes_unknown_and_then_unhealthy(manager: DegradationManager, clock: FakeClock) -> None:
    manager.update_service_health(health(clock, "gpt-5.2", healthy=True))
    clock.advance(600)
    assert manager.current_level is FULL
    clock.advance(1)
    assert manager.current_level is LLM
    assert manager.get_status()["cause"] == "gpt-5.2 not answering; rule llm_service_failure."


def test_health_from_before_all_time_zones_is_old(manager: DegradationManager, clock: FakeClock) -> None:
    one = health(clock, "gpt-5.2", healthy=True)
    manager.update_service_health(replace(one, last_check=datetime.min))  # noqa: DTZ901
    assert manager.current_level is LLM


def test_a_local_time_without_a_zone_will_do(clock: FakeClock) -> None:
    """As in the document's sample."""
    local = clock.now().astimezone().replace(tzinfo=None)
    manager = DegradationManager(clock=clock)
    manager.update_service_health(ServiceHealth("gpt-5.2", True, local - timedelta(seconds=5), 0, 0))
    assert isinstance(local, datetime)
    assert manager.current_level is FULL


def test_it_chooses_the_level_of_a_programs_own_policies(clock: FakeClock) -> None:
    manager = DegradationManager(clock=clock)
    policies = Resilience(clock=clock, gate=manager.gate, on_circuit=manager.join)
    answers = [False, False, False, True, True]

    @policies.protect("gpt-5.2", retry="none")
    def ask() -> str:
        if answers.pop(0):
            return "answer"
        raise ConnectionError

    @policies.protect("ollama", retry="none")
    def ask_local() -> str:
        return "local"

    for _ in range(3):
        with pytest.raises(ConnectionError):
            ask()
    assert manager.current_level is LLM
    with pytest.raises(CircuitBreakerOpenError):
        ask()
    clock.advance(10)
    assert [ask(), ask()] == ["answer", "answer"], "its circuit lets a few calls through, whatever the level"
    with pytest.raises(FeatureDisabledError):
        ask()
    clock.advance(30)
    assert manager.current_level is FULL
    manager.manual_override(SAFE)
    with pytest.raises(FeatureDisabledError, match="read_only_mode"):
        ask_local()


def test_the_rules_in_code_are_those_of_the_configuration() -> None:
    texts = {rule.target_level: Condition(rule.condition) for rule in Degradation().rules}
    now = FakeClock().now()
    names = ["gpt-5.2", "gmail_api", "twilio_api", "browser_control", "memory_system", "security"]
    for number in range(2 ** len(names)):
        found = Circumstances()
        for place, name in enumerate(names):
            bad = bool(number >> place & 1)
            found[name] = ServiceHealth(name, not bad, now, 11 if bad else 10)
        for rule in DEFAULT_RULES:
            assert callable(rule.condition)
            assert rule.condition(found) == texts[rule.target_level.name](found)


def test_many_threads_tell_at_once_and_the_level_is_right_in_the_end(manager: DegradationManager, clock: FakeClock) -> None:
    def tell(service: str) -> None:
        for number in range(200):
            manager.update_service_health(health(clock, service, healthy=number % 2 == 1))
        manager.update_service_health(health(clock, service))

    threads = [threading.Thread(target=tell, args=(name,)) for name in ("gpt-5.2", "gmail_api", "twilio_api", "memory_system")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert manager.current_level is MINIMAL


def test_a_rule_may_ask_the_manager_itself(manager: DegradationManager, clock: FakeClock) -> None:
    manager.register_rule(DegradationRule("nosy", lambda h: manager.standing.level is FULL and not h.of("x").is_healthy, LLM))
    manager.update_service_health(health(clock, "x"))
    assert manager.current_level is LLM
