"""What of the state the journal keeps, and the state that a WinClaw begins with because an earlier one has kept it."""

from __future__ import annotations

import dataclasses
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from resilience.alerting.alerts import NO_ALERTS, Alert, Alerts
from resilience.clock import Clock, as_text
from resilience.config.settings import Settings
from resilience.config.version import InForce, begun_again
from resilience.core import goodbye
from resilience.core.lives import CRASHES, WITHIN, Lives, begun, ended, is_crash_loop
from resilience.core.notices import Notice, of_damage
from resilience.core.services import ServiceCircuit, Services, commanded
from resilience.core.state import State, with_settings
from resilience.damage import is_damage
from resilience.degradation.health import Count
from resilience.degradation.levels import DegradationLevel, Latch, Standing, at_first, held
from resilience.healing.heals import Heal
from resilience.isolation.isolated import Isolated
from resilience.journal.health import Health
from resilience.journal.history import History
from resilience.journal.journal import Journal
from resilience.journal.replacing import SET_ASIDE
from resilience.recovery.plans import Recovery

T = TypeVar("T")
_log = logging.getLogger("winclaw.core")


def _unwell(circuits: Mapping[str, ServiceCircuit]) -> Any:
    return msgspec.to_builtins([one for one in circuits.values() if one.state != "CLOSED"])


def _values(parts: Mapping[Any, Any]) -> Any:
    return msgspec.to_builtins(list(parts.values()))


# Each part by the name under which it is kept: where it stands in the state, and how it is written.
_PARTS: Final[dict[str, tuple[Callable[[State], Any], Callable[[Any], Any]]]] = {
    "standing": (attrgetter("standing"), msgspec.to_builtins), "circuits": (attrgetter("services.circuits"), _unwell),
    "isolations": (attrgetter("isolations"), _values), "heals": (attrgetter("heals"), _values),
    "recoveries": (attrgetter("recoveries"), _values),
    "snoozed": (attrgetter("snoozed_until"), msgspec.to_builtins), "undelivered": (attrgetter("undelivered"), dict),
    "health": (attrgetter("health"), msgspec.to_builtins), "config": (attrgetter("config"), msgspec.to_builtins),
}  # fmt: skip


_ALERT: Final = "alert:"
"""How the names begin under which alerts are kept, each by itself: in a flood of errors, one of many changes all the time."""


def changed(before: State, after: State) -> dict[str, Any]:
    """Those parts that are others than before, as the journal keeps them; None: it is no longer kept."""
    parts = {name: write(part(after)) for name, (part, write) in _PARTS.items() if part(after) is not part(before)}
    return {**parts, **_alerts(before.alerts, after.alerts)}


