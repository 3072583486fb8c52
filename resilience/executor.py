"""What a program has of policies, in one object (§10.1)."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from inspect import isasyncgenfunction
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from msgspec.structs import asdict, replace

from resilience.bulkhead import BulkheadRegistry
from resilience.circuit.breaker import CircuitBreaker
from resilience.circuit.registry import CircuitBreakerRegistry
from resilience.classification.classifier import ErrorClassifier
from resilience.clock import Clock, SystemClock
from resilience.config.settings import Service, Settings
from resilience.context import ErrorContext
from resilience.pipeline import Gate, Pipeline, Report
from resilience.retrying.budget import Budget
from resilience.retrying.executor import RetryExecutor
from resilience.retrying.strategies import RETRY_STRATEGIES, RetryConfig, strategy_named
from resilience.wrapping import is_async, name_of

if TYPE_CHECKING:
    from resilience.healing.waiting import EndedHeals
    from resilience.recovery.critical import Critical, Keeper
    from resilience.timeouts import TimeLimits

P = ParamSpec("P")
R = TypeVar("R")
Fallback = Callable[..., Any]


class _Asked(NamedTuple):
    """What a pipeline was asked for in code; None: what the settings say."""

    retry: str | RetryConfig | None
    timeout_s: float | None
    attempt_timeout_s: float | None


class Resilience:
    """The policies of a program: circuits, bulkheads, retries and budgets, one of each for a service.

    Args:
        settings: the policies, as in the configuration (§10.2).
        classifier: how errors are judged. report: told of each call that failed in the end; by default it is only judged.
        gate: asked with (service, read_only) for what each try has to ask, which raises where it is not allowed; None where
            every call is. It is asked again whenever ``look_again`` is called, never by a call.
        heals: tells calls that wait for it when a service is healed; None: nobody heals here, and no call waits.
        recovery: gives what saves and restores the states that critical calls might spoil; None: no call can be critical.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        classifier: ErrorClassifier | None = None,
        report: Report | None = None,
        gate: Callable[[str, bool], Gate | None] | None = None,
        on_circuit: Callable[[CircuitBreaker], Any] | None = None,
        heals: EndedHeals | None = None,
        recovery: Callable[[], Keeper] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.clock = clock or SystemClock()
        self.classifier = classifier or ErrorClassifier(clock=self.clock)
        policies = self.settings.circuit_breaker
        self.circuits = CircuitBreakerRegistry(
            policies.services, policies.default, clock=self.clock, classifier=self.classifier, on_create=on_circuit
        )
        self.bulkheads = BulkheadRegistry(clock=self.clock)
        self._report = self._classify if report is None else report
        self._heals = heals
        self._recovery = recovery
        self._gate = (lambda *_: None) if gate is None else gate
        self._budgets: dict[str, Budget] = {}
        self._scaled: dict[str, tuple[float, float]] = {}
        self._pipelines: WeakKeyDictionary[Pipeline, _Asked] = WeakKeyDictionary()
        self._looks = 0
        self._lock = threading.Lock()

    def protect(
        self,
        service: str,
        *,
        retry: str | RetryConfig | None = None,
        fallback: Fallback | Sequence[Fallback] = (),
        timeout_s: float | None = None,
        attempt_timeout_s: float | None = None,
        hedge_after_s: float | None = None,
        wait_for_healing_s: float | None = None,
        read_only: bool = False,
        critical: bool | str | Collection[str] | Critical = False,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Puts a function behind the policies of ``service``; coroutine functions and asynchronous generators too.

        What is not given comes from the settings, and follows them when they change.

        Args:
            retry: ``auto`` (the error decides), ``none``, a strategy's name, or a ``RetryConfig``.
            fallback: called, with the same arguments, when the call failed or was refused; several are asked in order.
            timeout_s: for all tries together. attempt_timeout_s: for each; asynchronous calls only. What
                is no coroutine cannot be interrupted: for it, timeout_s says until when a further try may begin.
            hedge_after_s: begin a second call beside one that has not answered by then; only for what may be done twice.
            wait_for_healing_s: wait so long, beyond ``timeout_s``, until WinClaw has healed the service, and try once more;
                only where WinClaw is there, and only once.
            read_only: the call only reads, so Safe Mode allows it.
            critical: before each call the states that it might spoil are saved (§9.1), and restored, as far as there are
                restorers, when it has failed: those of the components that are named; True: all that have a snapshotter. Or
                what ``Resilience.critical`` gives.

        Raises:
            ValueError: there is no such strategy, it cannot work, or a time is not above 0 and finite.
        """
        times = {
            "timeout_s": timeout_s, "attempt_timeout_s": attempt_timeout_s, "hedge_after_s": hedge_after_s,
            "wait_for_healing_s": wait_for_healing_s,
        }  # fmt: skip
        for name, seconds in times.items():
            if seconds is not None and not 0 < seconds < math.inf:
                raise ValueError(f"{name}={seconds!r} is not possible: finite seconds above 0, or None for no limit")
        if isinstance(retry, str):
            strategy_named(retry, self._strategies())
        elif retry is not None:
            retry.sound()
        fallbacks = (fallback,) if callable(fallback) else tuple(fallback)
        around = self._critical(critical)

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            if not (is_async(function) or isasyncgenfunction(function)):
                for name in ("attempt_timeout_s", "hedge_after_s"):
                    if times[name] is not None:
                        what = f"nobody can interrupt {name_of(function)}"
                        raise ValueError(f"{name} needs a coroutine function, for {what}; make it async, or use timeout_s")
            pipeline = self.pipeline(service, retry=retry, fallbacks=fallbacks, read_only=read_only, **times)
            protected = pipeline(function) if around is None else around.protect(function, pipeline)
            protected.pipeline = pipeline  # type: ignore[attr-defined]
            return protected

        return decorate

    def pipeline(
        self,
        service: str,
        *,
        retry: str | RetryConfig | None = None,
        timeout_s: float | None = None,
        attempt_timeout_s: float | None = None,
        **chosen: Any,
    ) -> Pipeline:
        """The policies of ``service``, put together; see ``protect``."""
        circuit = self.circuits.get_or_create(service)
        budget = self._budgets.get(service) or self._budgets.setdefault(
            service, Budget(self.settings.retry.budget, lambda: circuit.total_calls, clock=self.clock)
        )
        executor = RetryExecutor(name=service, budget=budget, classifier=self.classifier, clock=self.clock)
        made = Pipeline(
            service, breaker=circuit, bulkhead=self.bulkheads.get_or_create(service), retry=executor, report=self._report,
            clock=self.clock, limits=lambda: self._limits, heals=self._heals, **chosen,
        )  # fmt: skip
        asked = _Asked(retry, timeout_s, attempt_timeout_s)
        with self._lock:
            self._pipelines[made] = asked
        self._settle(made, asked)  # after that, or what changes in between would miss it
        return made

    def _critical(self, chosen: bool | str | Collection[str] | Critical) -> Critical | None:
        if isinstance(chosen, bool):
            return self.critical() if chosen else None
        if isinstance(chosen, str):
            return self.critical((chosen,))
        return self.critical(chosen) if isinstance(chosen, Collection) else chosen

    def critical(
        self, components: Collection[str] | None = None, state: Callable[[], Any] | None = None, operation_id: str | None = None
    ) -> Critical:
        """What makes a call critical: see ``Critical``.

        Raises:
            ValueError: there is nothing here that could save a state.
        """
        from resilience.recovery.critical import Critical  # noqa: PLC0415 -- few calls are

        if self._recovery is None:
            raise ValueError("a critical call needs somebody to save its state: Resilience(recovery=lambda: manager)")
        return Critical(self._keeper, components, state, operation_id)

    @functools.cached_property
    def _keeper(self) -> Keeper:
        assert self._recovery is not None
        return self._recovery()

    def configure(self, settings: Settings) -> None:
        """Takes other policies, for everything that is protected already, too; states and windows stay."""
        self.settings = settings
        self.circuits.configure(settings.circuit_breaker.services, settings.circuit_breaker.default)
        self.look_again()

    def scale(self, service: str, scale: float, for_s: float) -> str:
        """Multiplies how many calls to ``service`` run at once by ``scale``, for ``for_s`` seconds from now (§6).

        Returns:
            What it did, in words.

        Raises:
            LookupError: nothing here calls that service.
        """
        bulkhead = self.bulkheads.get(service)
        if bulkhead is None:
            raise LookupError(f"nothing here calls {service}")
        before = bulkhead.limits.max_concurrent
        with self._lock:
            self._scaled[service] = (scale, self.clock.monotonic() + for_s)
        self.look_again()
        return f"{before} to {bulkhead.limits.max_concurrent} concurrent calls for {for_s:g} s"

    def look_at_scales(self) -> float | None:
        """Ends what was scaled for a time that is over; returns the seconds until the next one ends."""
        if not self._scaled:
            return None
        now_s = self.clock.monotonic()
        with self._lock:
            over = [name for name, (_, until_s) in self._scaled.items() if until_s <= now_s]
            for name in over:
                del self._scaled[name]
            left = [until_s - now_s for _, until_s in self._scaled.values()]
        if over:
            self.look_again()
        return min(left, default=None)

    def look_again(self) -> None:
        """Asks anew what is allowed, and takes over what the settings say."""
        with self._lock:
            self._looks += 1
            pipelines = list(self._pipelines.items())
        for pipeline, asked in pipelines:
            self._settle(pipeline, asked)

    def _settle(self, pipeline: Pipeline, asked: _Asked) -> None:
        """Takes over what holds now; again where another thread looked anew meanwhile, for what was read may be older."""
        looks = -1
        while looks != self._looks:
            looks = self._looks
            self._take_over(pipeline, asked)

    def _take_over(self, pipeline: Pipeline, asked: _Asked) -> None:
        service = self.settings.services.get(pipeline.service, Service())
        retry = asked.retry
        if not isinstance(retry, RetryConfig):
            retry = strategy_named(retry or service.retry, self._strategies())
        pipeline.retry.config = retry
        self._budgets[pipeline.service].configure(self.settings.retry.budget)
        pipeline.set_times(
            asked.timeout_s or service.timeout_seconds or (retry.total_seconds if retry is not None else None),
            asked.attempt_timeout_s or service.attempt_timeout_seconds,
        )
        limits = self.settings.bulkhead.services.get(pipeline.service, self.settings.bulkhead.default)
        scale, _ = self._scaled.get(pipeline.service, (1.0, 0.0))
        pipeline.bulkhead.resize(max(int(limits.max_concurrent * scale), 1), limits.max_queue, limits.timeout_seconds)
        pipeline.gate = self._gate(pipeline.service, pipeline.read_only)

    def _strategies(self) -> Mapping[str, RetryConfig]:
        """The strategies by name: for which errors, the document says (§4.2); the pauses, the settings."""
        named = self.settings.retry.strategies
        return {name: replace(RETRY_STRATEGIES.get(name, RetryConfig()), **asdict(one)) for name, one in named.items()}

    @functools.cached_property
    def _limits(self) -> TimeLimits:
        from resilience.timeouts import TimeLimits  # noqa: PLC0415 -- synchronous agents do without asyncio

        return TimeLimits(self.clock)

    def _classify(self, error: Exception, service: str, operation: str, retries: int) -> ErrorContext:
        return self.classifier.classify(error, {"component": service, "operation": operation, "retry_count": retries})
