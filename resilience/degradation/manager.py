"""The document's ``DegradationManager`` (§5.2), for a program of its own: the same decisions as WinClaw's, without WinClaw.

The program tells how its services are; rules choose the level, and the gate of its calls obeys.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from resilience.circuit.breaker import CircuitBreaker
from resilience.clock import Clock, SystemClock
from resilience.degradation.enforcement import Enforcement
from resilience.degradation.health import Circumstances, ServiceHealth
from resilience.degradation.levels import FEATURES, DegradationLevel, Standing, at_first, choose, followed
from resilience.degradation.policy import LevelPolicy
from resilience.degradation.rules import DegradationRule, demands
from resilience.listeners import Done, tell

DEFAULT_RULES: Final = (
    DegradationRule("llm_service_failure", lambda h: not h.of("gpt-5.2").is_healthy, DegradationLevel.DEGRADED_LLM, 1),
    DegradationRule(
        "multiple_external_down",
        lambda h: sum(not h.of(name).is_healthy for name in ("gmail_api", "twilio_api", "browser_control")) >= 2,
        DegradationLevel.LIMITED_EXTERNAL,
        2,
    ),
    DegradationRule("memory_system_failure", lambda h: not h.of("memory_system").is_healthy, DegradationLevel.MINIMAL, 3),
    DegradationRule(
        "security_anomaly", lambda h: h.of("security").error_count > 10, DegradationLevel.SAFE_MODE, 0, auto_recover=False
    ),
)
"""The rules of §5.2."""


class DegradationManager:
    """Which level a program runs at. May be used from any thread; nothing in it waits.

    Args:
        rules: when the level goes down; by default those of §5.2.
        policy: when it rises again.
        stale_after_s: a service whose health was told longer ago is unknown, and stays as it was; after twice as long it
            counts as unhealthy.
    """

    def __init__(
        self,
        rules: Iterable[DegradationRule] = DEFAULT_RULES,
        *,
        policy: LevelPolicy | None = None,
        stale_after_s: float = 300.0,
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.policy = policy or LevelPolicy()
        self.degradation_rules = sorted(rules, key=lambda rule: rule.priority)
        self.service_health: dict[str, ServiceHealth] = {}
        self._stale_after_s = stale_after_s
        self._breakers: dict[str, CircuitBreaker] = {}
        self._standing = at_first(self.clock.now())
        self._enforcement = Enforcement(self._state())
        self._listeners: list[Callable[[DegradationLevel, DegradationLevel], Any]] = []
        self._looks, self._last_look = itertools.count(1), 0
        self._lock, self._mine = threading.Lock(), threading.local()

    @property
    def current_level(self) -> DegradationLevel:
        """The level, after a look at the clock."""
        self.look()
        return self._standing.level

    @property
    def standing(self) -> Standing:
        """The level with its cause, and what the rules want."""
        self.look()
        return self._standing

    @property
    def feature_flags(self) -> Mapping[str, bool]:
        """What the level allows (§5.2): complete at every level, from the start."""
        return FEATURES[self.current_level]

    def register_rule(self, rule: DegradationRule) -> None:
        """Adds a rule; one of the same name makes room."""
        with self._lock:
            others = [one for one in self.degradation_rules if one.name != rule.name]
            self.degradation_rules = sorted([*others, rule], key=lambda one: one.priority)
        self.look()

    def add_listener(self, callback: Callable[[DegradationLevel, DegradationLevel], Any]) -> None:
        """Has ``callback(old, new)`` called after each change, when the new level is in force; whatever it does is its own."""
        self._listeners.append(callback)

    def update_service_health(self, health: ServiceHealth) -> Done:
        """Takes in how a service is."""
        with self._lock:
            self.service_health[health.service_name] = health
        self.look()
        return Done()

    def manual_override(self, level: DegradationLevel | None) -> Done:
        """Pins ``level``; or (None) gives the choice back to the rules, and, where none is pinned, releases their latches."""
        self._move(lambda standing: choose(standing, level, actor="program", now=self.clock.now()))
        self.look()
        return Done()

    def look(self) -> None:
        """Looks at the rules and the clock; what asks for the level does so by itself."""
        if getattr(self._mine, "looking", False):  # a rule asks, or a circuit that is asked changes: this look sees it
            return
        look, now, now_s = next(self._looks), self.clock.now(), self.clock.monotonic()
        self._mine.looking = True
        try:  # without the lock, for rules may do what they like
            found = self._circumstances()
            found.level_age_s = (now - self._standing.since).total_seconds()
            asked = demands(self.degradation_rules, found)
        finally:
            self._mine.looking = False

        def ruled(standing: Standing) -> Standing:
            if look < self._last_look:  # somebody else has looked meanwhile, and saw more
                return standing
            self._last_look = look
            return followed(standing, asked, self.policy, now, now_s)

        self._move(ruled)

    def is_feature_enabled(self, feature: str) -> bool:
        """Whether the level allows ``feature``; a flag that there is not is off."""
        return self.feature_flags.get(feature, False)

    def get_enabled_features(self) -> list[str]:
        """The flags that are on."""
        return [feature for feature, enabled in self.feature_flags.items() if enabled]

    def get_status(self) -> dict[str, Any]:
        """Level, cause, health and flags, as plain data."""
        standing = self.standing
        return {
            "current_level": standing.level.name,
            "cause": standing.cause,
            "pinned": standing.pinned,
            "latched": standing.latched,
            "rules_want": standing.wanted.level.name,
            "service_health": {
                name: {
                    "healthy": health.is_healthy, "error_count": health.error_count,
                    "response_time_ms": health.response_time_ms, "circuit_state": health.circuit_state,
                }
                for name, health in self.service_health.items()
            },
            "enabled_features": self.get_enabled_features(),
            "disabled_features": [feature for feature, enabled in self.feature_flags.items() if not enabled],
        }  # fmt: skip

    # For ``Resilience(gate=manager.gate, on_circuit=manager.join)``.

    def gate(self, service: str, read_only: bool) -> Callable[[str], None] | None:
        """What each call to ``service`` has to ask: the level as it is then."""

        def ask(operation: str) -> None:
            self.look()
            if (gate := self._enforcement.gate(service, read_only)) is not None:
                gate(operation)

        return ask

    def join(self, breaker: CircuitBreaker) -> None:
        """Has the state of ``breaker`` count as its service's health from now on."""
        with self._lock:
            self._breakers = {**self._breakers, breaker.name: breaker}
        breaker.listen(lambda _: self.look())
        self.look()

    def _circumstances(self) -> Circumstances:
        found = Circumstances({name: self._aged(one) for name, one in list(self.service_health.items())})
        for name, breaker in self._breakers.items():
            status = breaker.get_status()
            known, state = found.of(name), str(status["state"])
            found[name] = replace(
                known, is_healthy=state in ("CLOSED", "DISABLED") and known.is_healthy, circuit_state=state,
                because=str(status["because"]) if state != "CLOSED" else known.because,
            )  # fmt: skip
        return found

    def _aged(self, health: ServiceHealth) -> ServiceHealth:
        if not health.is_healthy:
            return health
        try:
            age = self.clock.now() - health.last_check.astimezone()  # a naive time is the local one
        except (OverflowError, ValueError, OSError):  # a time such as datetime.min, before all time zones
            age = timedelta.max
        if age <= timedelta(seconds=2 * self._stale_after_s):
            return health
        return replace(health, is_healthy=False, because=f"nothing heard of it for {age.total_seconds():.0f} s")

    def _state(self) -> dict[str, Any]:
        standing = self._standing
        return {
            "level": standing.level.name, "number": standing.level.value, "cause": standing.cause,
            "features": FEATURES[standing.level], "probing": standing.probing,
        }  # fmt: skip

    def _move(self, decide: Callable[[Standing], Standing]) -> None:
        with self._lock:
            before = self._standing
            after = decide(before)
            if after is before:
                return
            self._standing = after
            self._enforcement.state = self._state()
        if after.level is not before.level:
            for listener in self._listeners:
                tell(listener, before.level, after.level)
