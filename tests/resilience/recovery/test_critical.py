"""Critical calls that fail go back to what was before them, unless others would lose what they did meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from resilience import BulkheadFullError, CircuitBreakerOpenError, ErrorClassifier, RetryConfig
from resilience.agent_executor import ResilientAgentExecutor
from resilience.executor import Resilience
from resilience.recovery.policy import Checkpointing
from tests.resilience.recovery.keepers import Keeper


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


def test_a_checkpoint_that_has_made_room_does_not_keep_a_call_from_being_rolled_back(
    keeper: Keeper, policies: Resilience
) -> None:
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
    save = keeper.checkpoint_manager.save_json

    def slow(*args: Any, **kwargs: Any) -> Any:
        saving.set()
        assert may_go_on.wait(20)
        return save(*args, **kwargs)

    saving, may_go_on = threading.Event(), threading.Event()
    keeper.checkpoint_manager.save_json = slow  # type: ignore[method-assign]

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


def test_what_another_call_does_while_the_state_is_taken_is_not_lost(keeper: Keeper, policies: Resilience) -> None:
    quick = policies.protect("shop", critical=True)(lambda: keeper.memory["facts"].append("quick"))
    others = [quick]

    def take() -> dict[str, Any]:
        taken = copy.deepcopy(keeper.memory)
        if others:
            others.pop()()
        return taken

    keeper.learns()
    keeper.register_snapshotter("memory", take)

    @policies.protect("shop", retry="none", critical=True)
    def pay() -> None:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        pay()
    assert keeper.memory == {"facts": ["quick"]}
    assert [what for _, _, what in keeper.told] == ["roll back"]


def test_an_asynchronous_call_that_waits_for_a_slot_has_not_begun(keeper: Keeper, policies: Resilience) -> None:
    """Each goes back to what the one before it has left, also on disk."""
    keeper.learns()
    found: list[list[str]] = []
    @policies.protect("shop", retry="none", critical=True)
    async def pay(what: str) -> None:
        found.append(list(keeper.memory["facts"]))
        keeper.memory["facts"].append(what)
        await asyncio.sleep(0)
        if what == "bad":
            raise ConnectionError("gone")

    policies.bulkheads.get_or_create("shop").resize(1, 9, 20.0)

    async def main() -> list[Any]:
        return await asyncio.gather(pay("first"), pay("bad"), pay("last"), return_exceptions=True)

    outcomes = asyncio.run(main())
    assert [type(one) for one in outcomes] == [type(None), ConnectionError, type(None)]
    assert sorted(keeper.memory["facts"]) == ["first", "last"]
    assert keeper.told == []
    newest = keeper.checkpoint_manager.get_latest_checkpoint("memory", "operation")
    assert newest is not None
    assert newest.state == {"facts": found[-1]}


def test_an_asynchronous_call_that_a_bulkhead_refuses_changes_nothing(keeper: Keeper, policies: Resilience) -> None:
    keeper.learns()
    inside, may_go_on = asyncio.Event(), asyncio.Event()

    @policies.protect("shop", retry="none", critical=True)
    async def pay() -> None:
        keeper.memory["facts"].append("half done")
        inside.set()
        await may_go_on.wait()
        raise ConnectionError("gone")

    policies.bulkheads.get_or_create("shop").resize(1, 0, 0.0)

    async def main() -> None:
        task = asyncio.create_task(pay())
        await inside.wait()
        with pytest.raises(BulkheadFullError):
            await pay()
        assert keeper.memory == {"facts": ["half done"]}
        newest = keeper.checkpoint_manager.get_latest_checkpoint("memory", "operation")
        assert newest is not None
        assert newest.state == {"facts": []}  # to which a person goes back if this process dies now
        may_go_on.set()
        with pytest.raises(ConnectionError):
            await task

    asyncio.run(main())
    assert keeper.memory == {"facts": []}
    assert keeper.told == []


def test_the_loop_does_not_wait_for_the_disk_where_the_circuit_only_probes(keeper: Keeper, policies: Resilience) -> None:
    keeper.learns()
    savers: list[threading.Thread] = []
    save = keeper.checkpoint_manager.save_json
    keeper.checkpoint_manager.save_json = lambda *args, **kw: savers.append(threading.current_thread()) or save(*args, **kw)  # type: ignore[method-assign,func-returns-value]
    circuit = policies.circuits.get_or_create("shop")
    while not circuit.is_open:
        with contextlib.suppress(ConnectionError):
            circuit.call(_fails)
    keeper.clock.advance(3600)

    @policies.protect("shop", retry="none", critical=True)
    async def pay() -> str:
        return "paid"

    assert asyncio.run(pay()) == "paid"
    assert len(savers) == 1
    assert threading.main_thread() not in savers


def _fails() -> None:
    raise ConnectionError("gone")
