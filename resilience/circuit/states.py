"""A circuit's states, its way from one to the next, and what it says of itself (§3.2). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Any

from resilience.circuit.window import CallWindow, Counts, TimeWindow
from resilience.policies import CircuitBreakerConfig
from resilience.refusals import RefusedError


class CircuitState(Enum):
    """Circuit breaker states (§3.2): the document's three, and two that a person chooses."""

    CLOSED = auto()
    """Calls are made."""
    OPEN = auto()
    """Calls are refused, until the time is up."""
    HALF_OPEN = auto()
    """A few calls are made, to see whether the service answers again."""
    ISOLATED = auto()
    """Calls are refused until somebody releases it: forced open."""
    DISABLED = auto()
    """Calls are made, whatever happens."""


class CircuitBreakerOpenError(RefusedError):
    """The circuit did not let the call through; it was not made (§3.2).

    Attributes:
        name: the circuit's. state: OPEN, HALF_OPEN (all its probes are under way) or ISOLATED.
        because: why it opened. counts: what its window held then. retry_after_s: until it may be probed.
    """

    kind = "refused.circuit_open"
    gate = "circuit"

    args: tuple[str, CircuitState, str, Counts, float | None]
    __init__ = Exception.__init__  # a service that is down is refused thousands of times: what was said is kept as it is

    name = property(lambda self: self.args[0])
    state = property(lambda self: self.args[1].name)
    because = property(lambda self: self.args[2])
    counts = property(lambda self: self.args[3])
    retry_after_s = property(lambda self: self.args[4])

    def __str__(self) -> str:
        again = "" if self.retry_after_s is None else f"; it may be tried again in {self.retry_after_s:.1f} s"
        return f"the circuit {self.name!r} is {self.state}: {self.because}{again}"

    @property
    def reason(self) -> dict[str, Any]:
        said = {"name": self.name, "state": self.state, "because": self.because, "counts": self.counts._asdict()}
        return {**super().reason, **said}


@dataclass(frozen=True, slots=True)
class Transition:
    """A circuit went from one state to another."""

    at: datetime
    old: CircuitState
    new: CircuitState
    because: str
    counts: Counts
    retry_after_s: float | None = None
    told: bool = False
    """Whether it followed another's circuit, instead of what it saw itself."""


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


def why_open(config: CircuitBreakerConfig, counts: Counts) -> str | None:
    """Why a closed circuit must open with what its window holds; None if it need not."""
    if counts.in_a_row >= config.failure_threshold:
        return f"{counts.in_a_row} calls in a row failed"
    if counts.calls < config.min_calls_for_rate:
        return None
    for bad, limit, word in (
        (counts.failures, config.error_rate_threshold, "failed"),
        (counts.slow, config.slow_call_rate_threshold, f"took longer than {config.slow_call_seconds:g} s")
        if config.slow_call_seconds is not None
        else (0, 1.0, ""),
    ):
        if bad / counts.calls >= limit:
            return f"{bad} of the last {counts.calls} calls {word}, and {limit:.0%} are too many"
    return None


def open_seconds(config: CircuitBreakerConfig, times: int) -> float:
    """For how long a circuit is open that opens for the ``times``-th time since it was closed (the first is 1)."""
    if config.timeout_growth == 1:
        return config.timeout_seconds
    try:
        grown = config.timeout_seconds * config.timeout_growth ** (times - 1)
    except OverflowError:  # the longest was reached hundreds of times before
        return config.max_timeout_seconds
    return min(grown, config.max_timeout_seconds)


# The states as data: what a state must remember lives in it, and a new one is a new epoch. Only ``circuit`` makes them.


class Closed:
    """Calls are made and counted."""

    state = CircuitState.CLOSED

    def __init__(self, config: CircuitBreakerConfig) -> None:
        self.window: CallWindow | TimeWindow = (
            CallWindow(config.window_calls) if config.window_seconds is None else TimeWindow(config.window_seconds)
        )


@dataclass(eq=False, slots=True)
class Open:
    """Calls are refused until ``until_s``. It is the ``times``-th time since the circuit was closed."""

    since_s: float
    until_s: float
    because: str
    counts: Counts
    times: int
    state = CircuitState.OPEN


@dataclass(eq=False, slots=True)
class HalfOpen:
    """Probes are under way, each with the moment by which it must have answered."""

    because: str
    counts: Counts
    times: int
    successes: int = 0
    probes: dict[object, float] = field(default_factory=dict)
    state = CircuitState.HALF_OPEN


@dataclass(eq=False, slots=True)
class Isolated:
    """Calls are refused until it is released."""

    because: str
    counts: Counts = Counts()  # noqa: RUF009 -- immutable
    state = CircuitState.ISOLATED


class Disabled:
    """Calls are made."""

    state = CircuitState.DISABLED


Phase = Closed | Open | HalfOpen | Isolated | Disabled
