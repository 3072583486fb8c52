"""The policies of a call, as plain data: when a circuit opens, how often a call is tried again, how many run at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal

from msgspec import Meta

from resilience.config.sections import Section, means

Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class CircuitBreakerConfig(Section, frozen=True, kw_only=True):
    """When a service's circuit opens and closes (§3.2).

    A probe gives its permit back, so more successes than permits may be asked for: they come one after another. What
    could never close is a circuit that allows no probe, or no time for one; the limits rule both out.
    """

    mode: Annotated[
        Literal["enforce", "observe", "disabled"],
        means("`observe`: it says what it would do and refuses nothing; `disabled`: it does not even look"),
    ] = "enforce"
    failure_threshold: Annotated[int, means("failures in a row that open it", ge=1, le=10_000)] = 5
    success_threshold: Annotated[int, means("successful probes that close it again", ge=1, le=1000)] = 3
    timeout_seconds: Annotated[float, means("how long it is open before it is probed", "s", gt=0, le=86_400)] = 30.0
    timeout_growth: Annotated[
        float, means("each time it opens again without having closed, it is open so many times longer", ge=1, le=10)
    ] = 1.0
    max_timeout_seconds: Annotated[float, means("the longest that it grows to", "s", gt=0, le=86_400)] = 300.0
    half_open_max_calls: Annotated[int, means("probes at the same time", ge=1, le=1000)] = 3
    error_rate_threshold: Annotated[float, means("share of failed calls that opens it", gt=0, le=1)] = 0.5
    min_calls_for_rate: Annotated[int, means("calls in the window before a share counts", ge=1, le=10_000)] = 10
    window_calls: Annotated[int, means("the window: so many of the latest calls", ge=1, le=10_000)] = 100
    window_seconds: Annotated[
        Seconds | None, means("the window: the calls of that time instead, exact to a tenth of it", "s")
    ] = None
    slow_call_seconds: Annotated[
        Seconds | None, means("a call that takes longer is slow; none: no call is", "s")
    ] = None
    slow_call_rate_threshold: Annotated[float, means("share of slow calls that opens it", gt=0, le=1)] = 0.5
    reset_timeout_seconds: Annotated[
        float, means("how long a probe may take before the circuit opens again", "s", gt=0, le=86_400)
    ] = 60.0

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if self.window_seconds is None and self.min_calls_for_rate > self.window_calls:
            yield (
                "min_calls_for_rate",
                f"the window holds {self.window_calls} calls, so {self.min_calls_for_rate} are never in it",
            )
        if self.timeout_growth > 1 and self.max_timeout_seconds < self.timeout_seconds:
            yield (
                "max_timeout_seconds",
                f"the longest, {self.max_timeout_seconds:g}, is shorter than timeout_seconds, {self.timeout_seconds:g}",
            )


class RetryStrategy(Section, frozen=True, kw_only=True):
    """How often, and after which pauses, a failed call is tried again (§4.2)."""

    max_retries: Annotated[int, means("tries after the first call", ge=0, le=1000)] = 3
    base_delay: Annotated[float, means("the first pause", "s", ge=0, le=3600)] = 1.0
    max_delay: Annotated[float, means("the longest pause, jitter included", "s", ge=0, le=86_400)] = 60.0
    exponential_base: Annotated[float, means("each pause is so many times the one before", ge=1, le=100)] = 2.0
    jitter: Annotated[bool, means("whether chance changes each pause, so that callers do not come back together")] = True
    jitter_kind: Annotated[
        Literal["additive", "equal", "full"],
        means("`additive` adds up to jitter_max; `equal` takes up to half of the pause away, `full` up to all of it"),
    ] = "additive"
    jitter_max: Annotated[float, means("the most that additive jitter adds", "s", ge=0, le=3600)] = 1.0
    total_seconds: Annotated[
        Seconds | None, means("no try begins, and no pause ends, later than this after the first call", "s")
    ] = None

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if self.max_delay < self.base_delay:
            yield "max_delay", f"the longest pause, {self.max_delay:g}, is shorter than base_delay, {self.base_delay:g}"


class RetryBudget(Section, frozen=True, kw_only=True):
    """How many retries a service is asked to bear, over all callers in a process: an outage must not become a storm.

    A bucket of tokens: a retry takes one, and where there is none the call fails with what it has. Each first call puts
    ``per_call`` in, time puts ``per_second`` in, and it never holds more than ``burst``, with which it begins.
    """

    enabled: Annotated[bool, means("whether retries are limited over all callers")] = True
    per_call: Annotated[float, means("retries that each first call allows", ge=0, le=100)] = 0.2
    per_second: Annotated[float, means("retries that each second allows", "1/s", ge=0, le=1000)] = 0.5
    burst: Annotated[float, means("retries that may come at once", ge=1, le=100_000)] = 20.0


class BulkheadLimits(Section, frozen=True, kw_only=True):
    """How many calls to a service may run at once, and how many wait (§7.2)."""

    max_concurrent: Annotated[int, means("calls at the same time", ge=1, le=100_000)] = 10
    max_queue: Annotated[int, means("calls that may wait", ge=0, le=1_000_000)] = 100
    timeout_seconds: Annotated[float, means("how long a call waits at most", "s", ge=0, le=86_400)] = 30.0


class OutboxLimits(Section, frozen=True, kw_only=True):
    """What an agent's outbox takes, and how fast, how often and how long it tries to deliver it."""

    max_messages: Annotated[int, means("messages that may wait, over all channels", ge=1, le=1_000_000)] = 10_000
    max_payload_kb: Annotated[int, means("size of a message's payload, as JSON", "kB", ge=1, le=10_000)] = 256
    expire_after_s: Annotated[
        float, means("age past which a message is not sent any more, unless it says otherwise", "s", gt=0, le=315_360_000)
    ] = 604_800.0
    drain_per_s: Annotated[
        float, means("how many messages leave a channel where several wait", "1/s", gt=0, le=10_000)
    ] = 5.0
    max_attempts: Annotated[int, means("attempts after which a message is given up", ge=1, le=1000)] = 8
    keep_days: Annotated[
        int, means("how long the keys of messages that were sent or given up are known", "days", ge=1, le=3650)
    ] = 30


