"""Restoring is believed only where a restorer ran and its check passed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from resilience.recovery.checkpoints import CheckpointManager
from resilience.recovery.policy import Checkpointing
from resilience.recovery.restoring import NotRestoredError
from resilience.testing import FakeClock
from tests.resilience.recovery.keepers import Keeper


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


def test_what_was_gone_back_to_is_the_newest_again_as_soon_as_states_are_saved(keeper: Keeper) -> None:
    """Else the next recovery would bring back what a person has just gone back from."""
    keeper.learns()
    [good] = keeper.save_all().values()
    keeper.memory = {"facts": ["nonsense"]}
    keeper.save_all()
    keeper.restore("memory", checkpoint_id=good)
    [again] = keeper.save_all().values()
    assert keeper.save_all() == {}
    assert keeper.restore("memory").state == {"facts": []}
    found = keeper.checkpoint_manager.load_checkpoint(again)
    assert found is not None
    assert found.parent_checkpoint == good
    assert keeper.save_all() == {}
