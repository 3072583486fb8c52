"""The core beside a plain model, through a disk that refuses, damage, restarts and crashes, in any order."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from resilience.classification.classifier import ErrorClassifier
from resilience.config.settings import Settings
from resilience.core.core import Core
from resilience.core.inputs import ProcessTold
from resilience.degradation.levels import DegradationLevel
from resilience.degradation.policy import Degradation
from resilience.events import EventType, Report
from resilience.journal.history import History
from resilience.journal.journal import Journal, JournalError
from resilience.processes.status import ProcessStatus
from resilience.processes.supervision import ProcessState
from resilience.redaction import Redactor
from resilience.testing import FakeClock
from tests.resilience.core.cores import BrittleJournal

SERVICES = ("mail", "maps")
NO_RULES = Settings(degradation=Degradation(rules=()))
LEVELS = (DegradationLevel.SAFE_MODE, DegradationLevel.MINIMAL, None)
FULL = OSError("no space left on device")


class CoreMachine(RuleBasedStateMachine):
    """What was acknowledged is there, in this life and in the next; of what was refused only Safe Mode and facts hold."""

    def __init__(self) -> None:
        super().__init__()
        self.clock, self.lives = FakeClock(), 0
        self.stored: dict[str, int] = {}
        self.lost: set[str] = set()
        self.level = DegradationLevel.FULL
        self.isolated: set[str] = set()
        self.process: ProcessState | None = None
        self.refuses = False
        self.announced = 0
        self.owed_events: set[int] = set()
        self.events: set[int] = set()
        self.root = Path(tempfile.mkdtemp())

    @initialize()
    def begin(self) -> None:
        self.start(self.root / "0")

    def start(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.journal = BrittleJournal(folder / "journal.db", self.clock.now())
        history = History(self.journal.path)
        self.core = Core(self.journal, history, ErrorClassifier(clock=self.clock), Redactor(), self.clock, settings=NO_RULES)
        self.core.start()
        self.refuses, self.is_owed, self.process = False, False, None

    def end(self) -> None:
        self.journal.failure = None
        self.core.stop()
        self.core.history.close()

    def done(self, future: Any) -> bool:
        """Whether it was taken; only a disk that refuses may say no."""
        try:
            future.result(10)
        except JournalError:
            assert self.refuses
            return False
        if not self.refuses:  # else it is a fact, which holds in memory, and writes nothing
            self.is_owed = False
            self.events |= self.owed_events
            self.owed_events.clear()
        return True

    @rule(key=st.sampled_from("abcdefgh"))
    def report(self, key: str) -> None:
        one = Report(type="TimeoutError", message="late", component="x", operation="ask", key=key)
        future = self.core.report([one])
        if self.done(future):
            [number] = future.result()
            assert self.stored.setdefault(key, number) == number or key in self.lost
            self.stored[key] = number
            self.lost.discard(key)

    @rule(level=st.sampled_from(LEVELS))
    def choose(self, level: DegradationLevel | None) -> None:
        taken = self.done(self.core.set_level(level, actor="test", origin="here", confirmed=True))
        if taken or level is DegradationLevel.SAFE_MODE:  # which holds even if nobody can write it down
            self.level = level or DegradationLevel.FULL
            self.is_owed = not taken

    @rule(service=st.sampled_from(SERVICES), command=st.sampled_from(["isolate", "release"]))
    def switch(self, service: str, command: str) -> None:
        if command == "release" and service not in self.core.state.services.circuits:
            return
        if self.done(self.core.switch_circuit(service, command, actor="test", origin="here")):  # type: ignore[arg-type]
            (self.isolated.add if command == "isolate" else self.isolated.discard)(service)

    @rule(state=st.sampled_from([ProcessState.RUNNING, ProcessState.FAILED]))
    def tell(self, state: ProcessState) -> None:
        if self.done(self.core.tell(ProcessTold("agent", ProcessStatus(name="agent", state=state, since=self.clock.now())))):
            self.process = state

    @rule()
    def announce(self) -> None:
        """What has happened is taken whatever the disk says, and written as soon as that can be."""
        self.announced += 1
        self.owed_events.add(self.announced)
        assert self.done(self.core.announce(EventType.ANOMALY_BEGAN, "x", number=self.announced))

    @rule(seconds=st.sampled_from([1, 60]))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule()
    def the_disk_fills_or_has_room_again(self) -> None:
        self.refuses = not self.refuses
        self.journal.failure = FULL if self.refuses else None

    @precondition(lambda self: not self.refuses)
    @rule()
    def restart(self) -> None:
        self.end()
        self.lives += 1
        self.start(self.folder)

    # A third crash in a row would lead to Safe Mode, and one that the disk has yet to learn of is said not to survive.
    @precondition(lambda self: not self.refuses and not self.is_owed and self.lives < 2)
    @rule()
    def crash(self) -> None:
        """The disk as it is now is all that the next life has."""
        self.lives += 1
        self.owed_events.clear()
        after = self.root / f"crash-{self.lives}"
        shutil.copytree(self.folder, after)
        self.end()
        self.start(after)

    @precondition(lambda self: not self.refuses)
    @rule()
    def damage(self) -> None:
        """The journal proves broken in use: errors are put aside with it, all that is in force stays."""
        broken = sqlite3.DatabaseError("database disk image is malformed")
        broken.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        original, tries = Journal.commit, []

        def breaks_once(records: Any, state: Any = None) -> Any:
            tries.append(1)
            if len(tries) == 1:
                raise JournalError("malformed") from broken
            return original(self.journal, records, state)

        self.clock.advance(1)  # the file that is put aside has the time in its name
        self.journal.commit = breaks_once  # type: ignore[method-assign]
        self.lost |= self.stored.keys()
        self.events.clear()
        self.report("i")
        del self.journal.commit  # type: ignore[attr-defined]

    @invariant()
    def what_is_in_force_is_what_was_acknowledged(self) -> None:
        if not hasattr(self, "core"):
            return
        state = self.core.state
        assert state.standing.level is self.level
        assert {name for name, one in state.services.circuits.items() if one.state == "ISOLATED"} == self.isolated
        assert set(state.isolations) == self.isolated
        told = state.processes.get("agent")
        assert (told.state if told is not None else None) is self.process

    @invariant()
    def what_was_acknowledged_is_stored_once(self) -> None:
        if not hasattr(self, "core"):
            return
        conn = sqlite3.connect(self.folder / "journal.db")
        found = conn.execute("SELECT key, id FROM errors").fetchall()
        conn.close()
        assert dict(found) == {key: number for key, number in self.stored.items() if key not in self.lost}
        assert len(found) == len(dict(found))

    @invariant()
    def what_was_announced_is_written_once_and_in_order(self) -> None:
        if not hasattr(self, "core"):
            return
        conn = sqlite3.connect(self.folder / "journal.db")
        found = conn.execute("SELECT json_extract(CAST(body AS TEXT), '$.number') FROM events WHERE type = 'anomaly.began' ORDER BY id")
        numbers = [row[0] for row in found]
        conn.close()
        assert numbers == sorted(set(numbers))
        assert self.events <= set(numbers) <= set(range(1, self.announced + 1))

    def teardown(self) -> None:
        if hasattr(self, "core"):
            self.end()
        shutil.rmtree(self.root, ignore_errors=True)


TestCore = CoreMachine.TestCase
TestCore.settings = settings(
    max_examples=25, stateful_step_count=20, suppress_health_check=list(HealthCheck)
)  # fmt: skip
