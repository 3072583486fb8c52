"""An agent's loops (§5.1): each run beats; silence, lateness and nesting are noticed, and the level may pause it."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from resilience.agent.texts import checked_name, cut
from resilience.clock import Clock
from resilience.degradation.gate import LoopPausedError
from resilience.degradation.loops import TIER_FEATURES, UNKNOWN
from resilience.degradation.policy import Loop
from resilience.errors import LoopRecursionError, LoopStuckError, LoopTimeoutError
from resilience.refusals import RefusedError
from resilience.wrapping import is_async

if TYPE_CHECKING:
    import asyncio

    from resilience.degradation.enforcement import Enforcement

_F = TypeVar("_F", bound=Callable[..., Any])
_MAX_LOOPS: Final = 200


class LoopRun:
    """One run of a loop, from entering to leaving; its times are monotonic."""

    __slots__ = ("_loops", "beat_s", "begun_s", "has_ended", "is_late", "is_stuck", "name", "outer")
    has_ended: bool
    outer: LoopRun | None

    def __init__(self, loops: AgentLoops, name: str, now_s: float, outer: LoopRun | None) -> None:
        while outer is not None and outer.has_ended:  # a task inherits what it was started in, which may be over
            outer = outer.outer
        self._loops, self.name, self.outer = loops, name, outer
        self.begun_s = self.beat_s = now_s
        self.is_stuck = self.is_late = self.has_ended = False

    def beat(self) -> None:
        """Says that the run is alive. What is silent for longer than ``stuck_after_s`` is reported as stuck.

        Raises:
            LoopPausedError: the level does not allow the loop any more, and why. Leave it; ``AgentLoop.wait`` tells when
                to go on.
        """
        self._loops._beat(self)


class _Numbers:
    """What is told of one loop of this process."""

    def __init__(self) -> None:
        self.runs = self.beats = 0
        self.running: set[LoopRun] = set()
        self.beat_s: float | None = None
        self.paused = ""


class AgentLoops:
    """The loops of this process.

    Args:
        known: limits and tiers, by name. enforcement: says what the level allows. report: given (error, component, operation).
        news: called when there is something to tell at once. wake: called when ``look`` is wanted sooner than it said.
    """

    def __init__(
        self,
        known: Mapping[str, Loop],
        enforcement: Enforcement,
        clock: Clock,
        report: Callable[[Exception, str, str], Any],
        news: Callable[[], None],
        wake: Callable[[], None],
    ) -> None:
        self._known, self._enforcement, self._clock = known, enforcement, clock
        self._report, self._news, self._wake = report, news, wake
        self._looks_at_s = math.inf
        self._numbers: dict[str, _Numbers] = {}
        self._lock = threading.Lock()
        self._changed = threading.Condition()
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._inner: ContextVar[LoopRun | None] = ContextVar("winclaw_loop", default=None)

    def begin_anew(self) -> None:
        """In a forked child: the runs that go on are its parent's."""
        self._lock, self._changed = threading.Lock(), threading.Condition()
        self._numbers, self._waiters, self._looks_at_s = {}, [], math.inf

    def loop(self, name: str) -> AgentLoop:
        """The loop ``name``; see ``AgentLoop``.

        Raises:
            ValueError: the name is empty, longer than 200 characters, or none that UTF-8 can carry.
        """
        return AgentLoop(self, checked_name("a loop's", name))

    def beat(self) -> None:
        """Beats for the innermost loop that runs here; see ``LoopRun.beat``.

        Raises:
            RuntimeError: none runs here. LoopPausedError: the level does not allow it any more.
        """
        inner = self._inner.get()
        if inner is None:
            raise RuntimeError("no loop runs here; beat inside of `with agent.loop(name):`, or a function it decorates")
        self._beat(inner)

    def configure(self, loops: Mapping[str, Loop]) -> None:
        """Takes over limits and tiers."""
        self._known = loops
        self.look_again()

    def look_again(self) -> None:
        """Has who waits to be allowed look again, for the level is another."""
        with self._changed:
            self._changed.notify_all()
            for loop, event in self._waiters:
                with contextlib.suppress(RuntimeError):  # the loop is closed; nobody waits there any more
                    loop.call_soon_threadsafe(event.set)

    def refusal(self, name: str) -> LoopPausedError | None:
        """Why the loop ``name`` may not run at the present level; None if it may."""
        feature = TIER_FEATURES[self._limits(name).tier]
        state = self._enforcement.state
        return None if state["features"].get(feature) else LoopPausedError(name, feature, state["level"], state["cause"])

    def look(self) -> float | None:
        """Looks for runs that are stuck or late, and reports each once; returns when to look again, in seconds."""
        now_s, next_s = self._clock.monotonic(), math.inf
        found: list[tuple[str, Exception]] = []
        with self._lock:
            for name, numbers in self._numbers.items():
                limits = self._limits(name)
                for run in numbers.running:
                    silent_s, took_s = now_s - run.beat_s, now_s - run.begun_s
                    if not run.is_stuck:
                        if silent_s >= limits.stuck_after_s:
                            run.is_stuck = True
                            found.append((name, LoopStuckError(f"{name} has not beaten for {silent_s:.0f} s")))
                        else:
                            next_s = min(next_s, limits.stuck_after_s - silent_s)
                    if not run.is_late and limits.max_run_s is not None:
                        if took_s >= limits.max_run_s:
                            run.is_late = True
                            what = f"{name} has run for {took_s:.0f} s; {limits.max_run_s:g} s are allowed"
                            found.append((name, LoopTimeoutError(what)))
                        else:
                            next_s = min(next_s, limits.max_run_s - took_s)
            # What was promised stays, or short runs would have to ask for it again and again.
            promised_s = self._looks_at_s if self._looks_at_s > now_s else math.inf
            self._looks_at_s = min(promised_s, now_s + next_s)
        for name, error in found:
            self._report(error, name, "run")
        if found:
            self._news()
        return self._looks_at_s - now_s if self._looks_at_s < math.inf else None

    def reports(self) -> list[dict[str, Any]]:
        """What there is to tell, as ``events.LoopReport`` has it."""
        now_s = self._clock.monotonic()
        with self._lock:
            return [self._told(name, one, now_s) for name, one in list(self._numbers.items())[:_MAX_LOOPS]]

    def _told(self, name: str, one: _Numbers, now_s: float) -> dict[str, Any]:
        if any(run.is_stuck for run in one.running):
            state, because = "stuck", f"no beat for {now_s - min(run.beat_s for run in one.running):.0f} s"
        elif any(run.is_late for run in one.running):
            state, because = "late", f"it has run for {now_s - min(run.begun_s for run in one.running):.0f} s"
        elif one.running:
            state, because = "running", ""
        else:
            state, because = ("paused", one.paused) if one.paused else ("idle", "")
        age_s = None if one.beat_s is None else max(now_s - one.beat_s, 0.0)
        return {
            "loop": name, "state": state, "running": len(one.running), "runs": one.runs, "beats": one.beats,
            "beat_age_s": age_s, "because": cut(because, 1000),
        }  # fmt: skip

    def _limits(self, name: str) -> Loop:
        return self._known.get(name, UNKNOWN)

    # What a run does.

    def _enter(self, name: str) -> LoopRun:
        refusal = self.refusal(name)
        numbers = self._numbers_of(name)
        if refusal is not None:
            self._pause(numbers, refusal)
        limits, outer = self._limits(name), self._inner.get()
        depth = 1 + sum(one.name == name and not one.has_ended for one in _chain(outer))
        if depth > limits.max_depth:
            error = LoopRecursionError(f"{name} nests {depth} deep in itself; {limits.max_depth} are allowed")
            error.error_context = self._report(error, name, "run")  # type: ignore[attr-defined]
            raise error
        run = LoopRun(self, name, self._clock.monotonic(), outer)
        with self._lock:
            numbers.runs += 1
            numbers.beats += 1
            numbers.running.add(run)
            numbers.beat_s, numbers.paused = run.beat_s, ""
        self._inner.set(run)
        due_s = run.begun_s + min(limits.stuck_after_s, limits.max_run_s or limits.stuck_after_s)
        if due_s < self._looks_at_s:
            self._looks_at_s = due_s
            self._wake()
        return run

    def _leave(self, name: str, error: BaseException | None) -> None:
        numbers = self._numbers_of(name)
        run = next((one for one in _chain(self._inner.get()) if one.name == name and not one.has_ended), None)
        if run is not None:
            self._inner.set(run.outer)
        with self._lock:
            if run is None:  # left in another task than it was entered in: the oldest one is as good as any
                run = min(numbers.running, key=lambda one: one.begun_s, default=None)
            if run is not None:
                run.has_ended = True
                numbers.running.discard(run)
        if isinstance(error, Exception) and not isinstance(error, RefusedError) and not hasattr(error, "error_context"):
            self._report(error, name, "run")

    def _beat(self, run: LoopRun) -> None:
        numbers = self._numbers_of(run.name)
        numbers.beats += 1
        run.beat_s = numbers.beat_s = self._clock.monotonic()
        if run.is_stuck:
            run.is_stuck = False
            self._news()
        refusal = self.refusal(run.name)
        if refusal is not None:
            self._pause(numbers, refusal)

    def _pause(self, numbers: _Numbers, refusal: LoopPausedError) -> None:
        because = f"level {refusal.level}: {refusal.cause}"
        if numbers.paused != because:
            numbers.paused = because
            self._news()
        raise refusal

    def _numbers_of(self, name: str) -> _Numbers:
        numbers = self._numbers.get(name)
        if numbers is None:
            with self._lock:
                if len(self._numbers) >= _MAX_LOOPS:  # names that are made up as it goes along must not fill the memory
                    idle = next((one for one, known in self._numbers.items() if not known.running), None)
                    self._numbers.pop(idle or next(iter(self._numbers)))
                numbers = self._numbers.setdefault(name, _Numbers())
        return numbers

    # Waiting to be allowed.

    def _wait(self, name: str, timeout_s: float | None) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.refusal(name) is None, timeout_s)

    async def _wait_async(self, name: str, timeout_s: float | None) -> bool:
        import asyncio  # noqa: PLC0415 -- synchronous agents do without

        waiter = (asyncio.get_running_loop(), asyncio.Event())
        with self._changed:
            self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                while self.refusal(name) is not None:
                    await waiter[1].wait()
                    waiter[1].clear()
        except TimeoutError:
            return False
        finally:
            with self._changed:
                self._waiters.remove(waiter)
        return True


