"""What has happened is told until it is taken; the disk has no say in whether it has happened."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import pytest
from msgspec.structs import replace

from resilience.core.core import CoreBusyError
from resilience.core.inputs import ProcessTold
from resilience.events import EventType, Report
from resilience.journal.journal import JournalError
from resilience.processes.supervision import Ended, NotStarted, ProcessState, Supervised, after
from resilience.processes.telling import Telling
from resilience.testing import FakeClock
from tests.resilience.processes.supervised import POLICY, S, begun, restarted, running, standing


class Desk:
    """Stands in for the core: takes words in, and answers as the test says, or not yet."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.reported: list[Report] = []
        self.answers: list[Future[Any]] = []
        self.is_busy = False

    def announce(self, kind: EventType, name: str, **_: Any) -> Future[Any]:
        if self.is_busy:
            raise CoreBusyError("too much is waiting")
        self.heard.append(name)
        self.answers.append(Future())
        return self.answers[-1]

    def tell(self, told: ProcessTold) -> Future[Any]:
        self.heard.append(f"{told.name} stands")
        self.answers.append(Future())
        return self.answers[-1]

    def report(self, reports: Sequence[Report]) -> Future[Any]:
        self.heard += [f"{one.component} crashed" for one in reports]
        self.reported += reports
        self.answers.append(Future())
        return self.answers[-1]

    def take(self, *numbers: int) -> None:
        for number in numbers:
            self.answers[number].set_result([1])

    def refuse(self, *numbers: int) -> None:
        for number in numbers:
            self.answers[number].set_exception(JournalError("the disk is full"))


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def telling(desk: Desk) -> Telling:
    return Telling(desk, FakeClock())  # type: ignore[arg-type]


def say(telling: Telling, *names: str) -> None:
    for name in names:
        telling.announce(EventType.PROCESS_STARTED, name)
    telling.flush()


def test_what_was_taken_is_told_once(desk: Desk, telling: Telling) -> None:
    say(telling, "a", "b")
    desk.take(0, 1)
    telling.flush()
    telling.flush()
    assert desk.heard == ["a", "b"]


def test_what_the_disk_refused_is_told_again_in_its_order(desk: Desk, telling: Telling) -> None:
    say(telling, "a", "b", "c")
    desk.refuse(0, 1, 2)
    say(telling, "d")  # the disk gets a moment
    assert desk.heard == ["a", "b", "c"]
    telling.flush()
    assert desk.heard[3:] == ["a", "b", "c", "d"]
    desk.take(3, 4, 5, 6)
    telling.flush()
    telling.flush()
    assert len(desk.heard) == 7


def test_what_was_taken_behind_a_refusal_is_not_told_twice(desk: Desk, telling: Telling) -> None:
    say(telling, "a", "b")
    desk.refuse(0)
    desk.take(1)
    telling.flush()
    telling.flush()
    assert desk.heard == ["a", "b", "a"]


def test_what_is_under_way_behind_a_refusal_is_waited_for_and_not_told_twice(desk: Desk, telling: Telling) -> None:
    """It may be taken yet; when all is answered, what was refused is told again, in its order."""
    say(telling, "a", "b", "c")
    desk.refuse(0)
    say(telling, "d")
    say(telling)
    assert desk.heard == ["a", "b", "c"]
    desk.take(1)
    desk.refuse(2)
    telling.flush()
    telling.flush()
    assert desk.heard[3:] == ["a", "c", "d"]


def test_a_busy_core_hears_it_later(desk: Desk, telling: Telling) -> None:
    desk.is_busy = True
    say(telling, "a", "b")
    desk.is_busy = False
    telling.flush()
    assert desk.heard == ["a", "b"]


def test_a_defect_ends_with_its_word(desk: Desk, telling: Telling) -> None:
    """What the core cannot take at all, it will not take the next time either."""
    say(telling, "a", "b")
    desk.answers[0].set_exception(ValueError("?"))
    desk.take(1)
    telling.flush()
    telling.flush()
    assert desk.heard == ["a", "b"]


def ends(telling: Telling, one: Supervised, what: Ended | NotStarted, now_s: float) -> Supervised:
    """What is told of an end, and what the process is then."""
    after_it, _ = after(one, what, now_s)
    telling.became("agent", one, after_it, what)
    telling.flush()
    return after_it


def test_each_crash_is_an_error_however_long_it_had_run(desk: Desk, telling: Telling) -> None:
    one, now_s = running(), 0.0
    for code in (1, 1, -11):
        now_s += 3600
        one = restarted(ends(telling, one, Ended(one.run, code), now_s), now_s)
    said = [(one.type, one.message, one.severity) for one in desk.reported]
    assert said == [
        ("ProcessError", "agent ended with exit status 1", "ERROR"), ("ProcessError", "agent ended with exit status 1", "ERROR"),
        ("ProcessError", "agent was killed by SIGSEGV", "ERROR"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "what", "state", "messages"),
    [
        (running(restart="never"), Ended(1, 3), S.EXITED, ["agent ended with exit status 3"]),
        (running(restart="never"), Ended(1, 0), S.EXITED, []), (running(), Ended(1, 0), S.WAITING, []),
        (begun(restart="never"), NotStarted("there is no program 'x'"), S.EXITED, ["there is no program 'x'"]),
        (standing(S.STOPPING, then="failure", why="it was silent"), Ended(1, 0), S.WAITING, ["agent was silent"]),
        (standing(S.STOPPING, then="again"), Ended(1, 1), S.WAITING, []),
        (running(max_restarts=0), Ended(1, 0), S.FAILED, ["agent ended with exit status 0"]),
    ],
)  # fmt: skip
def test_an_end_is_an_error_where_it_was_a_failure_and_where_it_is_given_up(
    desk: Desk, telling: Telling, before: Supervised, what: Ended | NotStarted, state: ProcessState, messages: list[str]
) -> None:
    assert ends(telling, before, what, 5).state is state
    assert [one.message for one in desk.reported] == messages
    assert {one.severity for one in desk.reported} <= {"CRITICAL" if state is S.FAILED else "ERROR"}


def test_the_end_of_an_earlier_run_is_no_news(desk: Desk, telling: Telling) -> None:
    one = restarted(replace(begun(), run=1, policy=POLICY), 0)
    assert ends(telling, one, Ended(1, 1), 5) == one
    assert (desk.heard, desk.reported) == ([], [])


def test_a_crash_is_told_behind_where_its_process_stands_and_has_one_key_however_often_it_is_told(desk: Desk, telling: Telling) -> None:
    """Who hears of the error, to heal it, must see that its supervisor has answered it; a repeat is stored once."""
    one, end = running(), Ended(1, 1)
    crashed, _ = after(one, end, 5)
    telling.became("agent", one, crashed, end)
    telling.stands("agent", crashed, blocked="", use=None)
    telling.flush()
    assert desk.heard == ["agent", "agent stands", "agent crashed"]
    desk.refuse(0, 1, 2)
    telling.flush()
    telling.flush()
    assert desk.heard[3:] == ["agent", "agent stands", "agent crashed"]
    first, again = desk.reported
    assert first.key
    assert first == again
    ends(telling, replace(one, run=2), Ended(2, 1), 9)
    assert desk.reported[-1].key not in (None, first.key)