CIRCUIT_CONFIGS: Final[Mapping[str, CircuitBreakerConfig]] = MappingProxyType(
    {
        name: CircuitBreakerConfig(
            failure_threshold=failures, success_threshold=successes, timeout_seconds=open_s,
            half_open_max_calls=probes, error_rate_threshold=rate,
        )
        for name, failures, successes, open_s, probes, rate in (
            ("gpt-5.2", 3, 2, 10.0, 2, 0.3),
            ("gmail_api", 5, 3, 30.0, 3, 0.5),
            ("twilio_api", 5, 3, 20.0, 3, 0.5),
            ("browser_control", 3, 2, 15.0, 2, 0.4),
            ("memory_system", 10, 5, 5.0, 5, 0.7),
            ("vector_store", 5, 3, 10.0, 3, 0.5),
            ("tts_engine", 3, 2, 10.0, 2, 0.3),
            ("stt_engine", 3, 2, 10.0, 2, 0.3),
            ("file_system", 10, 5, 5.0, 5, 0.8),
            ("shell_execution", 5, 3, 10.0, 3, 0.5),
        )
    }
)  # fmt: skip
"""The circuits of the document's services (§3.3)."""

RETRY_POLICIES: Final[Mapping[str, RetryStrategy]] = MappingProxyType(
    {
        "network": RetryStrategy(max_retries=5, max_delay=32.0),
        "api_rate_limited": RetryStrategy(max_retries=10, base_delay=2.0, max_delay=120.0, jitter_max=2.0),
        "llm_service": RetryStrategy(max_retries=5, base_delay=2.0),
        "database": RetryStrategy(base_delay=0.5, max_delay=10.0),
        "filesystem": RetryStrategy(base_delay=0.1, max_delay=5.0, jitter=False),
    }
)
"""The pauses of the document's strategies (§4.2); which errors each is for, ``retrying.strategies`` says."""
