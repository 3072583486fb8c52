"""A circuit that threads and event loops use at the same time."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading

from resilience.circuit.breaker import CircuitBreaker, CircuitBreakerConfig, CircuitBreakerOpenError
from resilience.testing import FakeClock
from tests.resilience.circuit.conftest import CLOSED, HALF_OPEN, OPEN, SMALL, Gone, fail, half_open


def test_threads_and_loops_lose_no_call() -> None:
    breaker = CircuitBreaker("x", CircuitBreakerConfig(failure_threshold=10_000, error_rate_threshold=1.0, window_calls=50))
    each, threads = 2000, 6

    @breaker
    def work(n: int) -> None:
        if n % 10 == 0:
            raise Gone

    @breaker
    async def work_too(n: int) -> None:
        if n % 10 == 0:
            raise Gone

    def sync() -> None:
        for n in range(each):
            with contextlib.suppress(Gone):
                work(n)

    async def many() -> None:
        for n in range(each):
            with contextlib.suppress(Gone):
                await work_too(n)

    running = [threading.Thread(target=sync if n % 2 else lambda: asyncio.run(many())) for n in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    metrics = breaker.metrics
    assert (metrics.total_calls, metrics.failed_calls) == (each * threads, each * threads // 10)
    assert metrics.window.calls == 50


def test_callers_do_not_wait_for_each_other(breaker: CircuitBreaker) -> None:
    """All are inside at the same time, or the barrier breaks."""
    together = threading.Barrier(5, timeout=10)
    threads = [threading.Thread(target=breaker.call, args=[together.wait]) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert breaker.metrics.successful_calls == 5


def test_threads_together_open_it_once_and_half_open_it_once() -> None:
    clock = FakeClock()
    breaker = CircuitBreaker("x", SMALL, clock=clock)
    start = threading.Barrier(8)

    def run() -> None:
        start.wait()
        for _ in range(300):
            try:
                breaker.call(fail)
            except (Gone, CircuitBreakerOpenError):
                clock.advance(1)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    changes = [(change.old, change.new) for change in breaker.metrics.state_changes]
    assert set(changes) <= {(CLOSED, OPEN), (OPEN, HALF_OPEN), (HALF_OPEN, OPEN)}
    assert all(one[1] is other[0] for one, other in itertools.pairwise(changes))


def test_of_threads_that_probe_together_as_many_as_allowed_are_let_in(breaker: CircuitBreaker, clock: FakeClock) -> None:
    """Those inside stay there until all the others have been refused, or the test does not end well."""
    half_open(breaker, clock)
    threads_n, lock = 8, threading.Lock()
    start, all_refused = threading.Barrier(threads_n), threading.Event()
    inside, refused = 0, 0

    def probe() -> None:
        nonlocal inside
        with lock:
            inside += 1
        assert all_refused.wait(10)

    def run() -> None:
        nonlocal refused
        start.wait()
        try:
            breaker.call(probe)
        except CircuitBreakerOpenError:
            with lock:
                refused += 1
                if refused == threads_n - SMALL.half_open_max_calls:
                    all_refused.set()

    threads = [threading.Thread(target=run) for _ in range(threads_n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (inside, refused, breaker.state) == (2, 6, CLOSED)
