"""The circuits of a program, one for each service (§3.2)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from resilience.circuit.blame import is_services_fault
from resilience.circuit.breaker import CircuitBreaker
from resilience.classification.classifier import ErrorClassifier
from resilience.clock import Clock, SystemClock
from resilience.listeners import Done
from resilience.policies import CircuitBreakerConfig


class CircuitBreakerRegistry:
    """The circuits of a program, one for each service (§3.2).

    Args:
        configs: the policy for each service. default: for those that are not among them.
        classifier: tells whose fault an error is. on_create: called with each new circuit.
    """

    def __init__(
        self,
        configs: Mapping[str, CircuitBreakerConfig] | None = None,
        default: CircuitBreakerConfig | None = None,
        *,
        clock: Clock | None = None,
        classifier: ErrorClassifier | None = None,
        on_create: Callable[[CircuitBreaker], Any] | None = None,
    ) -> None:
        self._configs, self._default = dict(configs or {}), default or CircuitBreakerConfig()
        self._clock, self._classifier, self._on_create = clock or SystemClock(), classifier, on_create
        self._breakers: dict[str, CircuitBreaker] = {}
        self._lock = threading.Lock()

    def get_or_create(self, name: str, config: CircuitBreakerConfig | None = None) -> CircuitBreaker:
        """The circuit called ``name``, made if there is none.

        Raises:
            ValueError: there is one already, with another policy than ``config``.
        """
        with self._lock:
            breaker = self._breakers.get(name)
            if breaker is None:
                chosen = config or self._configs.get(name, self._default)
                is_failure = partial(is_services_fault, component=name, classifier=self._classifier)
                breaker = self._breakers[name] = CircuitBreaker(name, chosen, clock=self._clock, is_failure=is_failure)
                if self._on_create is not None:
                    self._on_create(breaker)
        if config is not None and config != breaker.config:
            raise ValueError(f"the circuit {name!r} exists with another policy; change it with its configure()")
        return breaker

    def get(self, name: str) -> CircuitBreaker | None:
        """The circuit called ``name``; None if there is none."""
        return self._breakers.get(name)

    def all(self) -> Iterable[CircuitBreaker]:
        """Every circuit there is now."""
        return list(self._breakers.values())

    def configure(self, configs: Mapping[str, CircuitBreakerConfig], default: CircuitBreakerConfig) -> None:
        """Takes other policies, for the circuits there are and for those to come."""
        with self._lock:
            self._configs, self._default = dict(configs), default
            breakers = list(self._breakers.values())
        for breaker in breakers:
            chosen = configs.get(breaker.name, default)
            if chosen != breaker.config:
                breaker.configure(chosen)

    def get_all_status(self) -> dict[str, dict[str, Any]]:
        """What each circuit says of itself, by name."""
        return {breaker.name: breaker.get_status() for breaker in self.all()}

    def reset_all(self) -> Done:
        """Closes every circuit."""
        for breaker in self.all():
            breaker.reset()
        return Done()
