"""What a circuit has seen and says of itself: calls, failures, refusals, latencies, changes (§3.2)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from resilience.circuit.states import Closed, HalfOpen, Open, Phase, Transition
from resilience.circuit.window import CallWindow, Counts, Tally, TimeWindow
from resilience.clock import Clock

_KEPT: Final = 100


@dataclass(frozen=True, slots=True)
class CircuitMetrics:
    """What a circuit has seen (§3.2). Times are aware and in UTC."""

    total_calls: int = 0
    successful_calls: int = 0
    failed_calls: int = 0
    slow_calls: int = 0
    rejected_calls: int = 0
    last_failure_time: datetime | None = None
    last_success_time: datetime | None = None
    state_changes: Sequence[Transition] = ()
    window: Counts = field(default_factory=Counts)
    latencies_ms: Sequence[float] = ()

    @property
    def error_rate(self) -> float:
        """The share of failed calls in the window, 0 to 1."""
        return self.window.failures / self.window.calls if self.window.calls else 0.0

    @property
    def availability(self) -> float:
        """The share of all calls that went well, 0 to 1."""
        return self.successful_calls / self.total_calls if self.total_calls else 1.0

    def percentile_ms(self, share: float) -> float | None:
        """How many milliseconds ``share`` (0 to 1) of the latest sampled calls took at most; None without any."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None


class Ledger:
    """The books of one circuit. They need its lock, but for ``rejections``."""

    def __init__(self, clock: Clock) -> None:
        self._now = clock.now
        self.rejections = Tally()
        self._history: deque[Transition] = deque(maxlen=_KEPT)
        self._latencies_ms: deque[float] = deque(maxlen=_KEPT)
        self._windows: deque[CallWindow] = deque()  # of epochs that are over, in which calls may still be under way
        self._apart = self._failed = self._slow = self._succeeded = 0
        self._failed_at: datetime | None = None
        self._succeeded_at: datetime | None = None

    def timed(self, seconds: float) -> None:
        """A call took so long."""
        self._latencies_ms.append(seconds * 1000)

    def count(self, *, failed: bool, slow: bool, in_window: bool = False, late: bool = False) -> None:
        """A call has ended. ``in_window``: a window counts it, too. ``late``: it moves nothing."""
        self._apart += not in_window
        self._slow += slow
        if failed:
            self._failed += 1
            if not late:
                self._failed_at = self._now()

    def changed(self, change: Transition) -> None:
        """The circuit went from one state to another."""
        self._history.append(change)

    def retire(self, window: CallWindow | TimeWindow) -> None:
        """Keeps the count of an epoch that is over: calls that began in it may still come to their end."""
        if isinstance(window, CallWindow):
            self._windows.append(window)
            if len(self._windows) > _KEPT:
                self._apart += self._windows.popleft().total
        else:
            self._apart += window.total

    def total(self, phase: Phase) -> int:
        """How many calls have ended, well or badly."""
        running = phase.window.total if isinstance(phase, Closed) else 0
        return self._apart + sum(window.total for window in self._windows) + running

    def metrics(self, phase: Phase, now_s: float) -> CircuitMetrics:
        """What it has seen until now."""
        counts = phase.window.counts(now_s) if isinstance(phase, Closed) else getattr(phase, "counts", Counts())
        total = self.total(phase)
        succeeded = total - self._failed
        if succeeded > self._succeeded:  # a success costs no clock, so it is seen when somebody looks
            self._succeeded, self._succeeded_at = succeeded, self._now()
        return CircuitMetrics(
            total, succeeded, self._failed, self._slow, self.rejections.value, self._failed_at, self._succeeded_at,
            tuple(self._history), counts, tuple(self._latencies_ms),
        )  # fmt: skip

    def status(self, name: str, phase: Phase, now_s: float) -> dict[str, Any]:
        """All there is to say of the circuit called ``name``; see ``CircuitBreaker.get_status``."""
        metrics = self.metrics(phase, now_s)
        last = metrics.state_changes[-1] if metrics.state_changes else None
        return {
            "name": name,
            "state": phase.state.name,
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
