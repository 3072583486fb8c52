"""The eight actions (§6.2), done for real. None of them says that something is healed: that is seen afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from resilience.clock import Clock
from resilience.core.asking import ask_agents
from resilience.core.core import Core
from resilience.core.orders import ANY, can
from resilience.degradation.levels import DegradationLevel
from resilience.healing.heals import HealingAction, HealingResult
from resilience.healing.memory import give_back
from resilience.healing.policy import HealingActionType
from resilience.healing.troubles import CONFIG
from resilience.processes.supervision import ProcessState
from resilience.processes.supervisor import Supervisor

_MB: Final = 1024 * 1024


class Actions:
    """What healing can do in this WinClaw.

    Args:
        home: WINCLAW_HOME, which is no cache.
        reload, roll_back: do so with WinClaw's own configuration; each says what it did, or raises. What a roll-back is to
            leave, and who has approved it, stands in the action's parameters.
    """

    def __init__(
        self, home: Path, core: Core, supervisor: Supervisor, clock: Clock, *,
        reload: Callable[[], str], roll_back: Callable[[Mapping[str, float | str]], str],
    ) -> None:  # fmt: skip
        self._home, self._core, self._supervisor, self._clock = home, core, supervisor, clock
        self._reload, self._roll_back = reload, roll_back

    def is_possible(self, kind: HealingActionType, target: str) -> bool:
        """Whether there is anything that the action could do for ``target``."""
        return bool(self._own(kind, target, {})) or bool(self._agents(kind, target))

    def do(self, action: HealingAction) -> HealingResult:
        """Does it; waits until it is done, but not until it has helped.

        Raises:
            Whatever keeps it from being done; the message is for people.
        """
        kind, target = action.action_type, action.target
        done = [act() for act in self._own(kind, target, action.parameters)]
        restarted = self._core.state.settings.process_of(target) if done and kind is HealingActionType.RESTART_SERVICE else None
        is_all = restarted is not None or (bool(done) and kind is HealingActionType.ROLLBACK_VERSION)
        agents = () if is_all else self._agents(kind, target)
        component = ANY if kind is HealingActionType.GARBAGE_COLLECT else target
        answers = ask_agents(self._core, self._clock, kind.value, component, agents, action.parameters) if agents else {}
        said = [*done, *(f"{name}: {what}" for name, (_, what) in answers.items())]
        success = bool(done) or any(did for did, _ in answers.values())
        ended = (f"everything that {restarted} had started ended with it",) if restarted is not None else ()
        return HealingResult(success=success, message="; ".join(said)[:2000] or "nobody could do it", side_effects=ended)

    def _own(self, kind: HealingActionType, target: str, parameters: Mapping[str, float | str]) -> list[Callable[[], str]]:
        """What WinClaw itself does of it; each says what it did, or raises."""
        match kind:
            case HealingActionType.RESTART_SERVICE if (name := self._process(target)) is not None:
                return [partial(self._restart, name, target)]
            case HealingActionType.CLEAR_CACHE:
                folders = self._core.state.settings.self_healing.cache_folders.get(target, ())
                return [partial(_emptied, folder, self._home) for folder in folders]
            case HealingActionType.RELOAD_CONFIG:
                return [self._reload]
            case HealingActionType.ROLLBACK_VERSION if target == CONFIG:
                return [partial(self._roll_back, parameters)]
            case HealingActionType.GARBAGE_COLLECT:
                return [lambda: f"WinClaw: {give_back()} objects collected"]
            case _:
                return []

    def _restart(self, name: str, target: str) -> str:
        self._supervisor.command(name, "restart", actor="healing", origin=target).result(10)
        return f"the process {name} is started again"

    def _process(self, target: str) -> str | None:
        """The supervised process that ``target`` is, unless it is not wanted to run, is given up, or is only just being
        started again: its crashes are errors, and its supervisor has answered them already.
        """
        state = self._core.state
        name = state.settings.process_of(target)
        policy = state.settings.processes.get(name)
        if policy is None or (state.standing.level is DegradationLevel.SAFE_MODE and policy.in_safe_mode == "stop"):
            return None
        status = state.processes.get(name)
        if status is None:
            return name
        is_new = status.restarts > 0 and (self._clock.now() - status.since).total_seconds() < policy.healthy_after_s
        return None if is_new or status.state is not ProcessState.RUNNING else name

    def _agents(self, kind: HealingActionType, target: str) -> tuple[str, ...]:
        state = self._core.state
        component = ANY if kind is HealingActionType.GARBAGE_COLLECT else target
        users = state.services.users(target)
        able = {
            agent.name
            for key, agent in state.agents.items()
            if can(agent.healers, kind.value, component) and (kind is not HealingActionType.SCALE_RESOURCES or key in users)
        }
        return tuple(sorted(able))


def _emptied(folder: str, home: Path) -> str:
    """Deletes what is in ``folder``, which stays; a link is deleted, not what it leads to.

    Raises:
        OSError: nothing in it can be deleted. ValueError: it is no folder for caches.
    """
    path = Path(folder).expanduser()
    if not path.is_absolute() or path.is_symlink() or not path.is_dir():
        raise ValueError(f"{folder} is no folder; give its whole path")
    kept = {one for whole in (home.resolve(), Path.home().resolve()) for one in (whole, *whole.parents)}
    if path.resolve() in kept or home.resolve() in path.resolve().parents:
        raise ValueError(f"{folder} is not only a cache; WinClaw does not empty it")
    entries, freed, stays = 0, 0, list[str]()
    for entry in list(path.iterdir()):
        try:
            is_folder = entry.is_dir() and not entry.is_symlink()
            size = sum(one.lstat().st_size for one in entry.rglob("*")) if is_folder else entry.lstat().st_size
            if is_folder:
                shutil.rmtree(entry)
            else:
                entry.unlink()
        except OSError as error:  # on Windows, a file that somebody has open
            stays.append(f"{entry.name} ({error.strerror or error})")
            continue
        entries += 1
        freed += size
    if stays and not entries:
        raise OSError(f"{folder}: nothing could be deleted: {', '.join(stays[:3])}")
    left = f"; {len(stays)} stay, e.g. {stays[0]}" if stays else ""
    return f"{folder}: {entries} entries deleted, {freed / _MB:.1f} MB freed{left}"
