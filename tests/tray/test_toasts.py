from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from resilience.events import Event
from tray.toasts import Toast, Toasts, toast_for


def event(kind: str, component: str = "gpt-5.2", **body: Any) -> Event:
    return Event(7, "2026-01-01T00:00:00.000000Z", kind, component, body)


@pytest.mark.parametrize(
    ("happened", "title"),
    [
        (event("level.changed", **{"from": "FULL", "to": "SAFE_MODE", "cause": "x"}), "Safe Mode: level 5 of 5"),
        (event("agent.lost", "researcher", pid=1), "researcher gives no sign of life"),
        (event("config.refused", problems=["x"]), "The configuration has errors"),
        (event("journal.set_aside", message="x"), "The journal was damaged"),
        (event("error", severity="CRITICAL", message="x"), "Critical: gpt-5.2"),
    ],
)
def test_what_matters_makes_a_toast(happened: Event, title: str) -> None:
    toast = toast_for(happened)
    assert toast is not None
    assert toast.title == title


@pytest.mark.parametrize(
    "happened",
    [
        event("level.changed", **{"from": "SAFE_MODE", "to": "FULL", "cause": "x"}),
        event("error", severity="ERROR", message="x"),
        event("agent.connected", pid=1),
        event("command", asked="FULL", actor="tray"),
    ],
)
def test_what_does_not_matter_makes_none(happened: Event) -> None:
    assert toast_for(happened) is None


def test_a_critical_error_leads_to_its_own_page() -> None:
    toast = toast_for(event("error", severity="FATAL", message="x"))
    assert toast is not None
    assert toast.path == "/errors/7"


class Screen:
    """Where balloons appear; one stays until it is let go."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, str]] = []
        self.may_go = threading.Semaphore(0)
        self.news = threading.Condition()
        self.broken = False

    def show(self, title: str, message: str) -> None:
        with self.news:
            self.shown.append((title, message))
            self.news.notify_all()
        if self.broken:
            raise OSError("no screen")
        assert self.may_go.acquire(timeout=10)

    def wait_for(self, enough: Callable[[], bool]) -> None:
        with self.news:
            assert self.news.wait_for(enough, 10), self.shown


@pytest.fixture
def screen() -> Screen:
    return Screen()


@pytest.fixture
def toasts(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> Iterator[Toasts]:
    monkeypatch.setattr(sys, "platform", "linux")  # the balloon, on every system
    one = Toasts(lambda _: None, screen.show)
    one.start()
    yield one
    screen.may_go.release(100)
    one.stop()


def test_a_flood_is_a_few_toasts_and_a_count(toasts: Toasts, screen: Screen) -> None:
    for number in range(50):
        toasts.show(Toast(f"toast {number}", "x"))
        if number == 0:
            screen.wait_for(lambda: len(screen.shown) == 1)
    screen.may_go.release(100)
    screen.wait_for(lambda: len(screen.shown) == 5)
    assert [title for title, _ in screen.shown] == ["toast 0", "toast 1", "toast 2", "toast 3", "46 more"]


def test_a_broken_screen_takes_nobody_down(toasts: Toasts, screen: Screen) -> None:
    screen.broken = True
    toasts.show(Toast("one", "x"))
    screen.wait_for(lambda: len(screen.shown) == 1)
    toasts.show(Toast("two", "x"))
    screen.wait_for(lambda: len(screen.shown) == 2)


@pytest.mark.parametrize("text", ["x" * 10_000, "\U0001f980" * 500, "\x1b[31m\r\nBcc: all", "\u202etxt.exe", "", "\x00"])
def test_no_text_is_too_hostile_for_the_shell(toasts: Toasts, screen: Screen, text: str) -> None:
    toasts.show(Toast(text, text))
    screen.wait_for(lambda: len(screen.shown) == 1)
    title, message = screen.shown[0]
    assert title.isprintable()
    assert 0 < len(title.encode("utf-16-le")) // 2 <= 63
    assert 0 < len(message.encode("utf-16-le")) // 2 <= 255
