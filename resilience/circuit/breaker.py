"""The circuit breaker: calls to a service that fails are refused until it answers again (§3).

Each state is an object of its own, and each call that is let through belongs to the state it began in: a result that
comes when there is another is counted and moves nothing. While a circuit is closed and quiet, a call costs two steps:
it looks whether the gate is open, and a success takes a number (see ``sliding_window``). Everything else happens under
a lock, which is never held while a caller's or a listener's code runs.
"""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar, assert_never, cast

from resilience.circuit.blame import is_services_fault
from resilience.circuit.states import (
    CircuitBreakerOpenError,
    CircuitMetrics,
    CircuitState,
    Closed,
    Disabled,
    HalfOpen,
    Isolated,
    Open,
    Phase,
    Transition,
    open_seconds,
    why_open,
)
from resilience.circuit.window import CallWindow, Counts, Tally
from resilience.clock import Clock, SystemClock
from resilience.listeners import tell
from resilience.policies import CircuitBreakerConfig
from resilience.wrapping import is_async, refuse_generators

__all__ = [
    "CircuitBreaker", "CircuitBreakerConfig", "CircuitBreakerOpenError", "CircuitMetrics", "CircuitState", "Transition",
]  # fmt: skip

P = ParamSpec("P")
R = TypeVar("R")
_BUSY_S: Final = 0.1  # with longer between two calls, each is timed; of busier traffic, one in so many:
SAMPLE: Final = 127
_KEPT: Final = 100
_OPEN: Final = CircuitState.OPEN  # looking a member up costs as much as making a call


class Permit:
    """Leave to make one call. Called when the call went well; ``CircuitBreaker.failed`` takes it when it did not."""

    __slots__ = ("_breaker", "phase", "started_s")

    def __init__(self, breaker: CircuitBreaker, phase: Phase, started_s: float) -> None:
        self._breaker, self.phase, self.started_s = breaker, phase, started_s

    def __call__(self) -> int:
        self._breaker._settle(self, failed=False)
        return 1


