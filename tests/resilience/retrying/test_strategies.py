"""Which errors are worth another try, how often, and after which pause, by the rules (§4). No executor, no clock."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience import ErrorClassifier
from resilience import errors as e
from resilience.policies import RetryStrategy
from resilience.refusals import RefusedError
from resilience.retrying.strategies import (
    RETRY_STRATEGIES,
    RetryConfig,
    asked_seconds,
    is_worth_it,
    names,
    no_time_for,
    pause_seconds,
    strategy_for,
)

# After which pause

POLICIES = st.builds(
    RetryStrategy,
    base_delay=st.floats(0, 100),
    max_delay=st.floats(100, 1000),
    exponential_base=st.floats(1, 100),
    jitter=st.booleans(),
    jitter_kind=st.sampled_from(["additive", "equal", "full"]),
    jitter_max=st.floats(0, 3600),
)


@given(POLICIES, st.integers(1, 1000), st.floats(0, 1, exclude_max=True))
def test_no_pause_is_longer_than_the_longest(policy: RetryStrategy, number: int, die: float) -> None:
    """In the document's sample: jitter came after the cap."""
    assert 0 <= pause_seconds(policy, number, lambda: die) <= policy.max_delay


@pytest.mark.parametrize(
    ("kind", "low", "high"), [("additive", 8.0, 8.5), ("equal", 4.0, 8.0), ("full", 0.0, 8.0)]
)
def test_jitter_comes_in_three_kinds(kind: Any, low: float, high: float) -> None:
    policy = RetryStrategy(base_delay=1, jitter_kind=kind, jitter_max=0.5)
    assert pause_seconds(policy, 4, lambda: 0.0) == low
    dice = random.Random(7)
    pauses = [pause_seconds(policy, 4, dice.random) for _ in range(1000)]
    assert low <= min(pauses) < low + 0.1 * (high - low)
    assert high - 0.1 * (high - low) < max(pauses) < high


@given(POLICIES, st.floats(0.001, 2000), st.floats(0.001, 2000), st.floats(0, 1, exclude_max=True))
def test_chance_never_shortens_what_a_service_asks_for_nor_makes_it_too_long(
    policy: RetryStrategy, asked_s: float, longest_s: float, die: float
) -> None:
    pause_s = asked_seconds(policy, asked_s, longest_s, lambda: die)
    assert asked_s <= pause_s <= asked_s + policy.jitter_max
    assert pause_s <= max(asked_s, longest_s) + 1e-9


@pytest.mark.parametrize(
    ("pause_s", "left_s", "said"),
    [
        (10, None, ""),
        (10.5, None, "it asks to be left alone for 10.5 s, and 10 s is the longest"),
        (99, 100, ""),
        (100, 100, "the next try would begin after its time is up"),
        (0, -1, "the next try would begin after its time is up"),
    ],
)
def test_a_pause_is_bound_by_the_deadline_or_else_by_the_longest(pause_s: float, left_s: float | None, said: str) -> None:
    assert no_time_for(pause_s, RetryStrategy(max_delay=10), left_s) == said


# For what


@pytest.mark.parametrize(
    ("retryable", "error", "error_class", "named", "worth"),
    [
        ((Exception,), OSError(), e.NetworkTransientError, False, True),
        ((Exception,), PermissionError(), e.OSPermissionError, False, False),
        ((Exception,), RuntimeError(), e.AuthenticationError, False, False),
        ((Exception,), RefusedError(), RefusedError, False, False),
        ((PermissionError,), PermissionError(), e.OSPermissionError, True, True),
        ((e.OSPermissionError,), PermissionError(), e.OSPermissionError, False, True),
        ((RefusedError,), RefusedError(), RefusedError, True, True),
        ((TimeoutError,), OSError(), e.NetworkTransientError, False, False),
        ((), OSError(), e.NetworkTransientError, False, False),
    ],
)
def test_a_strategy_says_for_which_errors_it_is(
    retryable: Any, error: Exception, error_class: Any, named: bool, worth: bool
) -> None:
    """By the error's own class, or the one under which it is classified."""
    config = RetryConfig(retryable_exceptions=retryable)
    assert (names(config, error), is_worth_it(config, error, error_class)) == (named, worth)


# The document's table and its strategies


@pytest.mark.parametrize(
    ("error", "component", "retries", "first", "longest"),
    [
        (e.NetworkTransientError("x"), "api", 5, 1.0, 32.0),
        (e.RateLimitError("x"), "api", 10, 1.0, 60.0),
        (e.ServiceUnavailableError("x"), "api", 5, 1.0, 16.0),
        (TimeoutError("x"), "api", 3, 5.0, 5.0),
        (TimeoutError("x"), "gpt-5.2", 3, 5.0, 5.0),
        (ConnectionResetError(104, "x"), "api", 5, 1.0, 16.0),
        (e.LLMRateLimitError("x"), "gpt-5.2", 10, 2.0, 120.0),
        (e.AuthenticationError("x"), "api", 0, 0, 0),
        (e.ValidationError("x"), "api", 0, 0, 0),
        (e.SecurityError("x"), "api", 0, 0, 0),
        (e.DiskSpaceError("x"), "api", 0, 0, 0),
        (RuntimeError("x"), "api", 0, 0, 0),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Exception) else None,
)
def test_the_error_decides(error: Exception, component: str, retries: int, first: float, longest: float) -> None:
    """§4.1; waiting frees no disk (§2.3), and of what nobody knows, nobody knows that it passes."""
    strategy = strategy_for(error, ErrorClassifier().verdict(error, component))
    assert strategy.max_retries == retries
    if retries:
        assert (pause_seconds(strategy, 1, lambda: 0.0), pause_seconds(strategy, 1000, lambda: 0.0)) == (first, longest)


@pytest.mark.parametrize(
    ("name", "retries", "base", "longest", "jitter"),
    [
        ("network", 5, 1.0, 32.0, 1.0), ("api_rate_limited", 10, 2.0, 120.0, 2.0), ("llm_service", 5, 2.0, 60.0, 1.0),
        ("database", 3, 0.5, 10.0, 1.0), ("filesystem", 3, 0.1, 5.0, None),
    ],
)  # fmt: skip
def test_the_strategies_are_the_documents(name: str, retries: int, base: float, longest: float, jitter: float | None) -> None:
    """§4.2."""
    one = RETRY_STRATEGIES[name]
    assert (one.max_retries, one.base_delay, one.max_delay, one.jitter_max if one.jitter else None) == (
        retries, base, longest, jitter,
    )  # fmt: skip
