from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from resilience import LoopPausedError, LoopRecursionError
from resilience.agent.loops import AgentLoops, _chain
from resilience.config.settings import Settings
from resilience.degradation.enforcement import Enforcement, standing_alone
from resilience.degradation.gate import SERVICE_FEATURES
from resilience.degradation.levels import FEATURES, DegradationLevel
from resilience.degradation.policy import Loop
from resilience.testing import FakeClock

ALL = {
    DegradationLevel.FULL: set(Settings().loops),
    DegradationLevel.DEGRADED_LLM: {"agent_core", "planning", "tool_execution", "memory", "reflection"},
    DegradationLevel.LIMITED_EXTERNAL: {"agent_core", "planning", "tool_execution", "memory", "reflection"},
    DegradationLevel.MINIMAL: {"agent_core"},
    DegradationLevel.SAFE_MODE: set(),
}  # fmt: skip


class World:
    def __init__(self) -> None:
        self.clock, self.enforcement = FakeClock(), Enforcement(standing_alone())
        self.reported: list[tuple[str, str]] = []
        self.news = 0
        self.loops = AgentLoops(Settings().loops, self.enforcement, self.clock, self._report, self._news, self._wake)
        self.woken = 0

    def _report(self, error: Exception, component: str, operation: str) -> str:
        self.reported.append((type(error).__name__, component))
        return f"{component}.{operation}"

    def _news(self) -> None:
        self.news += 1

    def _wake(self) -> None:
        self.woken += 1

    def level(self, level: DegradationLevel) -> None:
        state = {**standing_alone(), "level": level.name, "features": FEATURES[level], "cause": "tests"}
        self.enforcement.take(state, SERVICE_FEATURES)
        self.loops.configure(Settings().loops)

    def told(self, name: str) -> dict[str, Any]:
        return next(one for one in self.loops.reports() if one["loop"] == name)


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("level", DegradationLevel)
def test_the_level_decides_which_loops_may_run(world: World, level: DegradationLevel) -> None:
    world.level(level)
    for name in Settings().loops:
        if name in ALL[level]:
            with world.loops.loop(name) as loop:
                loop.beat()
            continue
        with pytest.raises(LoopPausedError) as paused:
            world.loops.loop(name).__enter__()
        assert (paused.value.loop, paused.value.level, paused.value.cause) == (name, level.name, "tests")
    assert world.reported == []


def test_a_running_loop_is_asked_to_pause_at_its_next_beat_and_told_why(world: World) -> None:
    said = r"the loop research pauses at level MINIMAL \(enable_all_loops\): tests"
    with pytest.raises(LoopPausedError, match=said), world.loops.loop("research") as loop:
        loop.beat()
        world.level(DegradationLevel.MINIMAL)
        loop.beat()
    told = world.told("research")
    assert (told["state"], told["running"], "tests" in told["because"]) == ("paused", 0, True)
    assert world.reported == [], "a pause is no error"
    world.level(DegradationLevel.FULL)
    with world.loops.loop("research"):
        assert world.told("research")["state"] == "running"
    assert world.told("research")["state"] == "idle"


def test_silence_is_reported_once_and_a_beat_ends_it(world: World) -> None:
    with world.loops.loop("planning") as loop:
        world.clock.advance(299)
        assert (world.loops.look(), world.reported) == (pytest.approx(1), [])
        world.clock.advance(1)
        world.loops.look()
        world.loops.look()
        assert world.reported == [("LoopStuckError", "planning")]
        told = world.told("planning")
        assert (told["state"], told["because"], told["beat_age_s"]) == ("stuck", "no beat for 300 s", 300)
        loop.beat()
        assert world.told("planning")["state"] == "running"
        world.clock.advance(300)
        world.loops.look()
        assert len(world.reported) == 2


def test_a_run_that_takes_too_long_is_reported_once(world: World) -> None:
    world.loops.configure({"mine": Loop(max_run_s=60)})
    with world.loops.loop("mine") as loop:
        for _ in range(10):
            world.clock.advance(30)
            loop.beat()
            world.loops.look()
        assert world.told("mine")["state"] == "late"
    assert world.reported == [("LoopTimeoutError", "mine")]
    world.clock.advance(1000)
    assert (world.loops.look(), len(world.reported)) == (None, 1)


def test_who_looks_is_woken_when_a_limit_ends_sooner_than_it_would_look_and_only_then(world: World) -> None:
    """A thousand short runs a second must not keep the one who looks awake."""
    world.loops.configure({"short": Loop(stuck_after_s=2), "long": Loop(stuck_after_s=100)})
    with world.loops.loop("long"):
        assert (world.woken, world.loops.look()) == (1, 100)
        for _ in range(1000):
            with world.loops.loop("short"):
                world.clock.advance(0.001)
            world.loops.look()
        assert world.woken == 2
        world.clock.advance(2)
        assert world.loops.look() == pytest.approx(97)


def test_nesting_too_deep_is_refused_and_reported(world: World) -> None:
    @world.loops.loop("planning")
    def plan(depth: int) -> int:
        return depth if depth == 0 else plan(depth - 1)

    assert plan(2) == 0
    with pytest.raises(LoopRecursionError, match="planning nests 4 deep in itself; 3 are allowed"):
        plan(3)
    assert world.reported == [("LoopRecursionError", "planning")]
    with world.loops.loop("planning"), world.loops.loop("memory"), world.loops.loop("planning"):
        pass
    assert world.told("planning")["running"] == 0


