"""The control plane: one thread owns the state, decides, commits, and only then tells the world.

Everything that happens is an input; the inputs that are waiting are taken together, decided on in order, and written
in one transaction. When it stands on disk the new state is shown, the events are published, and whoever waits is
answered. One group is being written while the next one gathers, so throughput costs no durability.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any, Final, NamedTuple, TypeVar

from msgspec.structs import replace

from resilience.classification.classifier import ErrorClassifier
from resilience.clock import Clock
from resilience.config.settings import Settings
from resilience.core.decisions import Decisions
from resilience.core.facts import as_fact, prove
from resilience.core.inputs import (
    AlertDecision,
    AlertDecisionName,
    Announcement,
    Choice,
    Errors,
    HealDecision,
    HealingDecision,
    HowIsolated,
    Input,
    Look,
    Snooze,
    Switch,
    TestMessage,
    Told,
)
from resilience.core.keeping import at_start
from resilience.core.lanes import Lanes
from resilience.core.notices import JOURNAL, Notice, of_refusal, without
from resilience.core.publishing import Publishing
from resilience.core.services import CircuitCommand
from resilience.core.state import State
from resilience.core.writing import Writing
from resilience.degradation.levels import DegradationLevel
from resilience.events import EventType, Heartbeat, Report
from resilience.isolation.policy import zone_of
from resilience.journal.history import History
from resilience.journal.journal import Journal, JournalError
from resilience.journal.schema import Record
from resilience.redaction import Redactor

MAX_WAITING: Final = 10_000
"""Inputs of one zone that may wait for the journal; further ones are refused, so that a slow disk cannot fill the memory."""
_GROUP: Final = 500
_TICK_S: Final = 1.0
_FORGET_EVERY_S: Final = 10.0
_FORGET_AT_ONCE: Final = 20
"""Chunks that are deleted in a row before the next look at the clock: with that 10,000 rows a second, some 10 ms for each 500."""

T = TypeVar("T")
_log = logging.getLogger("winclaw.core")


class CoreBusyError(Exception):
    """Too much is waiting for the journal already; nothing was taken. Try again after ``retry_after_s``."""

    retry_after_s: Final = 1.0


class Core(Publishing):
    """The control plane's one owner. Its methods may be called from any thread and never wait, unless they say so.

    Args:
        journal: where things are committed; from now on the core's alone.
        settings: what is in force at start; ``tell`` takes a ``Configuration`` later. notices: what waits for the user already.
    """

    def __init__(
        self,
        journal: Journal,
        history: History,
        classifier: ErrorClassifier,
        redactor: Redactor,
        clock: Clock,
        *,
        settings: Settings | None = None,
        notices: Sequence[Notice] = (),
    ) -> None:
        begin = at_start(journal, history, clock, settings=settings or Settings(), notices=notices)
        super().__init__(begin.state, clock)
        self.history = history
        self._journal, self._decisions = journal, Decisions(classifier, redactor, clock)
        self.crashed_before = begin.crashed_before
        """Whether the WinClaw before this one ended without a goodbye."""
        self._writing = Writing(journal, history, self._decisions.records, clock, begin.lives)
        self._waiting: Lanes[tuple[Input, Future[Any]]] = Lanes()
        self._submitting = threading.Lock()
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="core", daemon=True)
        self._started = threading.Event()

    # Asked from other threads.

    @property
    def max_age(self) -> timedelta:
        """How long errors and events are kept."""
        return timedelta(days=self.state.settings.retention.max_age_days)

    def view(self) -> dict[str, Any]:
        """The state as the API gives it now."""
        return self.state.view(self.clock.now())

    def report(self, reports: Sequence[Report]) -> Future[list[int]]:
        """Stores errors; the future has their ids, in order, once they are on disk.

        Raises:
            CoreBusyError: too many inputs are waiting. The future raises JournalError if the disk refuses.
        """
        return self._submit(Errors(tuple(reports)))

    def beat(self, heartbeat: Heartbeat) -> Future[None]:
        """Takes a heartbeat. It is not journalled itself, but what is new in it is: that the agent arrives or leaves, changes of
        its circuits, and what it tried in Safe Mode.

        Raises:
            CoreBusyError: as ``report``; so do all that take something.
        """
        return self._submit(heartbeat)

    def set_level(
        self, level: DegradationLevel | None, *, actor: str, origin: str, confirmed: bool = False
    ) -> Future[list[int]]:
        """Pins ``level``, or hands the choice back to the rules (None); one road for tray, page, command line, API.

        Args:
            actor: who, for the audit log. origin: from where, e.g. an address.
            confirmed: that a person has seen what leaving Safe Mode will do. The future raises
                ConfirmationNeededError where this is needed and missing.
        """
        return self._submit(Choice(level, actor, origin, confirmed))

    def switch_circuit(
        self, service: str, command: CircuitCommand, *, actor: str, origin: str, how: HowIsolated | None = None
    ) -> Future[list[int]]:
        """Isolates, releases or closes a service's circuit, for all agents of this machine; isolates a zone or a process.

        Args:
            actor, origin: as for ``set_level``. The future raises KeyError if no agent has such a service; what is isolated
                need not be known.
            how: for how long something is isolated, and what goes with it.
        """
        return self._submit(Switch(service, command, actor, origin, how or HowIsolated()))

    def decide_heal(self, number: int, decision: HealingDecision, *, actor: str, origin: str) -> Future[list[int]]:
        """Approves, rejects or dismisses a heal for a person.

        Args:
            actor, origin: as for ``set_level``. The future raises KeyError if there is no such heal, and TooLateError if
                it does not wait for that.
        """
        return self._submit(HealDecision(number, decision, actor, origin))

    def decide_alert(
        self, number: int, decision: AlertDecisionName, *, actor: str, origin: str, for_s: float = 0.0
    ) -> Future[list[int]]:
        """Acknowledges an alert for a person, or has it silent for ``for_s`` seconds.

        Args:
            actor, origin: as for ``set_level``. The future raises KeyError if there is no such alert, and TooLateError if it is
                acknowledged already, or resolved.
        """
        return self._submit(AlertDecision(number, decision, actor, origin, for_s))

    def snooze_alerts(self, for_s: float, *, actor: str, origin: str) -> Future[list[int]]:
        """Has nobody told of anything but what is FATAL, for so many seconds; 0: tells again."""
        return self._submit(Snooze(for_s, actor, origin))

    def test_channel(self, channel: str, *, actor: str, origin: str) -> Future[list[int]]:
        """Has a channel tell that this is a test: as an alert, whose telling says what came of it.

        The future raises ValueError where that channel is not on.
        """
        return self._submit(TestMessage(channel, actor, origin))

    def tell(self, an_input: Told) -> Future[list[int]]:
        """Takes in what another part of WinClaw has to say: see ``inputs``."""
        return self._submit(an_input)

    def announce(self, type: EventType, component: str, **body: Any) -> Future[list[int]]:  # noqa: A002 -- the field's name
        """Journals and publishes an event of the program's own life."""
        return self._submit(Announcement(type, component, body))

    def on_journal(self, do: Callable[[Journal], T]) -> Future[T]:
        """Has the journal's own thread do something with it, between two groups.

        Raises:
            CoreBusyError: WinClaw is not running.
        """
        try:
            return self._disk.submit(do, self._journal)
        except RuntimeError as error:
            raise CoreBusyError("WinClaw is not running") from error

    def answers(self, within_s: float) -> bool:
        """Whether the core's thread turns; waits up to ``within_s`` for it. What the disk does is not asked."""
        turned = threading.Event()
        if self._loop is None or self._loop.is_closed():
            return False
        self._loop.call_soon_threadsafe(turned.set)
        return turned.wait(within_s)

    def start(self) -> None:
        """Starts the thread; returns when inputs are taken."""
        self._thread.start()
        self._started.wait()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Writes what is waiting, closes the journal, ends the thread; waits up to ``timeout_s`` for it."""
        if self._loop is not None and self._thread.is_alive():
            with self._submitting:
                self._stopping = True
            with contextlib.suppress(RuntimeError):  # it has seen that, and has ended
                self._loop.call_soon_threadsafe(self._wake.set)
            self._thread.join(timeout_s)

    def _submit(self, an_input: Input) -> Future[Any]:
        future: Future[Any] = Future()
        with self._submitting:  # so that nothing slips in behind the last look at what is waiting
            if self._stopping or self._loop is None:
                raise CoreBusyError("WinClaw is not running")
            if not self._waiting.put(self._lane(an_input), (an_input, future), MAX_WAITING):
                raise CoreBusyError(f"{MAX_WAITING} inputs are waiting for the journal already")
            self._loop.call_soon_threadsafe(self._wake.set)
        return future

    def _lane(self, an_input: Input) -> str:
        """Where an input waits: commands by themselves, heartbeats too, and errors by zone (§7.1)."""
        match an_input:
            case Errors(reports) if reports:
                return f"zone:{zone_of(reports[0].component, self.state.settings.zones)}"
            case Heartbeat():
                return "heartbeats"
            case _:
                return ""

    # From here on: the core's thread.

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._started.set()
        with self._disk:
            ticking = asyncio.create_task(self._tick())
            while self._waiting or not self._stopping:
                if not self._waiting:
                    self._wake.clear()
                    if not self._waiting and not self._stopping:
                        await self._wake.wait()
                group = [(one, _held(future)) for one, future in self._waiting.take(_GROUP)]
                try:
                    await self._take(group)
                except Exception as error:  # a defect of ours: this group is answered, the core goes on
                    _log.exception("the core could not take a group of inputs")
                    for _, future in group:
                        if not future.done():
                            future.set_exception(error)
            ticking.cancel()
            await asyncio.gather(ticking, return_exceptions=True)
            self._end()
            await self._on_disk(self._writing.close, self.state)

    async def _on_disk(self, do: Callable[..., T], *values: Any) -> T:
        """Has the journal's thread do it; meanwhile the core's turns, and says so to whom asks whether it does."""
        return await asyncio.get_running_loop().run_in_executor(self._disk, do, *values)

    async def _tick(self) -> None:
        forgotten_s = -math.inf
        look: Future[Any] | None = None
        while True:
            await asyncio.sleep(_TICK_S)
            if look is None or look.done():
                with contextlib.suppress(CoreBusyError):
                    look = self._submit(Look())
            if self.clock.monotonic() - forgotten_s >= _FORGET_EVERY_S and not await self._forget():
                forgotten_s = self.clock.monotonic()

    async def _forget(self) -> bool:
        """Deletes what is too old or too much by chunks, between which the journal writes; returns whether more is left."""
        before, max_mb = self.clock.now() - self.max_age, self.state.settings.retention.max_size_mb
        try:
            for _ in range(_FORGET_AT_ONCE):
                if not await self._on_disk(self._journal.forget, before, max_mb):
                    return False
        except Exception:
            _log.exception("old errors could not be deleted; trying again later")
            return False
        return True

    async def _take(self, group: list[tuple[Input, Future[Any]]]) -> None:
        """One turn: decide, commit, publish, answer."""
        turn = self._decided([an_input for an_input, _ in group])
        try:
            done = await self._on_disk(self._writing.commit, turn.state, turn.records)
        except JournalError as error:
            await self._refused(group, turn.state, error)
            return
        except UnicodeEncodeError as error:
            if len(group) == 1:
                _log.error("an input holds half a character, which is no text: %s", error)
                group[0][1].set_exception(error)
            else:
                for one in group:  # by itself, so that only the one at fault is refused
                    await self._take([one])
            return
        self._publish(done.state, done.events)
        for (_, future), answer in zip(group, turn.answers, strict=True):
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(done.ids[answer])

    def _decided(self, inputs: Sequence[Input], *, in_memory: bool = False) -> _Turn:
        """What follows from ``inputs``, one after the other; ``in_memory``: though it cannot be written now."""
        state, records, answers = self.state, list[Record](), list[Exception | slice]()
        for an_input in inputs:
            try:
                after, new = self._decisions.decide(state, an_input)
                if in_memory:
                    prove(state, after, new)
            except Exception as error:  # this input's own fault: the others of the group go on
                if isinstance(an_input, Look):  # nobody waits for its answer
                    _log.exception("the core could not look at the clock")
                answers.append(error)
                continue
            state = after
            answers.append(slice(len(records), len(records) + len(new)))
            records.extend(new)
        state, moved = self._decisions.judge(state)
        records.extend(moved)
        looked = any(isinstance(an_input, Look) for an_input in inputs)
        return _Turn(self._decisions.alerts.look(self.state, state, records, looked=looked), records, answers)

    async def _refused(self, group: list[tuple[Input, Future[Any]]], wanted: State, error: JournalError) -> None:
        """The disk refuses. What has happened holds in memory, and is owed to the journal; all else is refused.

        Args:
            wanted: what the state would be; if that is Safe Mode, it holds, too.
        """
        facts = [as_fact(an_input) for an_input, _ in group]
        turn = self._decided([fact.holds for fact in facts if fact.holds is not None], in_memory=True)
        state, records = turn.state, turn.records
        if wanted.standing.level is DegradationLevel.SAFE_MODE is not state.standing.level:
            state, moved = self._decisions.follow(state, wanted.standing)
            records.extend(moved)
        await self._on_disk(self._writing.owe, records, error)
        is_safe = state.standing.level is DegradationLevel.SAFE_MODE
        loses = is_safe and not self._writing.has_written(state.standing)
        notice = of_refusal(str(error), loses_safe_mode=loses)
        self._publish(replace(state, notices=(*without(state.notices, JOURNAL), notice)), ())
        answers = iter(turn.answers)
        for (_, future), fact in zip(group, facts, strict=True):
            answer = next(answers) if fact.holds is not None else error
            if fact.taken and not isinstance(answer, Exception):
                future.set_result([])  # it has no ids yet
            else:
                future.set_exception(answer if fact.taken and isinstance(answer, Exception) else error)


class _Turn(NamedTuple):
    """What follows from a group of inputs: the state, the records, and of each input its error, or which records are its own."""

    state: State
    records: list[Record]
    answers: list[Exception | slice]


def _held(future: Future[Any]) -> Future[Any]:
    """``future``, which nobody can cancel any more; another one for who has cancelled already, and hears no answer."""
    return future if future.set_running_or_notify_cancel() else Future()
