"""What has happened is told until it is taken; the disk has no say in whether it has happened."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from resilience.core.core import CoreBusyError
from resilience.events import EventType
from resilience.journal.journal import JournalError
from resilience.processes.telling import Telling
from resilience.testing import FakeClock


class Desk:
    """Stands in for the core: takes words in, and answers as the test says, or not yet."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.answers: list[Future[Any]] = []
        self.is_busy = False

    def announce(self, kind: EventType, name: str, **_: Any) -> Future[Any]:
        if self.is_busy:
            raise CoreBusyError("too much is waiting")
        self.heard.append(name)
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