class CircuitBreaker:
    """One service's circuit. For threads and tasks alike; of any number of event loops.

    Use it as a decorator (``@breaker``), as a context manager (``with`` or ``async with``), or by ``call``.

    Args:
        name: the service's.
        config: when it opens and closes.
        on_state_change: called with (name, old state, new state) after each change, outside of the call it happened in.
        on_reject: called with (name) after each refusal.
        is_failure: whether an exception says that the service is unwell; by default a caller's mistakes do not (see
            ``blame``). Cancelling, and whatever else is no ``Exception``, never counts.
        is_failure_result: whether what a call returned is a failure, too.

    Raises:
        ValueError: the configuration cannot work; it says why.
    """

    def __init__(
        self,
        name: str,
        config: CircuitBreakerConfig | None = None,
        on_state_change: Callable[[str, CircuitState, CircuitState], Any] | None = None,
        on_reject: Callable[[str], Any] | None = None,
        *,
        clock: Clock | None = None,
        is_failure: Callable[[Exception], bool] | None = None,
        is_failure_result: Callable[[Any], bool] | None = None,
    ) -> None:
        self.name = name
        self.on_reject = on_reject
        self._clock = clock or SystemClock()
        self._now_s = self._clock.monotonic
        self._is_failure = is_failure or functools.partial(is_services_fault, component=name)
        self._is_failure_result = is_failure_result
        self._listeners: tuple[Callable[[Transition], Any], ...] = ()
        if on_state_change is not None:
            self.listen(lambda change: on_state_change(name, change.old, change.new))
        self._lock = threading.RLock()  # a coroutine that the garbage collector ends may give back while its thread is in here
        self._news: deque[Transition] = deque()
        self._history: deque[Transition] = deque(maxlen=_KEPT)
        self._latencies_ms: deque[float] = deque(maxlen=_KEPT)
        self._windows: deque[CallWindow] = deque()  # of epochs that are over, in which calls may still be under way
        self._counted = self._failed = self._slow = self._uncounted = 0
        self._rejections = Tally()
        self._count_rejection = self._rejections.tick
        self._failed_at: datetime | None = None
        self._succeeded_at: datetime | None = None
        self._succeeded = 0
        self.gate: Callable[[], int] | None = None
        self._admitted_s = -_BUSY_S
        self._configure((config or CircuitBreakerConfig()).sound())
        self._phase: Phase = Disabled() if self.config.mode == "disabled" else Closed(self.config)

    # What callers use.

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """``function``, guarded; coroutine functions stay coroutine functions."""
        refuse_generators(function)
        breaker, failed_result = self, self._is_failure_result
        if failed_result is not None:
            return self._guarding_results(function, failed_result)
        if is_async(function):
            asynchronous = cast("Callable[..., Any]", function)

            @functools.wraps(function)
            async def guarded_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                permit = breaker.gate or breaker.admit()
                try:
                    result = await asynchronous(*args, **kwargs)
                except BaseException as error:
                    breaker.failed(permit, error)
                    raise
                if not permit() & SAMPLE:
                    breaker.gate = None  # the next call is timed
                return result

            return cast("Callable[P, R]", guarded_async)

        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            permit = breaker.gate or breaker.admit()
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                breaker.failed(permit, error)
                raise
            if not permit() & SAMPLE:
                breaker.gate = None
            return result

        return guarded

    def _guarding_results(self, function: Callable[P, R], is_failure: Callable[[Any], bool]) -> Callable[P, R]:
        def judge(permit: Callable[[], int], result: Any) -> None:
            if is_failure(result):
                self._settle(cast("Permit", permit), failed=True)
            else:
                permit()

        if is_async(function):

            @functools.wraps(function)
            async def guarded_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                permit = self.admit()
                try:
                    result = await cast("Any", function(*args, **kwargs))
                    judge(permit, result)
                except BaseException as error:
                    self.failed(permit, error)
                    raise
                return result

            return cast("Callable[P, R]", guarded_async)

        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            permit = self.admit()
            try:
                result = function(*args, **kwargs)
                judge(permit, result)
            except BaseException as error:
                self.failed(permit, error)
                raise
            return result

        return guarded

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """``function(*args, **kwargs)``, guarded; of a coroutine function, a coroutine to await.

        Raises:
            CircuitBreakerOpenError: it was not called. Whatever it raises itself comes through as it is.
        """
        return self(function)(*args, **kwargs)

    def __enter__(self) -> Self:
        _entered.set((*_entered.get(), self.admit()))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        *before, permit = _entered.get()
        _entered.set(tuple(before))
        if error is None:
            permit()
        else:
            self.failed(permit, error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    # What executors use.

    def admit(self) -> Permit:
        """Leave for one call, to be given back by calling it, or by ``failed``.

        Raises:
            CircuitBreakerOpenError: there is none; it says why, and when there may be.
        """
        now_s = self._now_s()
        phase = self._phase
        if type(phase) is Open and now_s < phase.until_s and self._enforces:  # while a service is down, this is every call
            self._count_rejection()
            if self.on_reject is not None:
                tell(self.on_reject, self.name)
            raise CircuitBreakerOpenError(self.name, _OPEN, phase.because, phase.counts, phase.until_s - now_s)
        with self._lock:
            self._let_time_pass(now_s)
            phase = self._phase
            permit = Permit(self, phase, now_s)
            if self._is_plain and type(phase) is Closed and now_s - self._admitted_s < _BUSY_S:
                self.gate = cast("CallWindow", phase.window).tick
            self._admitted_s = now_s
            refused_for_s = self._admit_into(phase, permit, now_s)
        self._tell_news()
        if refused_for_s is None:
            return permit
        self._rejections.tick()
        if not self._enforces:
            return Permit(self, Disabled(), now_s)
        if self.on_reject is not None:
            tell(self.on_reject, self.name)
        assert isinstance(phase, Open | HalfOpen | Isolated)
        raise CircuitBreakerOpenError(self.name, phase.state, phase.because, phase.counts, refused_for_s or None)

    def failed(self, permit: Callable[[], int], error: BaseException) -> None:
        """Gives ``permit`` back after a call that raised ``error``; it decides whether that counts."""
        failed: bool | None = None
        if isinstance(error, Exception):
            try:
                failed = True if self._is_failure(error) else None
            except Exception:  # a predicate that fails says nothing
                failed = True
        if isinstance(permit, Permit):
            self._settle(permit, failed=failed)
        elif failed:
            with self._lock:
                phase = self._phase
                if isinstance(phase, Closed) and isinstance(phase.window, CallWindow) and phase.window.tick is permit:
                    self._count(phase, self._now_s(), failed=True, slow=False)
                else:
                    self._failed += 1
                    self._uncounted += 1
            self._tell_news()

    # What those use who watch over it.

    @property
    def state(self) -> CircuitState:
        """The state as the clock has it: one whose open time is over is HALF_OPEN, whether or not somebody asked."""
        with self._lock:
            self._let_time_pass(self._now_s())
            state = self._phase.state
        self._tell_news()
        return state

    @property
    def is_closed(self) -> bool:
        """Whether calls are made."""
        return self.state in (CircuitState.CLOSED, CircuitState.DISABLED)

    @property
    def is_open(self) -> bool:
        """Whether every call is refused."""
        return self.state in (CircuitState.OPEN, CircuitState.ISOLATED)

    @property
    def total_calls(self) -> int:
        """How many calls it has let through that went well or failed."""
        with self._lock:
            return self._total()

    @property
    def metrics(self) -> CircuitMetrics:
        """What it has seen until now, as it is at this moment."""
        with self._lock:
            now_s = self._now_s()
            phase = self._phase
            counts = phase.window.counts(now_s) if isinstance(phase, Closed) else getattr(phase, "counts", Counts())
            total = self._total()
            succeeded = total - self._failed
            if succeeded > self._succeeded:
                self._succeeded, self._succeeded_at = succeeded, self._clock.now()
            return CircuitMetrics(
                total, succeeded, self._failed, self._slow, self._rejections.value, self._failed_at, self._succeeded_at,
                tuple(self._history), counts, tuple(self._latencies_ms),
            )  # fmt: skip

    def get_status(self) -> dict[str, Any]:
        """Everything that there is to say of it, for a page or a log (§3.2)."""
        state, metrics, phase = self.state, self.metrics, self._phase
        last = metrics.state_changes[-1] if metrics.state_changes else None
        now_s = self._now_s()
        return {
            "name": self.name,
            "state": state.name,
            "because": getattr(phase, "because", ""),
            "failure_count": metrics.window.in_a_row,
            "success_count": phase.successes if isinstance(phase, HalfOpen) else 0,
            "half_open_calls": len(phase.probes) if isinstance(phase, HalfOpen) else 0,
            "last_state_change": last.at.isoformat() if last else None,
            "open_duration": now_s - phase.since_s if isinstance(phase, Open) else None,
            "retry_after_s": max(0.0, phase.until_s - now_s) if isinstance(phase, Open) else None,
            "window": metrics.window._asdict(),
            "metrics": {
                "total_calls": metrics.total_calls,
                "successful_calls": metrics.successful_calls,
                "failed_calls": metrics.failed_calls,
                "slow_calls": metrics.slow_calls,
                "rejected_calls": metrics.rejected_calls,
                "error_rate": metrics.error_rate,
                "availability": metrics.availability,
                "p50_ms": metrics.percentile_ms(0.5),
                "p95_ms": metrics.percentile_ms(0.95),
                "p99_ms": metrics.percentile_ms(0.99),
            },
        }

    def listen(self, listener: Callable[[Transition], Any]) -> None:
        """Has ``listener(transition)`` called after each change of state; what it raises is logged and harms nobody."""
        self._listeners = (*self._listeners, listener)

    def isolate(self, because: str = "isolated by hand", *, told: bool = False) -> None:
        """Refuses every call until ``release``. ``told``: somebody else decided it (see ``Transition``)."""
        self._go(Isolated(because), because, told=told)

    def release(self, because: str = "released by hand", *, told: bool = False) -> None:
        """Ends an isolation, or the waiting of an open circuit; probes find out whether the service answers."""
        match self._phase:
            case Isolated():
                self._go(HalfOpen(because, Counts(), 0), because, told=told)
            case Open(counts=counts, times=times):
                self._go(HalfOpen(because, counts, times), because, told=told)

    def reset(self, because: str = "reset by hand", *, told: bool = False) -> None:
        """Closes it, whatever it is, and forgets what led to it."""
        self._go(Closed(self.config), because, told=told)

    async def manual_reset(self) -> None:
        """The document's name for ``reset`` (§3.2)."""
        self.reset()

    def hold_open(self, for_s: float, because: str) -> None:
        """Follows another's circuit to the same service: refuses calls for ``for_s`` seconds, then probes."""
        now_s = self._now_s()
        self._go(Open(now_s, now_s + for_s, because, Counts(), 1), because, told=True)

    def configure(self, config: CircuitBreakerConfig) -> None:
        """Takes another policy; state and window stay where they still make sense.

        A window of calls keeps its failures. One of time begins anew if its length changes. An open circuit stays open
        for as long as the new policy says, counted from when it opened.

        Raises:
            ValueError: the policy cannot work; the old one stays.
        """
        config.sound()
        with self._lock:
            old = self.config
            self._configure(config)
            phase = self._phase
            if (config.mode == "disabled") != isinstance(phase, Disabled):
                self._change(Disabled() if config.mode == "disabled" else Closed(config), "the policy changed")
            elif isinstance(phase, Closed) and config.window_seconds != old.window_seconds:
                self._retire(phase)
                self._phase = Closed(config)
            elif isinstance(phase, Closed) and isinstance(phase.window, CallWindow):
                phase.window.size = config.window_calls
            elif isinstance(phase, Open):
                phase.until_s = phase.since_s + open_seconds(config, phase.times)
        self._tell_news()

    # Under the lock.

    def _total(self) -> int:
        running = self._phase.window.total if isinstance(self._phase, Closed) else 0
        return self._counted + self._uncounted + sum(window.total for window in self._windows) + running

    def _configure(self, config: CircuitBreakerConfig) -> None:
        self.config = config
        self.gate = None
        self._enforces = config.mode == "enforce"
        self._is_plain = (
            self._enforces
            and config.slow_call_seconds is None
            and config.window_seconds is None
            and self._is_failure_result is None
        )

    def _admit_into(self, phase: Phase, permit: Permit, now_s: float) -> float | None:
        """None if ``permit`` holds; else for how many seconds there is none (0: nobody knows)."""
        match phase:
            case Closed() | Disabled():
                return None
            case HalfOpen():
                if len(phase.probes) < self.config.half_open_max_calls:
                    phase.probes[permit] = now_s + self.config.reset_timeout_seconds
                    return None
                return 0.0
            case Open():
                return phase.until_s - now_s
            case Isolated():
                return 0.0
            case _:
                assert_never(phase)

    def _let_time_pass(self, now_s: float) -> None:
        """Makes the changes that are due: the open time is over, a probe has not answered in time."""
        phase = self._phase
        if isinstance(phase, HalfOpen) and phase.probes:
            due_s = next(iter(phase.probes.values()))  # the oldest; all have the same patience
            if now_s >= due_s:
                because = f"a probe did not answer within {self.config.reset_timeout_seconds:g} s"
                self._change(self._opened(due_s, because, phase.counts, phase.times + 1), because)
                phase = self._phase
        if isinstance(phase, Open) and now_s >= phase.until_s:
            self._change(HalfOpen(phase.because, phase.counts, phase.times), "its time is up")

    def _opened(self, since_s: float, because: str, counts: Counts, times: int) -> Open:
        return Open(since_s, since_s + open_seconds(self.config, times), because, counts, times)

    def _count(self, phase: Closed, now_s: float, *, failed: bool, slow: bool) -> None:
        counts = phase.window.add(now_s, failed=failed, slow=slow)
        self._slow += slow
        if failed:
            self._failed += 1
            self._failed_at = self._clock.now()
        because = why_open(self.config, counts) if failed or slow else None
        if because is not None:
            self._change(self._opened(now_s, because, counts, 1), because)

    def _settle(self, permit: Permit, *, failed: bool | None) -> None:
        """Takes a permit back: after a failure, a success (False), or what is neither (None)."""
        now_s = self._now_s()
        slow_s = self.config.slow_call_seconds
        with self._lock:
            phase = permit.phase
            if failed is not None:
                self._latencies_ms.append((now_s - permit.started_s) * 1000)
            slow = failed is not None and slow_s is not None and now_s - permit.started_s > slow_s
            if isinstance(phase, HalfOpen):
                phase.probes.pop(permit, None)
            if phase is not self._phase or not isinstance(phase, Closed | HalfOpen):
                self._uncounted += failed is not None  # late, or nothing depends on it
                self._failed += failed is True
            elif failed is None:
                pass
            elif isinstance(phase, Closed):
                self._count(phase, now_s, failed=failed, slow=slow)
            else:
                self._uncounted += 1
                self._probed(phase, now_s, failed=failed or slow)
        self._tell_news()

    def _probed(self, phase: HalfOpen, now_s: float, *, failed: bool) -> None:
        if failed:
            self._failed += 1
            self._failed_at = self._clock.now()
            because = "a probe failed"
            self._change(self._opened(now_s, because, phase.counts, phase.times + 1), because)
            return
        phase.successes += 1
        if phase.successes >= self.config.success_threshold:
            self._change(Closed(self.config), f"{phase.successes} probes went well")

    def _go(self, phase: Phase, because: str, *, told: bool = False) -> None:
        with self._lock:
            if self.config.mode != "disabled":
                self._change(phase, because, told=told)
        self._tell_news()

    def _change(self, phase: Phase, because: str, *, told: bool = False) -> None:
        old = self._phase
        self.gate = None
        if isinstance(old, Closed):
            self._retire(old)
        self._phase = phase
        wait_s = phase.until_s - phase.since_s if isinstance(phase, Open) else None
        change = Transition(
            self._clock.now(), old.state, phase.state, because, getattr(phase, "counts", Counts()), wait_s, told
        )
        self._history.append(change)
        self._news.append(change)

    def _retire(self, phase: Closed) -> None:
        """Keeps the count of an epoch that is over: calls that began in it may still come to their end."""
        if isinstance(phase.window, CallWindow):
            self._windows.append(phase.window)
            if len(self._windows) > _KEPT:
                self._counted += self._windows.popleft().total
        else:
            self._counted += phase.window.total

    # Without the lock.

    def _tell_news(self) -> None:
        while self._news:
            try:
                change = self._news.popleft()
            except IndexError:  # another thread was quicker
                return
            for listener in self._listeners:
                tell(listener, change)


_entered: ContextVar[tuple[Permit, ...]] = ContextVar("winclaw_circuit_entered", default=())
"""The permits of the ``with`` blocks that this task or thread is in, innermost last."""
