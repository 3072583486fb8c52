"""The bulkhead, by its rules (§7.2)."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from resilience.bulkhead import Bulkhead, BulkheadFullError, BulkheadRegistry, BulkheadTimeoutError
from resilience.testing import FakeClock
from resilience.testing.clock import settle


def state(bulkhead: Bulkhead) -> tuple[int, int, int]:
    metrics = bulkhead.get_metrics()
    return metrics["running"], metrics["current_queue"], metrics["available_slots"]


async def hold(bulkhead: Bulkhead, until: asyncio.Event) -> None:
    async with bulkhead:
        await until.wait()


def test_so_many_run_and_so_many_wait(clock: FakeClock) -> None:
    bulkhead = Bulkhead("x", 2, 3, clock=clock)

    async def scene() -> None:
        done = asyncio.Event()
        tasks = [asyncio.create_task(hold(bulkhead, done)) for _ in range(5)]
        await settle()
        assert state(bulkhead) == (2, 3, 0)
        with pytest.raises(BulkheadFullError) as refusal:
            await bulkhead.aenter()
        assert refusal.value.reason["gate"] == "bulkhead"
        assert (refusal.value.running, refusal.value.queued, refusal.value.limit) == (2, 3, 2)
        assert "2 of 2 calls running, 3 of 3 waiting" in str(pickle.loads(pickle.dumps(refusal.value)))
        done.set()
        await asyncio.gather(*tasks)

    asyncio.run(scene())
    assert state(bulkhead) == (0, 0, 2)
    metrics = bulkhead.get_metrics()
    assert [metrics[f"{name}_requests"] for name in ("total", "accepted", "rejected", "timeout")] == [6, 5, 1, 0]


def test_slots_do_not_shrink_with_use() -> None:
    """In the document's sample: of ten slots one was left."""
    bulkhead = Bulkhead("x", 10)
    for _ in range(100):
        with bulkhead:
            pass
    assert state(bulkhead) == (0, 0, 10)


def test_who_waits_in_vain_frees_nobodys_slot(clock: FakeClock) -> None:
    """In the document's sample it freed another's."""
    bulkhead = Bulkhead("x", 1, 5, timeout_seconds=10, clock=clock)

    async def scene() -> None:
        done = asyncio.Event()
        task = asyncio.create_task(hold(bulkhead, done))
        await settle()
        waiting = asyncio.create_task(bulkhead.aenter())
        await clock.run(10)
        with pytest.raises(BulkheadTimeoutError, match="had no room within 10 s"):
            await waiting
        assert state(bulkhead) == (1, 0, 0)
        done.set()
        await task

    asyncio.run(scene())
    assert state(bulkhead) == (0, 0, 1)
    assert bulkhead.get_metrics()["timeout_requests"] == 1


def test_a_timeout_of_the_call_itself_stays_what_it_is() -> None:
    """In the document's sample: it became a BulkheadTimeoutError."""

    async def slow() -> None:
        raise TimeoutError("the service's own")

    bulkhead = Bulkhead("x", 1)
    with pytest.raises(TimeoutError, match="the service's own"):
        asyncio.run(bulkhead.call(slow))
    assert state(bulkhead) == (0, 0, 1)


def test_who_is_cancelled_while_waiting_gives_the_place_back(clock: FakeClock) -> None:
    """In the document's sample: the queue shrank for ever."""
    bulkhead = Bulkhead("x", 1, 1, clock=clock)

    async def scene() -> None:
        bulkhead.enter()
        for _ in range(3):
            task = asyncio.create_task(bulkhead.aenter())
            await settle()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert state(bulkhead) == (1, 0, 0)
        bulkhead.leave()

    asyncio.run(scene())
    assert state(bulkhead) == (0, 0, 1)


def test_a_slot_given_to_one_who_is_cancelled_in_the_same_moment_goes_to_the_next(clock: FakeClock) -> None:
    bulkhead = Bulkhead("x", 1, 5, clock=clock)

    async def scene() -> None:
        bulkhead.enter()
        first, second = (asyncio.create_task(bulkhead.aenter()) for _ in range(2))
        await settle()
        bulkhead.leave()
        first.cancel()
        await asyncio.wait_for(second, 5)
        assert first.cancelled()
        assert state(bulkhead) == (1, 0, 0)

    asyncio.run(scene())


def test_the_free_slots_are_those_that_are_free() -> None:
    """In the document's sample: it told the taken ones."""
    bulkhead = Bulkhead("x", 3)
    bulkhead.enter()
    assert bulkhead.get_metrics()["available_slots"] == 2


