"""A circuit's states, and what follows in each: after time, after a call, after a command (§3.2). Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from operator import itemgetter
from typing import Any, Protocol, assert_never

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


class Probe(Protocol):
    """A permit to make one call, from ``started_s`` on."""

    started_s: float


@dataclass(eq=False, slots=True)
class HalfOpen:
    """Probes are under way, each with the moment by which it must have answered."""

    because: str
    counts: Counts
    times: int
    successes: int = 0
    probes: dict[Probe, float] = field(default_factory=dict)
    state = CircuitState.HALF_OPEN


@dataclass(eq=False, slots=True)
class Isolated:
    """Calls are refused until it is released. ``told``: by somebody else, so what is told may end it, too."""

    because: str
    told: bool = False
    counts = Counts()
    state = CircuitState.ISOLATED


class Disabled:
    """Calls are made."""

    state = CircuitState.DISABLED


Phase = Closed | Open | HalfOpen | Isolated | Disabled


# What follows. Pure: a step is the state that comes next, and why; None: it stays as it is.

Step = tuple[Phase, str]


def opened(config: CircuitBreakerConfig, since_s: float, because: str, counts: Counts, times: int) -> Step:
    """It opens for the ``times``-th time since it was closed."""
    return Open(since_s, since_s + open_seconds(config, times), because, counts, times), because


def refused_for(phase: Phase, config: CircuitBreakerConfig, now_s: float) -> float | None:
    """For how many seconds no call is let through (0: nobody knows); None: one is, at once."""
    match phase:
        case Closed() | Disabled():
            return None
        case HalfOpen():
            return None if len(phase.probes) < config.half_open_max_calls else 0.0
        case Open():
            return phase.until_s - now_s
        case Isolated():
            return 0.0
        case _:
            assert_never(phase)


def after_time(phase: Phase, config: CircuitBreakerConfig, now_s: float) -> Step | None:
    """The open time is over, or a probe has not answered in time. Another step may be due at once."""
    match phase:
        case HalfOpen() if phase.probes:
            probe, due_s = min(phase.probes.items(), key=itemgetter(1))  # no policy is as patient as another
            if now_s < due_s:
                return None
            because = f"a probe did not answer within {due_s - probe.started_s:g} s"
            return opened(config, due_s, because, phase.counts, phase.times + 1)
        case Open() if now_s >= phase.until_s:
            return HalfOpen(phase.because, phase.counts, phase.times), "its time is up"
        case _:
            return None


def after_call(config: CircuitBreakerConfig, counts: Counts, now_s: float) -> Step | None:
    """A call of a closed circuit has ended badly; its window holds ``counts`` with it."""
    because = why_open(config, counts)
    return None if because is None else opened(config, now_s, because, counts, 1)


def after_probe(phase: HalfOpen, config: CircuitBreakerConfig, now_s: float, *, failed: bool, slow: bool) -> Step | None:
    """A probe has ended; if it went well, it is counted in ``phase`` already."""
    if failed or slow:
        because = "a probe failed" if failed else f"a probe took longer than {config.slow_call_seconds:g} s"
        return opened(config, now_s, because, phase.counts, phase.times + 1)
    if phase.successes >= config.success_threshold:
        return Closed(config), f"{phase.successes} probes went well"
    return None


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
        grown = config.timeout_seconds * float(config.timeout_growth) ** (times - 1)
    except OverflowError:  # the longest was reached hundreds of times before
        return config.max_timeout_seconds
    return min(grown, config.max_timeout_seconds)


# What follows from a command: each gives the state after it, which is ``phase`` itself where nothing follows.


def after_isolate(phase: Phase, because: str, *, told: bool) -> Phase:
    """A program that isolates what somebody else has isolated makes the isolation its own."""
    if isinstance(phase, Isolated) and (told or not phase.told):
        return phase
    return Isolated(because, told=told)


def after_release(phase: Phase, because: str) -> Phase:
    """An isolation, or the waiting of an open circuit, is over: probes find out."""
    match phase:
        case Isolated():
            return HalfOpen(because, Counts(), 0)
        case Open(counts=counts, times=times):
            return HalfOpen(because, counts, times)
        case Closed() | HalfOpen() | Disabled():
            return phase
        case _:
            assert_never(phase)


def after_hold_open(phase: Phase, since_s: float, for_s: float, because: str) -> Phase:
    """How often it has opened is not forgotten: if it then opens by itself, it is open for longer."""
    times = phase.times if isinstance(phase, Open | HalfOpen) else 0
    return Open(since_s, since_s + for_s, because, Counts(), max(times, 1))


def is_the_programs_own(phase: Phase) -> bool:
    """Whether the program itself has isolated it: what is told does not end that."""
    return isinstance(phase, Isolated) and not phase.told