def test_a_run_that_has_ended_is_nested_in_no_more(world: World) -> None:
    """A task inherits the run that it was started in; when it begins its own, that one may be over."""

    async def step(left: int) -> None:
        with world.loops.loop("planning"):
            following = asyncio.create_task(step(left - 1)) if left else None
        if following is not None:
            await following

    asyncio.run(step(6))
    assert world.reported == []
    assert (world.told("planning")["runs"], world.told("planning")["running"]) == (7, 0)


def test_the_chain_of_runs_does_not_grow_with_the_tasks(world: World) -> None:
    """What is over is held by nobody."""

    async def step(left: int) -> int:
        with world.loops.loop("planning") as run:
            following = asyncio.create_task(step(left - 1)) if left else None
        return await following if following is not None else sum(1 for _ in _chain(run))

    assert asyncio.run(step(6)) == 1


def test_a_failing_run_is_reported_under_the_loops_name_and_raises(world: World) -> None:
    with pytest.raises(KeyError), world.loops.loop("memory"):
        raise KeyError("x")
    assert world.reported == [("KeyError", "memory")]
    known = ValueError("reported by the policy that it came through")
    known.error_context = "known"  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="reported"), world.loops.loop("memory"):
        raise known
    assert len(world.reported) == 1


def test_a_decorator_makes_each_call_a_run_and_the_agent_beats_for_the_innermost(world: World) -> None:
    @world.loops.loop("planning")
    def plan() -> str:
        world.loops.beat()
        return "planned"

    @world.loops.loop("agent_core")
    async def work() -> str:
        world.loops.beat()
        return plan()

    assert asyncio.run(work()) == "planned"
    assert (world.told("planning")["runs"], world.told("planning")["beats"], world.told("agent_core")["beats"]) == (1, 2, 2)
    with pytest.raises(RuntimeError, match="no loop runs here"):
        world.loops.beat()


def test_many_at_once_are_counted_each_and_nest_in_nobody_elses(world: World) -> None:
    async def work(number: int) -> None:
        async with world.loops.loop("research") as loop:
            await asyncio.sleep(0)
            loop.beat()

    async def all_of_them() -> None:
        await asyncio.gather(*(work(number) for number in range(50)))

    asyncio.run(all_of_them())
    told = world.told("research")
    assert (told["runs"], told["beats"], told["running"]) == (50, 100, 0)


def test_who_was_paused_can_wait_until_it_is_allowed_again(world: World) -> None:
    world.level(DegradationLevel.SAFE_MODE)
    loop = world.loops.loop("research")
    assert not loop.allowed
    assert not loop.wait(0.001)
    waited: list[bool] = []
    thread = threading.Thread(target=lambda: waited.append(loop.wait(30)))
    thread.start()
    world.level(DegradationLevel.FULL)
    thread.join(30)
    assert waited == [True]


def test_coroutines_can_wait_too(world: World) -> None:
    async def wait() -> tuple[bool, bool]:
        loop = world.loops.loop("research")
        late = await loop.wait_async(0.001)
        waiting = asyncio.create_task(loop.wait_async(30))
        await asyncio.sleep(0)
        await asyncio.to_thread(world.level, DegradationLevel.FULL)
        return late, await waiting

    world.level(DegradationLevel.MINIMAL)
    assert asyncio.run(wait()) == (False, True)


@pytest.mark.parametrize("name", ["", "x" * 201])
def test_a_name_that_cannot_be_is_refused(world: World, name: str) -> None:
    with pytest.raises(ValueError, match="between 1 and 200"):
        world.loops.loop(name)


def test_a_loop_that_nobody_knows_runs_at_full_only(world: World) -> None:
    with world.loops.loop("of_my_own"):
        pass
    world.level(DegradationLevel.DEGRADED_LLM)
    with pytest.raises(LoopPausedError):
        world.loops.loop("of_my_own").__enter__()


def test_beats_from_many_threads_lose_no_run(world: World) -> None:
    def work() -> None:
        for _ in range(200):
            with world.loops.loop("memory") as loop:
                loop.beat()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = world.told("memory")
    assert (told["runs"], told["running"], told["state"]) == (1600, 0, "idle")




def test_a_run_that_is_left_in_another_task_is_over_all_the_same(world: World) -> None:
    """As an AsyncExitStack does that is closed by somebody else."""

    async def story() -> None:
        loop = world.loops.loop("planning")
        await asyncio.create_task(loop.__aenter__())
        assert world.told("planning")["running"] == 1
        await asyncio.create_task(loop.__aexit__(None, None, None))

    asyncio.run(story())
    assert world.told("planning")["running"] == 0


def test_names_that_are_made_up_as_it_goes_along_do_not_fill_the_memory(world: World) -> None:
    with world.loops.loop("planning"):
        for number in range(1000):
            with world.loops.loop(f"task-{number}"):
                pass
    assert len(world.loops._numbers) <= 200
    assert world.told("planning")["runs"] == 1