def test_first_come_first_served(clock: FakeClock) -> None:
    bulkhead, order = Bulkhead("x", 1, 100, clock=clock), []

    async def one(n: int) -> None:
        async with bulkhead.acquire():
            order.append(n)
            await asyncio.sleep(0)

    async def scene() -> None:
        await asyncio.gather(*(one(n) for n in range(50)))

    asyncio.run(scene())
    assert order == list(range(50))


def test_who_comes_new_does_not_pass_those_who_wait(clock: FakeClock) -> None:
    bulkhead = Bulkhead("x", 1, 5, clock=clock)

    async def scene() -> None:
        bulkhead.enter()
        waiting = asyncio.create_task(bulkhead.aenter())
        await settle()
        bulkhead.leave()
        assert not bulkhead.try_enter()
        await waiting

    asyncio.run(scene())


def test_without_a_queue_nobody_waits() -> None:
    bulkhead = Bulkhead("x", 1, 0)
    with bulkhead, pytest.raises(BulkheadFullError):
        bulkhead.enter()


def test_without_time_nobody_waits() -> None:
    bulkhead = Bulkhead("x", 1, 5, timeout_seconds=0)
    with bulkhead, pytest.raises(BulkheadTimeoutError):
        bulkhead.enter()
    assert state(bulkhead) == (0, 0, 1)


def test_without_time_no_task_waits(clock: FakeClock) -> None:
    bulkhead = Bulkhead("x", 1, 5, timeout_seconds=0, clock=clock)
    with bulkhead, pytest.raises(BulkheadTimeoutError):
        asyncio.run(bulkhead.aenter())
    assert state(bulkhead) == (0, 0, 1)


def test_leaving_more_often_than_entering_invents_no_slot() -> None:
    bulkhead = Bulkhead("x", 2)
    with pytest.raises(RuntimeError, match="left more often than entered"):
        bulkhead.leave()
    assert state(bulkhead) == (0, 0, 2)


def test_a_coroutine_that_the_garbage_collector_ends_gives_its_slot_back() -> None:
    """Wherever it strikes: also while the same thread is inside the bulkhead's lock."""
    bulkhead = Bulkhead("x", 1)

    class Forever:
        def __await__(self) -> Iterator[None]:
            yield

    async def hang() -> None:
        async with bulkhead:
            await Forever()

    coroutine = hang()
    coroutine.send(None)
    with bulkhead._lock:
        coroutine.close()
    assert state(bulkhead) == (0, 0, 1)


def test_a_generator_is_refused() -> None:
    def items() -> Any:
        yield 1

    with pytest.raises(TypeError, match="is a generator"):
        Bulkhead("x")(items)


def test_it_grows_and_those_who_wait_get_in(clock: FakeClock) -> None:
    bulkhead = Bulkhead("x", 1, 5, clock=clock)

    async def scene() -> None:
        done = asyncio.Event()
        tasks = [asyncio.create_task(hold(bulkhead, done)) for _ in range(4)]
        await settle()
        bulkhead.resize(3)
        assert state(bulkhead) == (3, 1, 0)
        done.set()
        await asyncio.gather(*tasks)

    asyncio.run(scene())
    assert state(bulkhead) == (0, 0, 3)


def test_it_shrinks_as_calls_end(clock: FakeClock) -> None:
    bulkhead = Bulkhead("x", 4, 5, clock=clock)
    for _ in range(3):
        bulkhead.enter()
    bulkhead.resize(1)
    assert state(bulkhead) == (3, 0, 0)
    bulkhead.leave()
    bulkhead.leave()
    assert state(bulkhead) == (1, 0, 0)
    assert not bulkhead.try_enter()
    bulkhead.leave()
    assert state(bulkhead) == (0, 0, 1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_concurrent": 0}, "max_concurrent=0"), ({"max_queue": -1}, "max_queue=-1"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds=nan"),
    ],
)  # fmt: skip
def test_limits_that_cannot_work_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Bulkhead("x", **given)
    bulkhead = Bulkhead("x")
    with pytest.raises(ValueError, match=said):
        bulkhead.resize(**given)
    assert bulkhead.limits.max_concurrent == 10


