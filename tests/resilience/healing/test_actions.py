"""The eight actions, done for real: processes, folders, agents, configuration."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from msgspec.structs import replace

import resilience
from resilience.agent.client import Agent
from resilience.config.settings import Service
from resilience.core.inputs import Configuration, OrderGiven
from resilience.core.services import Services
from resilience.detection.policy import Probe
from resilience.events import Heartbeat
from resilience.healing.actions import Actions
from resilience.healing.heals import HealingAction, HealingResult
from resilience.healing.policy import HealingActionType, SelfHealing
from resilience.processes.policy import Process
from resilience.testing import FakeClock
from tests.resilience.processes.conftest import SLEEPER, House, until


def roll_back(_: object) -> str:
    raise LookupError("no other configuration has been in force")


@pytest.fixture
def actions(house: House) -> Actions:
    home = house.folder / "home"
    return Actions(home, house.core, house.supervisor, house.clock, reload=lambda: "the file is in force", roll_back=roll_back)


def do(actions: Actions, kind: str, target: str = "x") -> HealingResult:
    return actions.do(HealingAction(action_type=HealingActionType(kind), target=target, parameters={"scale": 0.5, "for_s": 60.0}))


def possible(actions: Actions, kind: str, target: str = "x") -> bool:
    return actions.is_possible(HealingActionType(kind), target)


def test_a_service_is_started_again_with_the_process_that_it_is(house: House, actions: Actions) -> None:
    services = {**house.settings.services, "vector_store": Service(process="chroma")}
    house.settings = replace(house.settings, services=services)
    house.configure(chroma=Process(command=SLEEPER, stop_timeout_s=1))
    house.start()
    first = house.becomes("chroma", "running")
    assert "chroma is started again" in do(actions, "restart_service", "vector_store").message
    assert house.becomes("chroma", "running", run=first.run + 1).pid != first.pid
    assert not possible(actions, "restart_service", "gmail_api")


def test_what_a_person_has_stopped_is_not_started_by_healing(house: House, actions: Actions) -> None:
    house.configure(chroma=Process(command=SLEEPER, stop_timeout_s=1))
    house.start()
    house.becomes("chroma", "running")
    house.ask("chroma", "stop")
    house.becomes("chroma", "stopped")
    assert not possible(actions, "restart_service", "chroma")


def test_what_crashes_in_a_loop_is_left_to_a_person(house: House, actions: Actions) -> None:
    """Healing would give the loop as many starts again as it had been allowed."""
    house.configure(chroma=Process(command=(*SLEEPER[:1], "-c", "raise SystemExit(1)"), max_restarts=0))
    house.start()
    house.becomes("chroma", "failed")
    assert not possible(actions, "restart_service", "chroma")


def test_what_ended_for_good_is_not_started_by_healing(house: House, actions: Actions) -> None:
    """Its ``restart`` says that its end is the end."""
    house.configure(chroma=Process(command=(*SLEEPER[:1], "-c", "raise SystemExit(1)"), restart="never"))
    house.start()
    house.becomes("chroma", "exited")
    assert not possible(actions, "restart_service", "chroma")


def test_what_its_supervisor_has_only_just_started_again_is_given_its_time(house: House, actions: Actions) -> None:
    """Its crashes are errors, and answered: healing would only end the new run."""
    policy = Process(command=SLEEPER, stop_timeout_s=1, healthy_after_s=3600)
    house.configure(chroma=policy)
    house.start()
    first = house.becomes("chroma", "running")
    assert possible(actions, "restart_service", "chroma")
    psutil.Process(first.pid).kill()
    house.becomes("chroma", "running", run=first.run + 1)
    assert not possible(actions, "restart_service", "chroma")
    house.configure(chroma=replace(policy, healthy_after_s=0.001))
    assert until(lambda: possible(actions, "restart_service", "chroma"))


def test_the_folders_of_a_cache_are_emptied_and_nothing_else(house: House, actions: Actions, tmp_path: Path) -> None:
    cache, kept = tmp_path / "cache", tmp_path / "kept"
    for folder in (cache / "below", kept):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"x" * 2_000_000)
    try:
        (cache / "link").symlink_to(kept, target_is_directory=True)
    except OSError:
        assert house.folder.drive  # only Windows refuses
    (journal := tmp_path / "home" / "logs").mkdir(parents=True)
    policy = SelfHealing(cache_folders={"x": (str(cache),), "home": (str(Path.home()),), "gone": (str(tmp_path / "gone"),), "own": (str(journal),)})
    house.core.tell(Configuration(replace(house.settings, self_healing=policy))).result(10)
    assert possible(actions, "clear_cache")
    assert not possible(actions, "clear_cache", "y")
    result = do(actions, "clear_cache")
    assert result.success
    assert "MB freed" in result.message
    assert list(cache.iterdir()) == []
    assert (kept / "file").stat().st_size == 2_000_000
    for refused in ("home", "gone", "own"):
        with pytest.raises(ValueError, match=r"is not only a cache|is no folder"):
            do(actions, "clear_cache", refused)


def test_what_cannot_be_deleted_stays_and_the_rest_goes(
    house: House, actions: Actions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a file of a cache that somebody has open on Windows."""
    cache = tmp_path / "cache"
    cache.mkdir()
    for name in ("a", "in use", "z"):
        (cache / name).write_bytes(b"x" * 1_048_576)
    really = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.name == "in use":
            raise PermissionError(13, "somebody has it open")
        really(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    policy = SelfHealing(cache_folders={"x": (str(cache),)})
    house.core.tell(Configuration(replace(house.settings, self_healing=policy))).result(10)
    result = do(actions, "clear_cache")
    assert result.success
    assert result.message == f"{cache}: 2 entries deleted, 2.0 MB freed; 1 stay, e.g. in use (somebody has it open)"
    assert [one.name for one in cache.iterdir()] == ["in use"]
    with pytest.raises(OSError, match=r"nothing could be deleted: in use \(somebody has it open\)"):
        do(actions, "clear_cache")


def test_the_configuration_is_loaded_again_or_rolled_back(actions: Actions) -> None:
    assert do(actions, "reload_config").message == "the file is in force"
    with pytest.raises(LookupError):
        do(actions, "rollback_version", "config")


def test_memory_is_given_back_here_even_without_an_agent(actions: Actions) -> None:
    assert "objects collected" in do(actions, "garbage_collect", "machine").message


def test_an_agent_is_asked_only_for_what_it_has_said_it_can_do(house: House, actions: Actions) -> None:
    house.core.beat(Heartbeat(agent="a", pid=1, healers=("reset_connections:x", "clear_cache:*"))).result(10)
    asked = [("reset_connections", "x"), ("reset_connections", "y"), ("clear_cache", "y"), ("scale_resources", "x")]
    assert [possible(actions, *one) for one in asked] == [True, False, True, False]
    house.core.beat(Heartbeat(agent="a", pid=1, leaving=True)).result(10)
    assert not possible(actions, "reset_connections")


@pytest.fixture
def agent(winclaw: Any, tmp_path: Path) -> Iterator[Agent]:
    agent = resilience.connect("worker", folder=tmp_path / "home")
    yield agent
    agent.close()


def of_app(winclaw: Any) -> Actions:
    """Actions over a whole WinClaw; it supervises nothing here."""
    return Actions(Path(), winclaw.core, None, winclaw.core.clock, reload=str, roll_back=str)  # type: ignore[arg-type]


def test_orders_reach_an_agent_and_its_answers_come_back(winclaw: Any, agent: Agent) -> None:
    pool = ["connection"]

    @agent.healer("reset_connections", "x")
    def reset() -> str:
        pool.clear()
        return "1 connection closed"

    @agent.healer("clear_cache", "x")
    def broken() -> None:
        raise OSError("the cache is locked")

    actions = of_app(winclaw)
    until(lambda: possible(actions, "clear_cache"))
    assert do(actions, "reset_connections") == HealingResult(success=True, message="worker: 1 connection closed")
    assert pool == []
    assert do(actions, "clear_cache") == HealingResult(success=False, message="worker: OSError: the cache is locked")
    assert not winclaw.core.state.orders
    assert "worker:" in do(actions, "garbage_collect", "machine").message


def test_fewer_calls_run_at_once_for_a_while(winclaw: Any, agent: Agent) -> None:
    ask = agent.protect("gpt-5.2")(lambda: 1)
    assert ask() == 1
    actions = of_app(winclaw)
    until(lambda: possible(actions, "scale_resources", "gpt-5.2"))
    assert do(actions, "scale_resources", "gpt-5.2").message == "worker: 10 to 5 concurrent calls for 60 s"
    assert agent.resilience.bulkheads.get("gpt-5.2").limits.max_concurrent == 5  # type: ignore[union-attr]


def test_what_was_scaled_ends_with_its_time() -> None:
    clock = FakeClock()
    policies = resilience.Resilience(clock=clock)
    ask = policies.protect("x")(lambda: 1)
    assert policies.scale("x", 0.01, 30.0) == "10 to 1 concurrent calls for 30 s"
    assert policies.look_at_scales() == 30.0
    clock.advance(30)
    assert policies.look_at_scales() is None
    assert ask() == 1
    assert policies.bulkheads.get("x").limits.max_concurrent == 10  # type: ignore[union-attr]
    with pytest.raises(LookupError):
        policies.scale("nobody", 0.5, 1.0)


def test_a_healer_must_be_for_something_that_an_agent_can_do(agent: Agent) -> None:
    with pytest.raises(ValueError, match="no healing action that an agent can do"):
        agent.healer("reboot")(lambda: None)
    with pytest.raises(ValueError, match="name"):
        agent.healer("clear_cache", "")(lambda: None)


def test_what_is_only_just_being_started_is_left_to_its_supervisor(house: House, actions: Actions) -> None:
    never = Process(command=SLEEPER, stop_timeout_s=1, probe=Probe(file=str(house.folder / "nobody writes it")))
    house.configure(chroma=never)
    house.start()
    house.becomes("chroma", "starting")
    assert not possible(actions, "restart_service", "chroma")


class Asked:
    """Stands in for the core of a machine with one agent, which has answered before anybody waits; ``ids`` are its orders."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.state = SimpleNamespace(
            agents={("worker", 1): SimpleNamespace(name="worker", healers=("reset_connections:*",))}, services=Services(), orders={}
        )

    def tell(self, given: OrderGiven) -> Future[list[int]]:
        if given.order is not None:
            self.ids.append(given.id)
            self.state.orders[given.id] = replace(given.order, agents=())
        told: Future[list[int]] = Future()
        told.set_result([1])
        return told


def test_an_order_has_an_id_that_no_other_has_had() -> None:
    """Also one of an earlier WinClaw, at the same time by a clock that was set back: agents obey no order twice."""
    core = Asked()
    for _ in range(2):
        do(Actions(Path(), core, None, FakeClock(), reload=str, roll_back=str), "reset_connections")  # type: ignore[arg-type]
    assert len(set(core.ids)) == 2
