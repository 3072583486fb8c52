"""What outlives a WinClaw: through its journal into the next one's state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType

import pytest
from msgspec.structs import replace

from resilience.config.settings import Settings
from resilience.core import goodbye
from resilience.core.keeping import at_start, changed, everything
from resilience.core.lives import Lives
from resilience.core.services import ServiceCircuit, Services
from resilience.core.state import State
from resilience.degradation.levels import DegradationLevel, at_first, choose
from resilience.healing.diagnosis import Diagnosis
from resilience.healing.heals import Heal, HealState
from resilience.healing.policy import HealingActionType
from resilience.isolation.isolated import Isolated
from resilience.journal.history import History
from resilience.journal.journal import Journal
from resilience.testing import FakeClock

CLOCK = FakeClock()
NOW = CLOCK.now()
OPEN = ServiceCircuit(name="gpt-5.2", state="OPEN", since=NOW, because="it burns", until=NOW + timedelta(seconds=30), version=7)
CLOSED = ServiceCircuit(name="mail", state="CLOSED", since=NOW, because="")
ISOLATED = Isolated(component="mail", reason="by hand", actor="dashboard", since=NOW, services=("mail",), processes=())
HEAL = Heal(
    id=3, rule="r", action=HealingActionType.RESTART_SERVICE, target="store", state=HealState.WAITING, trigger="it fell", at=NOW,
    diagnosis=Diagnosis(pattern="r", component="store", root_cause="store"),
)  # fmt: skip
SAFE = choose(at_first(NOW), DegradationLevel.SAFE_MODE, actor="tray", now=NOW)
FULL_HOUSE = State(
    standing=SAFE, services=Services(MappingProxyType({"gpt-5.2": OPEN, "mail": CLOSED})),
    isolations=MappingProxyType({"mail": ISOLATED}), heals=MappingProxyType({3: HEAL}),
)  # fmt: skip


@contextmanager
def journal(path: Path) -> Iterator[Journal]:
    one = Journal(path / "journal.db", NOW)
    yield one
    one.close()


@pytest.fixture
def next_one(tmp_path: Path) -> Callable[[], State]:
    def begin() -> State:
        with journal(tmp_path) as kept:
            history = History(kept.path)
            state = at_start(kept, history, CLOCK, settings=Settings(), notices=()).state
            history.close()
            return state

    return begin


def test_level_unwell_circuits_isolations_and_heals_outlive_a_winclaw(tmp_path: Path, next_one: Callable[[], State]) -> None:
    """A circuit that is closed needs no keeping: that is how each begins."""
    with journal(tmp_path) as kept:
        kept.commit([], everything(FULL_HOUSE, Lives(running=True)))
    state = next_one()
    assert (state.standing.level, state.standing.pinned) == (DegradationLevel.SAFE_MODE, True)
    assert state.services.circuits == {"gpt-5.2": OPEN}
    assert state.isolations == {"mail": ISOLATED}
    assert state.heals == {3: HEAL}
    with journal(tmp_path) as kept:
        assert kept.state("lives")["running"]


def test_alerts_that_are_no_more_are_kept_no_longer(tmp_path: Path) -> None:
    """Those that went while nothing could be written are known by what stands in the journal alone."""
    with journal(tmp_path) as kept:
        kept.commit([], {"alert:1": {"id": 1}, "alert:22": {"id": 22}, "standing": None})
        kept.commit([], everything(FULL_HOUSE, Lives(running=True), kept))
        assert kept.names("alert:") == []


def test_a_goodbye_beside_the_journal_is_as_good_as_one_in_it(tmp_path: Path) -> None:
    with journal(tmp_path) as kept:
        kept.commit([], everything(FULL_HOUSE, Lives(running=True)))
        history = History(kept.path)
        goodbye.leave_beside(kept.path, NOW, 3)
        begun = at_start(kept, history, CLOCK, settings=Settings(), notices=())
        assert (begun.crashed_before, begun.lives.crashes) == (False, ())
        assert goodbye.take_from_beside(kept.path) is not None
        again = at_start(kept, history, CLOCK, settings=Settings(), notices=())
        assert (again.crashed_before, len(again.lives.crashes)) == (True, 1)
        history.close()


def test_a_first_winclaw_begins_with_nothing(next_one: Callable[[], State]) -> None:
    state = next_one()
    assert (state.standing.level, dict(state.services.circuits), dict(state.heals)) == (DegradationLevel.FULL, {}, {})


@pytest.mark.parametrize(
    ("part", "other"),
    [
        ("standing", {"standing": at_first(NOW)}),
        ("circuits", {"services": Services()}),
        ("isolations", {"isolations": MappingProxyType({})}),
        ("heals", {"heals": MappingProxyType({})}),
    ],
)
def test_only_what_has_changed_is_written_again(part: str, other: dict[str, object]) -> None:
    """A state has hundreds of heals, and changes with every heartbeat."""
    assert set(changed(FULL_HOUSE, replace(FULL_HOUSE, **other))) == {part}
    assert changed(FULL_HOUSE, replace(FULL_HOUSE, version=99, agents=MappingProxyType({}))) == {}


@pytest.mark.parametrize(
    ("part", "left"),
    [
        ("standing", {"circuits": {"gpt-5.2": OPEN}, "isolations": {"mail": ISOLATED}, "heals": {3: HEAL}}),
        ("circuits", {"circuits": {"mail": "isolated by dashboard: by hand"}, "isolations": {"mail": ISOLATED}, "heals": {3: HEAL}}),
        ("heals", {"circuits": {"gpt-5.2": OPEN}, "isolations": {"mail": ISOLATED}, "heals": {}}),
        ("lives", {"circuits": {"gpt-5.2": OPEN}, "isolations": {"mail": ISOLATED}, "heals": {3: HEAL}}),
    ],
)
def test_what_is_kept_and_cannot_be_understood_is_damage_and_the_rest_is_saved(
    tmp_path: Path, next_one: Callable[[], State], part: str, left: dict[str, object]
) -> None:
    """WinClaw starts whatever its journal says; where that is not how things stood, in Safe Mode."""
    with journal(tmp_path) as kept:
        kept.commit([], {**everything(FULL_HOUSE, Lives(running=True)), part: ["nonsense"]})
    state = next_one()
    circuits: dict[str, object] = dict(state.services.circuits)
    if part == "circuits":  # what is isolated is so all the same
        circuits = {name: one.because for name, one in state.services.circuits.items() if one.state == "ISOLATED"}
    assert {"circuits": circuits, "isolations": state.isolations, "heals": state.heals} == left
    assert (state.standing.level, state.standing.pinned) == (DegradationLevel.SAFE_MODE, part != "standing")
    assert [notice.name for notice in state.notices] == ["journal_set_aside"]
    with journal(tmp_path) as again:
        assert again.state(part) is None