def test_it_is_a_decorator_that_keeps_the_function() -> None:
    bulkhead = Bulkhead("x", 1)

    @bulkhead
    def double(n: int) -> int:
        """Twice."""
        assert state(bulkhead) == (1, 0, 0)
        return 2 * n

    @bulkhead
    async def triple(n: int) -> int:
        assert state(bulkhead) == (1, 0, 0)
        return 3 * n

    assert (double(2), asyncio.run(triple(2)), double.__doc__) == (4, 6, "Twice.")
    assert state(bulkhead) == (0, 0, 1)


def test_a_waiter_whose_loop_is_closed_keeps_nobody_waiting(clock: FakeClock) -> None:
    bulkhead = Bulkhead("x", 1, 5, clock=clock)
    bulkhead.enter()
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(bulkhead.aenter())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    bulkhead.leave()
    assert state(bulkhead) == (0, 0, 1)
    with pytest.raises(RuntimeError):
        waiting.get_loop().call_soon(print)
    waiting._log_destroy_pending = False  # type: ignore[attr-defined]


def test_threads_and_loops_share_the_slots() -> None:
    """Never more than three inside, nobody lost, nothing left."""
    bulkhead = Bulkhead("x", 3, 1000)
    inside, most, lock = 0, 0, threading.Lock()

    def step(change: int) -> None:
        nonlocal inside, most
        with lock:
            inside += change
            most = max(most, inside)

    def sync() -> None:
        for _ in range(150):
            with bulkhead:
                step(1)
                step(-1)

    async def one() -> None:
        async with bulkhead:
            step(1)
            await asyncio.sleep(0)
            step(-1)

    async def many() -> None:
        for _ in range(15):
            await asyncio.gather(*(one() for _ in range(10)))

    threads = [threading.Thread(target=sync if n % 2 else lambda: asyncio.run(many())) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 3
    assert state(bulkhead) == (0, 0, 3)
    assert bulkhead.get_metrics()["accepted_requests"] == 6 * 150


class BulkheadMachine(RuleBasedStateMachine):
    """A bulkhead beside a plain model of the rules."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.loop = asyncio.new_event_loop()
        self.bulkhead = Bulkhead("x", 2, 3, timeout_seconds=10, clock=self.clock)
        self.limit, self.running = 2, 0
        self.waiting: deque[tuple[asyncio.Task[None], float]] = deque()

    def teardown(self) -> None:
        for task, _ in self.waiting:
            task.cancel()
        self.let_run()
        self.loop.close()

    def let_run(self) -> None:
        self.loop.run_until_complete(settle())

    def serve(self) -> None:
        while self.waiting and self.running < self.limit:
            self.waiting.popleft()
            self.running += 1

    @rule()
    def come(self) -> None:
        task = self.loop.create_task(self.come_in())
        self.let_run()
        if self.running < self.limit and not self.waiting:
            self.running += 1
            assert task.result() is True
        elif len(self.waiting) < 3:
            self.waiting.append((task, self.clock.monotonic()))
            assert not task.done()
        else:
            assert isinstance(task.exception(), BulkheadFullError)

    async def come_in(self) -> bool:
        if not self.bulkhead.try_enter():
            await self.bulkhead.aenter()
        return True

    @precondition(lambda self: self.running)
    @rule()
    def go(self) -> None:
        self.bulkhead.leave()
        self.running -= 1
        self.serve()
        self.let_run()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(list(self.waiting)))
        self.waiting.remove(one)
        one[0].cancel()
        self.let_run()

    @rule(seconds=st.sampled_from([1.0, 5.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.loop.run_until_complete(self.clock.run(seconds))
        while self.waiting and self.clock.monotonic() - self.waiting[0][1] >= 10:
            task, _ = self.waiting.popleft()
            assert isinstance(task.exception(), BulkheadTimeoutError)

    @rule(limit=st.integers(1, 4))
    def resize(self, limit: int) -> None:
        self.bulkhead.resize(limit)
        self.limit = limit
        self.serve()
        self.let_run()

    @invariant()
    def agrees(self) -> None:
        assert state(self.bulkhead) == (self.running, len(self.waiting), max(self.limit - self.running, 0))


BulkheadMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=40)
TestBulkhead = BulkheadMachine.TestCase


def test_a_registry_has_one_for_each_name() -> None:
    registry = BulkheadRegistry()
    bulkhead = registry.get_or_create("x", 2)
    assert registry.get_or_create("x", 2) is registry.get_or_create("x") is bulkhead is registry.get("x")
    with pytest.raises(ValueError, match="exists with other limits"):
        registry.get_or_create("x", 3)
    assert set(registry.get_all_metrics()) == {"x"}
