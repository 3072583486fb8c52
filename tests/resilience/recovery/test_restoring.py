"""Restoring is believed only where a restorer ran and its check passed; critical calls go back to what was before them."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from resilience import CircuitBreakerOpenError, ErrorClassifier, RetryConfig
from resilience.agent_executor import ResilientAgentExecutor
from resilience.executor import Resilience
from resilience.recovery.checkpoints import CheckpointManager
from resilience.recovery.policy import Checkpointing
from resilience.recovery.restoring import NotRestoredError, RecoveryManager
from resilience.testing import FakeClock


class Keeper(RecoveryManager):
    """A manager over a folder of the test; ``memory`` is what its program knows, ``told`` what it was told of."""

    def __init__(self, folder: Path) -> None:
        self.told: list[tuple[str, str, str]] = []
        self.memory: dict[str, Any] = {"facts": []}
        clock = FakeClock()
        super().__init__(CheckpointManager(folder, clock=clock), clock, lambda error, *what: self.told.append((str(error), *what)))

    def remember(self, state: dict[str, Any]) -> None:
        self.memory = state

    def learns(self) -> None:
        """The program has a component ``memory`` that saves and restores itself."""
        self.register_recovery_handler("memory", self.remember)
        self.register_snapshotter("memory", lambda: self.memory, "memory")


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    return Keeper(tmp_path / "checkpoints")


def test_a_component_is_restored_from_its_newest_checkpoint(keeper: Keeper) -> None:
    keeper.register_recovery_handler("memory", keeper.remember)
    keeper.save({"facts": [1]}, "memory", "memory")
    saved = keeper.save({"facts": [1, 2]}, "memory", "session")
    assert keeper.restore("memory") == saved
    assert keeper.memory == {"facts": [1, 2]}
    assert keeper.restore("memory", "memory").state == {"facts": [1]}
    assert saved is not None
    assert keeper.restore("memory", checkpoint_id=saved.id).id == saved.id


def test_without_a_restorer_nothing_is_restored_and_it_says_so(keeper: Keeper) -> None:
    keeper.save({}, "memory")
    with pytest.raises(NotRestoredError, match="nothing here can restore memory; register a restorer for it"):
        keeper.restore("memory")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "there is no checkpoint of memory"),
        ({"level": "session"}, "there is no checkpoint of level session of memory"),
        ({"checkpoint_id": "chk_00000001_0123456789abcdef"}, "there is no checkpoint chk_00000001_0123456789abcdef of memory"),
    ],
)
def test_without_a_checkpoint_nothing_is_restored_and_it_says_so(keeper: Keeper, asked: dict[str, Any], said: str) -> None:
    keeper.register_recovery_handler("memory", keeper.remember)
    other = keeper.save({}, "other")
    with pytest.raises(NotRestoredError, match=said):
        keeper.restore("memory", **asked)
    assert other is not None
    with pytest.raises(NotRestoredError, match=f"there is no checkpoint {other.id} of memory"):
        keeper.restore("memory", checkpoint_id=other.id)


def _refuses(_: object) -> bool:
    return False


def _fails(_: object) -> None:
    raise OSError("no such database")


@pytest.mark.parametrize(
    ("handler", "check", "said"),
    [
        (_refuses, None, "the restorer of memory says that it could not"),
        (_fails, None, "memory was not restored: OSError: no such database"),
        (lambda _: None, lambda: 0, "memory was restored, but its check did not pass"),
        (lambda _: None, lambda: {}["x"], "memory was not restored: KeyError"),
    ],
)
def test_what_did_not_work_is_not_called_restored(
    keeper: Keeper, handler: Callable[[Any], object], check: Callable[[], object] | None, said: str
) -> None:
    keeper.register_recovery_handler("memory", handler, check)
    keeper.save({}, "memory")
    with pytest.raises(NotRestoredError, match=said):
        keeper.restore("memory")
    [entry] = keeper.recovery_history
    assert (entry["success"], entry["target"], entry["level"]) == (False, "memory", "component")
    assert asyncio.run(keeper.recover_component("memory")) is False


def test_a_snapshotter_proves_what_was_restored(keeper: Keeper) -> None:
    """Where there is no check, the state must be what was restored."""
    keeper.register_recovery_handler("memory", lambda _: None)
    keeper.register_snapshotter("memory", lambda: keeper.memory)
    keeper.save({"facts": [1]}, "memory")
    with pytest.raises(NotRestoredError, match="its state is not what was to be restored"):
        keeper.restore("memory")
    keeper.register_recovery_handler("memory", keeper.remember)
    keeper.restore("memory")
    assert [one["success"] for one in keeper.recovery_history] == [False, True]


def test_a_coroutine_function_is_refused_when_it_is_registered(keeper: Keeper) -> None:
    async def restore(_: Any) -> None: ...

    with pytest.raises(TypeError, match="restore is a coroutine function"):
        keeper.register_recovery_handler("memory", restore)
    with pytest.raises(TypeError, match="coroutine function"):
        keeper.register_snapshotter("memory", restore)  # type: ignore[arg-type]


def test_one_restorer_can_be_for_all_names_that_begin_so_and_the_nearest_is_taken(keeper: Keeper) -> None:
    seen: list[tuple[str, Any]] = []
    for name in ("*", "session_*", "session_7"):
        keeper.register_recovery_handler(name, lambda state, name=name: seen.append((name, state)))  # type: ignore[misc]
    for component in ("session_7", "session_8", "other"):
        keeper.save(component, component, "session")
        keeper.restore(component)
    assert seen == [("session_7", "session_7"), ("session_*", "session_8"), ("*", "other")]


def test_a_damaged_checkpoint_is_skipped_when_the_newest_is_restored(keeper: Keeper) -> None:
    keeper.register_recovery_handler("memory", keeper.remember)
    keeper.save({"facts": ["good"]}, "memory")
    bad = keeper.save({"facts": ["bad"]}, "memory")
    assert bad is not None
    [path] = keeper.checkpoint_manager.folder.rglob(f"{bad.id}.checkpoint")
    path.write_bytes(path.read_bytes().replace(b"bad", b"sad"))
    keeper.restore("memory")
    assert keeper.memory == {"facts": ["good"]}


def test_a_checkpoint_knows_what_its_state_stems_from(keeper: Keeper) -> None:
    """After going back, the next one stems from the one that was gone back to, not from the newest."""
    keeper.register_recovery_handler("memory", keeper.remember)
    first, second = keeper.save(1, "memory"), keeper.save(2, "memory")
    assert first is not None
    assert second is not None
    assert (first.parent_checkpoint, second.parent_checkpoint) == (None, first.id)
    keeper.restore("memory", checkpoint_id=first.id)
    third = keeper.save(3, "memory")
    assert third is not None
    assert third.parent_checkpoint == first.id


def test_what_has_not_changed_is_not_saved_again_by_itself(keeper: Keeper) -> None:
    keeper.learns()
    assert list(keeper.save_all()) == ["memory"]
    assert keeper.save_all() == {}
    keeper.memory["facts"].append(1)
    assert list(keeper.save_all()) == ["memory"]
    assert len(keeper.checkpoint_manager.checkpoints("memory", "memory")) == 2


def test_a_snapshotter_that_fails_is_told_of_and_holds_up_no_other(keeper: Keeper) -> None:
    def fails() -> None:
        raise OSError("locked")

    keeper.register_snapshotter("broken", fails)
    keeper.register_snapshotter("odd", lambda: {1, 2})
    keeper.learns()
    assert list(keeper.save_all()) == ["memory"]
    assert keeper.told == [("locked", "broken", "checkpoint"), (keeper.told[1][0], "odd", "checkpoint")]
    assert "state is a builtins.set" in keeper.told[1][0]


def test_what_the_policy_turns_off_is_not_saved(keeper: Keeper) -> None:
    keeper.learns()
    keeper.checkpoint_manager.policy = Checkpointing(levels=("component",))
    assert keeper.save_all() == {}
    assert keeper.save({}, "memory", "memory") is not None
    keeper.checkpoint_manager.policy = Checkpointing(enabled=False)
    assert keeper.save({}, "memory", "memory") is None
    assert keeper.before(None, "pay").states == {}
    keeper.checkpoint_manager.policy = Checkpointing(levels=("memory",))
    assert keeper.before(None, "pay").states == {}


# Critical calls.


@pytest.fixture
def policies(keeper: Keeper) -> Resilience:
    return Resilience(recovery=lambda: keeper, clock=keeper.clock)


def test_a_critical_call_that_fails_goes_back_to_what_was_before_it(keeper: Keeper, policies: Resilience) -> None:
    keeper.learns()
    keeper.memory["facts"].append("before")

    @policies.protect("shop", retry="none", critical=True)
    def pay() -> None:
        keeper.memory["facts"].append("half done")
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        pay()
    assert keeper.memory == {"facts": ["before"]}
    [head] = keeper.checkpoint_manager.checkpoints("memory", "operation")
    assert "pay" in head.metadata["operation"]


def test_a_critical_call_that_succeeds_leaves_its_state(keeper: Keeper, policies: Resilience) -> None:
    keeper.learns()
    pay = policies.protect("shop", critical="memory")(lambda: keeper.memory["facts"].append("paid"))
    pay()
    assert keeper.memory == {"facts": ["paid"]}


def test_the_state_is_restored_before_a_fallback_is_asked(keeper: Keeper, policies: Resilience) -> None:
    keeper.learns()

    def otherwise() -> list[str]:
        keeper.memory["facts"].append("otherwise")
        return list(keeper.memory["facts"])

    @policies.protect("shop", retry="none", critical=True, fallback=otherwise)
    def pay() -> list[str]:
        keeper.memory["facts"].append("half done")
        raise ConnectionError("gone")

    assert pay() == ["otherwise"]


def test_a_refused_call_saves_nothing_and_changes_nothing(keeper: Keeper) -> None:
    from resilience import FeatureDisabledError

    def gate(*_: object) -> Callable[[str], None]:
        def closed(_: str) -> None:
            raise FeatureDisabledError("shop", "allow_shop", "MINIMAL", "it is night")

        return closed

    keeper.learns()
    policies = Resilience(recovery=lambda: keeper, gate=gate, clock=keeper.clock)
    with pytest.raises(FeatureDisabledError):
        policies.protect("shop", critical=True)(lambda: None)()
    assert keeper.checkpoint_manager.checkpoints() == []


def test_a_disk_that_takes_no_checkpoint_does_not_keep_a_call_from_being_made(keeper: Keeper, policies: Resilience) -> None:
    keeper.learns()
    keeper.checkpoint_manager.folder.write_text("a file where the folder should be")
    assert policies.protect("shop", critical=True)(lambda: "paid")() == "paid"
    [(said, component, what)] = keeper.told
    assert (component, what) == ("memory", "checkpoint")
    assert "no checkpoint of memory can be saved" in said


def test_a_critical_call_that_is_tried_again_goes_back_only_when_it_has_failed_in_the_end(
    keeper: Keeper, policies: Resilience
) -> None:
    keeper.learns()
    calls: list[list[str]] = []

    @policies.protect("shop", retry=RetryConfig(max_retries=2, base_delay=0.01, jitter=False), critical=True)
    def pay() -> str:
        calls.append(list(keeper.memory["facts"]))
        keeper.memory["facts"].append("try")
        if len(calls) < 3:
            raise ConnectionError("gone")
        return "paid"

    assert pay() == "paid"
    assert calls == [[], ["try"], ["try", "try"]]


def test_an_asynchronous_critical_call_goes_back_also_when_it_is_cancelled(keeper: Keeper, policies: Resilience) -> None:
    keeper.learns()
    began = asyncio.Event()

    @policies.protect("shop", retry="none", critical=True)
    async def pay(how: str) -> None:
        keeper.memory["facts"].append("half done")
        began.set()
        if how == "fail":
            raise ConnectionError("gone")
        await asyncio.Event().wait()

    async def main() -> None:
        with pytest.raises(ConnectionError):
            await pay("fail")
        assert keeper.memory == {"facts": []}
        began.clear()
        task = asyncio.create_task(pay("hang"))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert keeper.memory == {"facts": []}

    asyncio.run(main())


def test_a_stream_cannot_be_critical(policies: Resilience) -> None:
    async def stream() -> Any:
        yield 1

    with pytest.raises(TypeError, match="is a stream"):
        policies.protect("shop", critical=True)(stream)


def test_without_anybody_to_save_states_no_call_can_be_critical() -> None:
    with pytest.raises(ValueError, match="a critical call needs somebody to save its state"):
        Resilience().protect("shop", critical=True)


def test_the_documents_executor_saves_the_state_that_it_is_given(keeper: Keeper, policies: Resilience) -> None:
    executor = ResilientAgentExecutor(policies)
    keeper.register_recovery_handler("shop", keeper.remember)

    async def fails() -> None:
        raise ConnectionError("gone")

    async def main() -> None:
        context = {"component": "shop", "critical": True, "state": {"cart": 3}, "operation_id": "op-7", "retry_strategy": "none"}
        with pytest.raises(ConnectionError) as caught:
            await executor.execute_with_resilience(fails, context)
        assert keeper.memory == {"cart": 3}
        keeper.memory = {}
        known = ErrorClassifier().classify(caught.value, {"component": "shop", "operation": "buy"})
        assert await keeper.recover_operation("another", known) is False
        assert await keeper.recover_operation("op-7", known) is True
        assert keeper.memory == {"cart": 3}

    asyncio.run(main())


def test_the_documents_session_and_system_recovery_say_honestly_whether_they_worked(keeper: Keeper) -> None:
    keeper.register_recovery_handler("session_7", keeper.remember)
    keeper.register_recovery_handler("broken", _fails)
    keeper.save({"talk": 1}, "session_7", "session")

    async def main() -> None:
        assert await keeper.recover_session("7") is True
        assert await keeper.recover_session("8") is False
        assert await keeper.system_recovery() is True
        keeper.save({}, "nobody restores this")
        assert await keeper.system_recovery() is True
        keeper.save({}, "broken")
        assert await keeper.system_recovery() is False

    asyncio.run(main())
    assert [one["success"] for one in keeper.recovery_history][-2:] in ([False, True], [True, False])


def test_where_there_is_nothing_to_restore_the_system_is_not_recovered(keeper: Keeper) -> None:
    assert asyncio.run(keeper.system_recovery()) is False
    keeper.save({}, "memory")
    assert asyncio.run(keeper.system_recovery()) is False
    assert list(keeper.recovery_history) == []


class _Awaited:
    async def __call__(self, _: Any = None) -> bool:
        return True


async def _later(_: Any = None) -> bool:
    return True


def test_what_would_have_to_be_awaited_restores_nothing(keeper: Keeper) -> None:
    """A coroutine that nobody awaits is true, and has done nothing."""
    with pytest.raises(TypeError, match="_Awaited is a coroutine function"):
        keeper.register_recovery_handler("memory", _Awaited())
    keeper.save({}, "memory")
    keeper.register_recovery_handler("memory", lambda state: _later(state))
    with pytest.raises(NotRestoredError, match="it gives something to be awaited"):
        keeper.restore("memory")
    keeper.register_recovery_handler("memory", keeper.remember, check=lambda: _later())
    with pytest.raises(NotRestoredError, match="it gives something to be awaited"):
        keeper.restore("memory")
    keeper.register_snapshotter("later", lambda: _later())
    assert keeper.save_all() == {}
    assert keeper.told == [("it gives something to be awaited; make it a plain function", "later", "checkpoint")]


def test_a_snapshotter_of_a_level_that_there_is_not_is_refused(keeper: Keeper) -> None:
    with pytest.raises(ValueError, match="there is no level 'sesion' of checkpoints; there are operation, session"):
        keeper.register_snapshotter("memory", dict, "sesion")  # type: ignore[arg-type]


def test_a_state_whose_checkpoint_is_damaged_or_gone_is_saved_again(keeper: Keeper) -> None:
    keeper.learns()
    [saved] = keeper.save_all().values()
    assert keeper.save_all() == {}
    [path] = keeper.checkpoint_manager.folder.rglob(f"{saved}.checkpoint")
    path.write_bytes(b"broken")
    [saved] = keeper.save_all().values()
    [path] = keeper.checkpoint_manager.folder.rglob(f"{saved}.checkpoint")
    path.unlink()
    assert list(keeper.save_all()) == ["memory"]


def test_what_was_saved_last_is_the_newest_whatever_its_level_and_the_clock(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "c")
    keeper.register_recovery_handler("memory", keeper.remember)
    keeper.save("old", "memory", "session")
    earlier = CheckpointManager(tmp_path / "c", clock=FakeClock(keeper.clock.now() - timedelta(hours=1)))
    earlier.create_checkpoint("memory", "memory", "new")
    assert keeper.restore("memory").state == "new"
    keeper.save("before an operation", "memory", "operation")
    assert keeper.restore("memory").state == "new"
    assert keeper.restore("memory", "operation").state == "before an operation"


def test_a_call_that_fails_because_something_in_it_was_refused_is_rolled_back(keeper: Keeper, policies: Resilience) -> None:
    keeper.learns()
    mail = policies.protect("mail")(lambda: None)
    policies.circuits.get_or_create("mail").isolate()

    @policies.protect("shop", retry="none", critical=True)
    def buy() -> None:
        keeper.memory["facts"].append("half done")
        mail()

    with pytest.raises(CircuitBreakerOpenError):
        buy()
    assert keeper.memory == {"facts": []}


def test_critical_calls_that_overlap_are_not_rolled_back_and_that_is_told(keeper: Keeper, policies: Resilience) -> None:
    """Nobody can say whose changes are whose; what the other one did must not be lost."""
    keeper.learns()
    inside, may_go_on = threading.Event(), threading.Event()

    @policies.protect("shop", retry="none", critical=True)
    def slow() -> None:
        keeper.memory["facts"].append("slow")
        inside.set()
        assert may_go_on.wait(20)
        raise ConnectionError("gone")

    quick = policies.protect("shop", critical=True)(lambda: keeper.memory["facts"].append("quick"))
    with ThreadPoolExecutor(1) as pool:
        failing = pool.submit(slow)
        assert inside.wait(20)
        quick()
        may_go_on.set()
        with pytest.raises(ConnectionError):
            failing.result(20)
    assert keeper.memory == {"facts": ["slow", "quick"]}
    [(said, component, what)] = keeper.told
    assert (component, what) == ("memory", "roll back")
    assert said.endswith("another critical call was under way at the same time")
    keeper.told.clear()
    with pytest.raises(ConnectionError):
        slow()
    assert keeper.memory == {"facts": ["slow", "quick"]}
    assert keeper.told == []


def test_a_checkpoint_that_has_made_room_does_not_keep_a_call_from_being_rolled_back(keeper: Keeper, policies: Resilience) -> None:
    keeper.learns()
    keeper.checkpoint_manager.policy = Checkpointing(max_checkpoints=1)

    @policies.protect("shop", retry="none", critical=True)
    def pay() -> None:
        keeper.memory["facts"].append("half done")
        keeper.save("another", "memory", "operation")
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        pay()
    assert keeper.memory == {"facts": []}


def test_a_call_is_rolled_back_once_not_again_when_its_fallback_is_cancelled(keeper: Keeper, policies: Resilience) -> None:
    keeper.learns()
    began = asyncio.Event()

    async def otherwise() -> None:
        keeper.memory["facts"].append("somebody else's")
        began.set()
        await asyncio.Event().wait()

    @policies.protect("shop", retry="none", critical=True, fallback=otherwise)
    async def pay() -> None:
        keeper.memory["facts"].append("half done")
        raise ConnectionError("gone")

    async def main() -> None:
        task = asyncio.create_task(pay())
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert keeper.memory == {"facts": ["somebody else's"]}


def test_a_critical_component_that_nothing_gives_the_state_of_is_told_once(keeper: Keeper, policies: Resilience) -> None:
    keeper.learns()
    pay = policies.protect("shop", critical="memroy")(lambda: "paid")
    assert [pay(), pay()] == ["paid", "paid"]
    [(said, component, _)] = keeper.told
    assert component == "memroy"
    assert "nothing gives its state; register a snapshotter for it" in said


def test_an_asynchronous_call_waits_for_the_disk_outside_of_its_time_limit(keeper: Keeper, policies: Resilience) -> None:
    """And the loop goes on meanwhile."""
    keeper.learns()
    turns: list[int] = []
    save = keeper.save

    def slow(*args: Any, **kwargs: Any) -> Any:
        saving.set()
        assert may_go_on.wait(20)
        return save(*args, **kwargs)

    saving, may_go_on = threading.Event(), threading.Event()
    keeper.save = slow  # type: ignore[method-assign]

    @policies.protect("shop", retry="none", critical=True, attempt_timeout_s=0.05)
    async def pay() -> str:
        return "paid"

    async def main() -> None:
        task = asyncio.create_task(pay())
        assert await asyncio.to_thread(saving.wait, 20)
        for number in range(100):
            turns.append(number)
            await asyncio.sleep(0)
        keeper.clock.advance(1)
        may_go_on.set()
        assert await task == "paid"

    asyncio.run(main())
    assert len(turns) == 100


def test_a_partial_has_the_name_of_what_it_calls_where_it_is_saved(keeper: Keeper, policies: Resilience) -> None:
    keeper.learns()
    policies.protect("shop", critical=True)(functools.partial(print, end=""))("")
    [head] = keeper.checkpoint_manager.checkpoints("memory", "operation")
    assert head.metadata["operation"] == "partial"


def test_the_manager_is_made_once_for_all_critical_calls(keeper: Keeper) -> None:
    made: list[Keeper] = []
    policies = Resilience(recovery=lambda: made.append(keeper) or keeper, clock=keeper.clock)  # type: ignore[func-returns-value]
    for service in ("shop", "bank"):
        policies.protect(service, critical=True)(lambda: None)()
    assert len(made) == 1


def test_the_documents_executor_saves_the_components_that_it_is_given(keeper: Keeper, policies: Resilience) -> None:
    keeper.learns()
    keeper.register_snapshotter("session", lambda: 1)
    asyncio.run(ResilientAgentExecutor(policies).execute_with_resilience(lambda: 1, {"component": "shop", "critical": "memory"}))
    assert {one.component for one in keeper.checkpoint_manager.checkpoints()} == {"memory"}
