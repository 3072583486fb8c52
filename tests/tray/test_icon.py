"""The icon's own decisions, on pystray's dummy; that it is really drawn and clicked is seen on the Windows bench."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from resilience.core.state import State
from resilience.degradation.levels import DegradationLevel
from tests.tray.states import a_state
from tray import desktop
from tray.menu import Choose, OpenDashboard, Quit

if TYPE_CHECKING:
    from tray.icon import TrayIcon

SAFE = DegradationLevel.SAFE_MODE


class Asked:
    """What the icon asked of the app."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYSTRAY_BACKEND", "dummy")
        for name in [name for name in sys.modules if name.partition(".")[0] == "pystray" or name == "tray.icon"]:
            monkeypatch.delitem(sys.modules, name)
        from tray.icon import TrayIcon

        self.state: State = a_state()
        self.did: list[object] = []
        self.icon: TrayIcon = TrayIcon(
            state=lambda: self.state, choose=self.did.append, open_dashboard=self.did.append,
            on_session_end=lambda: self.did.append("session ends"),
        )  # fmt: skip
        monkeypatch.setattr(self.icon, "stop", lambda: self.did.append("quit"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


def test_safe_mode_is_chosen_at_once(asked: Asked) -> None:
    asked.icon._do(Choose(SAFE))
    assert asked.did == [SAFE]


@pytest.mark.parametrize("level", [None, DegradationLevel.FULL, DegradationLevel.MINIMAL])
def test_leaving_safe_mode_leads_to_the_page_that_asks(asked: Asked, level: DegradationLevel | None) -> None:
    asked.state = a_state(SAFE, pinned=True)
    asked.icon._do(Choose(level))
    assert asked.did == ["/safe-mode"]


def test_opening_and_quitting_are_passed_on(asked: Asked) -> None:
    asked.icon._do(OpenDashboard())
    asked.icon._do(Quit())
    assert asked.did == ["/", "quit"]


def test_a_click_never_works_on_the_message_loop(asked: Asked) -> None:
    menu = list(asked.icon._menu())
    menu[0](asked.icon._icon)
    assert asked.did == []
    job = asked.icon._jobs.get_nowait()
    assert job is not None
    job()
    assert asked.did == ["/"]


def test_many_changes_are_one_update(asked: Asked) -> None:
    for _ in range(1000):
        asked.icon.changed()
    assert asked.icon._jobs.qsize() == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere there always is a desktop")
def test_without_a_screen_the_reason_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert desktop.why_not() == "no desktop: DISPLAY is not set"
