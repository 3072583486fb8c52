"""The circuit breaker: calls to a service that fails are refused until it answers again (§3).

Each state is an object of its own, and each call that is let through belongs to the state it began in: a result that
comes when there is another is counted and moves nothing. While a circuit is closed and quiet, a call costs two steps:
it looks whether the gate is open, and a success takes a number (see ``window``). Everything else happens under
a lock, which is never held while a caller's or a listener's code runs.

What follows is decided in ``states``, counted in ``ledger``, told by ``announcements``; functions and blocks are wrapped in
``guarding``. What is left here is longer than our files should be, because it is one object under one lock.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar, cast

from resilience.circuit.announcements import Announcements
from resilience.circuit.blame import is_services_fault
from resilience.circuit.guarding import enter, guard, guard_results, leave
from resilience.circuit.ledger import CircuitMetrics, Ledger
from resilience.circuit.states import (
    CircuitBreakerOpenError,
    CircuitState,
    Closed,
    Disabled,
    HalfOpen,
    Isolated,
    Open,
    Phase,
    Transition,
    after_call,
    after_hold_open,
    after_isolate,
    after_probe,
    after_release,
    after_time,
    is_the_programs_own,
    open_seconds,
    refused_for,
)
from resilience.circuit.window import CallWindow, Counts
from resilience.clock import Clock, SystemClock
from resilience.listeners import Done, tell
from resilience.policies import CircuitBreakerConfig
from resilience.wrapping import refuse_generators

__all__ = [
    "CircuitBreaker", "CircuitBreakerConfig", "CircuitBreakerOpenError", "CircuitMetrics", "CircuitState", "Transition",
]  # fmt: skip

P = ParamSpec("P")
R = TypeVar("R")
_log = logging.getLogger("winclaw.circuit")
_BUSY_S: Final = 0.1  # with longer between two calls, each is timed; of busier traffic, one in 128 (see ``guarding``)
_OPEN: Final = CircuitState.OPEN  # looking a member up costs as much as making a call


class Permit:
    """Leave to make one call. Called when the call went well; ``CircuitBreaker.failed`` takes it when it did not."""

    __slots__ = ("breaker", "phase", "started_s")

    def __init__(self, breaker: CircuitBreaker, phase: Phase, started_s: float) -> None:
        self.breaker, self.phase, self.started_s = breaker, phase, started_s

    def __call__(self) -> int:
        self.breaker.settle(self, failed=False)
        return 1


class CircuitBreaker:
    """One service's circuit. For threads and tasks alike; of any number of event loops.

    Use it as a decorator (``@breaker``), as a context manager (``with`` or ``async with``), or by ``call``.

    Args:
        name: the service's.
        config: when it opens and closes.
        on_state_change: called with (name, old state, new state) after each change, one after another in their order,
            outside of every lock.
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
        self._lock = threading.RLock()  # a coroutine that the garbage collector ends may give back while its thread is in here
        self._ledger, self._news = Ledger(self._clock), Announcements()
        self._count_rejection = self._ledger.rejections.tick
        if on_state_change is not None:
            self.listen(lambda change: on_state_change(name, change.old, change.new))
        self.gate: Callable[[], int] | None = None
        self._admitted_s = -_BUSY_S
        self._configure((config or CircuitBreakerConfig()).sound())
        self._phase: Phase = Disabled() if self.config.mode == "disabled" else Closed(self.config)

    # What callers use.

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """``function``, guarded; coroutine functions stay coroutine functions."""
        refuse_generators(function)
        if self._is_failure_result is not None:
            return guard_results(self, function, self._is_failure_result)
        return guard(self, function)

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """``function(*args, **kwargs)``, guarded; of a coroutine function, a coroutine to await.

        Raises:
            CircuitBreakerOpenError: it was not called. Whatever it raises itself comes through as it is.
        """
        return self(function)(*args, **kwargs)

    def __enter__(self) -> Self:
        enter(self.admit())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        permit = leave(self, error)
        if error is None:
            permit()
        else:
            self.failed(permit, error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *ended: Any) -> None:
        self.__exit__(*ended)

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
            phase, refused_for_s = self._phase, None
            permit = Permit(self, phase, now_s)
            if type(phase) is Closed:  # as almost always: nothing to decide
                if self._is_plain and now_s - self._admitted_s < _BUSY_S:
                    self.gate = cast("CallWindow", phase.window).tick
            else:
                refused_for_s = refused_for(phase, self.config, now_s)
                if refused_for_s is None and type(phase) is HalfOpen:
                    phase.probes[permit] = now_s + self.config.reset_timeout_seconds
            self._admitted_s = now_s
        self._news.make()
        if refused_for_s is None:
            return permit
        self._count_rejection()
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
                _log.exception("the circuit %s cannot judge an error, and counts it as a failure", self.name)
                failed = True
        if isinstance(permit, Permit):
            self.settle(permit, failed=failed)
        elif failed:
            with self._lock:
                phase = self._phase
                if isinstance(phase, Closed) and isinstance(phase.window, CallWindow) and phase.window.tick is permit:
                    self._count(phase, self._now_s(), failed=True, slow=False)
                else:
                    self._ledger.count(failed=True, slow=False, late=True)
            self._news.make()

    def settle(self, permit: Permit, *, failed: bool | None) -> None:
        """Takes ``permit`` back: after a failure, a success (False), or what is neither (None)."""
        now_s = self._now_s()
        with self._lock:
            phase, took_s, slow_s = permit.phase, now_s - permit.started_s, self.config.slow_call_seconds
            if isinstance(phase, HalfOpen):
                phase.probes.pop(permit, None)
            if failed is not None:
                self._ledger.timed(took_s)
                slow = slow_s is not None and took_s > slow_s
                if phase is not self._phase or not isinstance(phase, Closed | HalfOpen):
                    self._ledger.count(failed=failed, slow=slow, late=True)  # or nothing depends on it
                elif isinstance(phase, Closed):
                    self._count(phase, now_s, failed=failed, slow=slow)
                else:
                    self._probed(phase, now_s, failed=failed, slow=slow)
        self._news.make()

    # What those use who watch over it.

    @property
    def state(self) -> CircuitState:
        """The state as the clock has it: one whose open time is over is HALF_OPEN, whether or not somebody asked."""
        with self._lock:
            self._let_time_pass(self._now_s())
            state = self._phase.state
        self._news.make()
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
            return self._ledger.total(self._phase)

    @property
    def metrics(self) -> CircuitMetrics:
        """What it has seen until now, as it is at this moment."""
        with self._lock:
            return self._ledger.metrics(self._phase, self._now_s())

    def get_status(self) -> dict[str, Any]:
        """Everything that there is to say of it, for a page or a log (§3.2)."""
        with self._lock:
            now_s = self._now_s()
            self._let_time_pass(now_s)
            status = self._ledger.status(self.name, self._phase, now_s)
        self._news.make()
        return status

    def listen(self, listener: Callable[[Transition], Any]) -> None:
        """Has ``listener(transition)`` called after each change of state; what it raises is logged and harms nobody."""
        self._news.listen(listener)

    def isolate(self, because: str = "isolated by hand", *, told: bool = False) -> None:
        """Refuses every call until ``release``. ``told``: somebody else decided it (see ``Transition``).

        What is told, here and below, does not end an isolation by the program itself.
        """
        self._go(lambda phase: after_isolate(phase, because, told=told), because, told=told)

    def release(self, because: str = "released by hand", *, told: bool = False) -> None:
        """Ends an isolation, or the waiting of an open circuit; probes find out whether the service answers."""
        self._go(lambda phase: after_release(phase, because), because, told=told)

    def reset(self, because: str = "reset by hand", *, told: bool = False) -> None:
        """Closes it, whatever it is, and forgets what led to it; of one that is closed, its counts."""
        self._go(lambda _: Closed(self.config), because, told=told)

    def manual_reset(self) -> Done:
        """The document's name for ``reset`` (§3.2)."""
        self.reset()
        return Done()

    def hold_open(self, for_s: float, because: str) -> None:
        """Follows another's circuit to the same service: refuses calls for ``for_s`` seconds, then probes."""
        now_s = self._now_s()
        self._go(lambda phase: after_hold_open(phase, now_s, for_s, because), because, told=True)

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
                self._enter(Closed(config))
            elif isinstance(phase, Closed) and isinstance(phase.window, CallWindow):
                phase.window.size = config.window_calls
            elif isinstance(phase, Open):
                phase.until_s = phase.since_s + open_seconds(config, phase.times)
        self._news.make()

    # Under the lock.

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

    def _let_time_pass(self, now_s: float) -> None:
        """Makes the changes that are due."""
        while type(self._phase) is not Closed and (step := after_time(self._phase, self.config, now_s)) is not None:
            self._change(*step)

    def _count(self, phase: Closed, now_s: float, *, failed: bool, slow: bool) -> None:
        counts = phase.window.add(now_s, failed=failed, slow=slow)
        if not (failed or slow):
            return  # the window has counted it
        self._ledger.count(failed=failed, slow=slow, in_window=True)
        step = after_call(self.config, counts, now_s)
        if step is not None:
            self._change(*step)

    def _probed(self, phase: HalfOpen, now_s: float, *, failed: bool, slow: bool) -> None:
        self._ledger.count(failed=failed, slow=slow)
        phase.successes += not (failed or slow)
        step = after_probe(phase, self.config, now_s, failed=failed, slow=slow)
        if step is not None:
            self._change(*step)

    def _go(self, after: Callable[[Phase], Phase], because: str, *, told: bool = False) -> None:
        with self._lock:
            self._let_time_pass(self._now_s())
            old = self._phase
            if not isinstance(old, Disabled) and not (told and is_the_programs_own(old)):
                phase = after(old)
                if phase.state is not old.state:
                    self._change(phase, because, told=told)
                elif phase is not old:  # it begins anew as what it is: nothing to announce
                    self._enter(phase)
        self._news.make()

    def _change(self, phase: Phase, because: str, *, told: bool = False) -> None:
        old = self._phase
        self._enter(phase)
        wait_s = phase.until_s - phase.since_s if isinstance(phase, Open) else None
        change = Transition(
            self._clock.now(), old.state, phase.state, because, getattr(phase, "counts", Counts()), wait_s, told
        )
        self._ledger.changed(change)
        self._news.add(change)

    def _enter(self, phase: Phase) -> None:
        self.gate = None
        if isinstance(self._phase, Closed):
            self._ledger.retire(self._phase.window)
        self._phase = phase
