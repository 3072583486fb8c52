"""The tray's menu and tooltip as data, told by the state; the icon's adapter shows them and does what is chosen."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from dashboard.present.words import messages
from resilience.core.state import State
from resilience.degradation.levels import DegradationLevel
from tray.text import TIP_UNITS, fitted


class OpenDashboard(Struct, frozen=True):
    """Opens the dashboard at a page."""

    path: str = "/"


class Choose(Struct, frozen=True):
    """Pins a level, or hands the choice back to the rules (None); leaving Safe Mode so asks for a confirmation."""

    level: DegradationLevel | None


class Quit(Struct, frozen=True):
    """Ends WinClaw."""


Action = OpenDashboard | Choose | Quit


class Item(Struct, frozen=True, kw_only=True):
    """An entry of the menu; one without ``action`` and ``items`` only informs.

    ``checked`` is None where there is nothing to check; ``default`` is what a click on the icon itself does.
    """

    text: str
    action: Action | None = None
    items: tuple[Item, ...] = ()
    checked: bool | None = None
    radio: bool = False
    default: bool = False

    @property
    def enabled(self) -> bool:
        """Whether it can be chosen."""
        return self.action is not None or bool(self.items)


SEPARATOR: Final = Item(text="-")

_PINNABLE: Final = tuple(level for level in DegradationLevel if level is not DegradationLevel.SAFE_MODE)


def menu_items(state: State) -> tuple[Item, ...]:
    """The whole menu, top to bottom."""
    safe = state.standing.level is DegradationLevel.SAFE_MODE
    return (
        Item(text="Open dashboard", action=OpenDashboard(), default=True),
        Item(text=status_line(state)),
        SEPARATOR,
        Item(text="Mode", items=_modes(state)),
        Item(text="Safe Mode", action=Choose(None if safe else DegradationLevel.SAFE_MODE), checked=safe),
        SEPARATOR,
        Item(text="Quit", action=Quit()),
    )


def status_line(state: State) -> str:
    """The level in a few words, what the rules want if it is pinned, and how much waits: messages, and for the user."""
    level = state.standing.level
    waiting = f" · needs you: {len(state.needs_you)}" if state.needs_you else ""
    queued = f" · {messages(count)}" if (count := sum(state.waiting.values())) else ""
    wanted = state.standing.wanted.level
    rules = f" (rules: {wanted.title})" if state.standing.pinned and wanted is not level else ""
    return f"Level {level.value} of 5: {level.title}{rules}{queued}{waiting}"


def tooltip(state: State) -> str:
    """The level and why, as much as a tooltip holds."""
    return fitted(f"WinClaw: {state.standing.level.title}. {state.standing.cause}", TIP_UNITS)


def _modes(state: State) -> tuple[Item, ...]:
    pinned = state.standing.level if state.standing.pinned else None
    auto = Item(text="Auto", action=Choose(None), checked=not state.standing.pinned, radio=True)
    levels = (Item(text=one.title, action=Choose(one), checked=one is pinned, radio=True) for one in _PINNABLE)
    return auto, *levels