def everything(state: State, lives: Lives, journal: Journal | None = None) -> dict[str, Any]:
    """All that is kept.

    Args:
        journal: where it is to be; what stands there of alerts that are no more is kept no longer.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    parts = {name: write(part(state)) for name, (part, write) in _PARTS.items()}
    alerts = _alerts(NO_ALERTS, state.alerts)
    gone = dict.fromkeys(journal.names(_ALERT) if journal is not None else ())
    return {SET_ASIDE: None, "lives": msgspec.to_builtins(lives), **parts, **gone, **alerts}


def _alerts(before: Alerts, after: Alerts) -> dict[str, Any]:
    if after is before:
        return {}
    gone = {f"{_ALERT}{number}": None for number in before if number not in after}
    return {**gone, **{f"{_ALERT}{one.id}": msgspec.to_builtins(one) for one in after.values() if one is not before.get(one.id)}}


class Start(NamedTuple):
    """What a WinClaw begins with; ``crashed_before``: the one before it ended without a goodbye."""

    state: State
    lives: Lives
    crashed_before: bool


def at_start(journal: Journal, history: History, clock: Clock, *, settings: Settings, notices: Sequence[Notice]) -> Start:
    """What to begin with: what the journal has kept, under these settings, with the errors of the window counted.

    A journal that is damaged is set aside here, if that shows only now: a large one is not checked when it is opened.

    Raises:
        JournalError: it cannot be set aside. sqlite3.Error: it cannot be read for another reason.
    """
    try:
        return _begun(journal, history, clock, settings, notices)
    except (sqlite3.DatabaseError, msgspec.ValidationError) as error:
        if isinstance(error, sqlite3.DatabaseError) and not is_damage(error):
            raise
        _log.error("the journal cannot be read, and is set aside: %s", error)
    history.close()  # on Windows a file that is open cannot be renamed
    journal.start_anew(clock.now())
    return _begun(journal, history, clock, settings, notices)


def _begun(journal: Journal, history: History, clock: Clock, settings: Settings, notices: Sequence[Notice]) -> Start:
    before = _kept(journal, "lives", Lives) or Lives()
    if goodbye.left_beside(journal.path) is not None:
        before = ended(before)
    lives = begun(before, clock.now())
    isolations = _kept(journal, "isolations", list[Isolated]) or []
    heals = _kept(journal, "heals", list[Heal]) or []
    health = _kept(journal, "health", Health) or Health()
    for name in reversed(journal.aside_before):  # which were set aside before a state could be kept that knows of them
        health = health.set_aside(name)
    if journal.set_aside is not None:
        health = health.set_aside(journal.set_aside.name)
    if health.to_repair:  # by an earlier WinClaw, which was killed before it had brought all back, or by this one
        notices = [*notices, of_damage(journal.path.name, health.to_repair[0])]
    alerts, config = _alerts_kept(journal), _kept(journal, "config", InForce)
    state = State(
        standing=_standing(journal, lives, clock),
        services=_services(journal, isolations, clock),
        isolations=MappingProxyType({one.component: one for one in isolations}),
        heals=MappingProxyType({one.id: one for one in heals}),
        recoveries=MappingProxyType({one.id: one for one in _kept(journal, "recoveries", list[Recovery]) or ()}),
        alerts=MappingProxyType({one.id: one for one in alerts}),
        snoozed_until=_kept(journal, "snoozed", datetime),
        undelivered=MappingProxyType(_kept(journal, "undelivered", dict[str, str]) or {}),
        health=health,
        notices=tuple(notices),
        config=begun_again(config, clock.now(), clock.monotonic()) if config is not None else None,
        # It begins at the time of day, so that an agent does not take a restart for what it knows already.
        version=int(clock.now().timestamp() * 1000),
    )  # fmt: skip
    return Start(_recounted(with_settings(state, settings), history, clock), lives, before.running)


def _kept(journal: Journal, name: str, kind: type[T]) -> T | None:
    """A part as the journal kept it; of one that was damaged, what could be saved of it. None: there is none."""
    stored = journal.state(name)
    if stored is not None:
        return msgspec.convert(stored, kind)
    saved = (journal.salvaged or {}).get(name)
    try:
        return None if saved is None else msgspec.convert(saved, kind)
    except msgspec.ValidationError:
        return None


def _alerts_kept(journal: Journal) -> list[Alert]:
    """The alerts in the order in which they came; their windows were of another life, with another monotonic clock."""
    names = {*journal.states(_ALERT), *(name for name in journal.salvaged or () if name.startswith(_ALERT))}
    kept = [one for name in names if (one := _kept(journal, name, Alert)) is not None]
    return [
        replace(
            one, seen_s=None, window_s=None, due_s=None, escalated_s=None,
            told_by=one.told_by or tuple(dict.fromkeys(telling.channel for telling in one.tellings)),
        )
        for one in sorted(kept, key=attrgetter("id"))
    ]  # fmt: skip


def _services(journal: Journal, isolations: Sequence[Isolated], clock: Clock) -> Services:
    """The services with their circuits; where a damaged journal does not tell of those, what is isolated is so all the same."""
    kept = _kept(journal, "circuits", list[ServiceCircuit])
    services = Services(MappingProxyType({one.name: one for one in kept or ()}))
    for one in isolations if kept is None else ():
        for name in one.services:
            services = commanded(services, name, "isolate", one.actor, clock.now(), reason=one.reason) or services
    return services


def _standing(journal: Journal, lives: Lives, clock: Clock) -> Standing:
    """The standing that the journal knows; Safe Mode where a damaged one does not tell, or WinClaw keeps crashing."""
    now = clock.now()
    known = _kept(journal, "standing", Standing)
    if known is None and journal.set_aside is not None:
        cause = "The journal was damaged, and with it the record of whether Safe Mode was on."
        return held(at_first(now), Latch("journal_damage", DegradationLevel.SAFE_MODE, cause, now), now)
    standing = known or at_first(now)
    quiet = dataclasses.replace(standing.wanted, quiet_since_s=None, rises_at=None)  # another life, another monotonic clock
    standing = dataclasses.replace(standing, wanted=quiet)
    if is_crash_loop(lives, standing.wanted.counts_since):
        cause = f"WinClaw crashed {CRASHES} times in {WITHIN.seconds // 60} minutes."
        standing = held(standing, Latch("crash_loop", DegradationLevel.SAFE_MODE, cause, now), now)
    return standing


def _recounted(state: State, history: History, clock: Clock) -> State:
    """The state with the errors counted that the window holds already, so that a restart forgets none."""
    now, window = clock.now(), timedelta(seconds=state.tally.window_s)
    since = max(now - window, state.standing.wanted.counts_since or now - window)
    counts = history.counts_since(as_text(since), state.counted)
    new = [(name, Count(errors=number)) for name, number in counts.items()]
    return replace(state, tally=state.tally.with_counts(new, clock.monotonic()))