class AgentLoop(contextlib.ContextDecorator, contextlib.AsyncContextDecorator):
    """One loop of an agent: a block (``with``, ``async with``), or a decorator whose every call is a run.

    Entering raises ``LoopPausedError`` where the level does not allow it, and ``LoopRecursionError`` where it nests too
    deep in itself. What the run raises is reported, unless it is a refusal, and goes on to the caller.
    """

    def __init__(self, loops: AgentLoops, name: str) -> None:
        self.name, self._loops = name, loops

    @property
    def allowed(self) -> bool:
        """Whether the present level lets it run."""
        return self._loops.refusal(self.name) is None

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits until the level allows it, at most ``timeout_s``; returns whether it does."""
        return self._loops._wait(self.name, timeout_s)

    async def wait_async(self, timeout_s: float | None = None) -> bool:
        """``wait``, for coroutines."""
        return await self._loops._wait_async(self.name, timeout_s)

    def __enter__(self) -> LoopRun:
        return self._loops._enter(self.name)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loops._leave(self.name, error)

    async def __aenter__(self) -> LoopRun:
        return self._loops._enter(self.name)

    async def __aexit__(self, *ended: Any) -> None:
        self.__exit__(*ended)

    def __call__(self, function: _F) -> _F:
        """``function``, each call of which is a run; inside, ``agent.beat()`` beats."""
        decorator = contextlib.AsyncContextDecorator if is_async(function) else contextlib.ContextDecorator
        return decorator.__call__(self, function)


def _chain(run: LoopRun | None) -> Iterator[LoopRun]:
    """``run`` and what it runs in, outwards."""
    while run is not None:
        yield run
        run = run.outer
