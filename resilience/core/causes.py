"""What is worth an alert (§8): of the state, what is wrong and lasts; of the errors, those that press. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

import msgspec
from msgspec.structs import replace

from resilience.alerting.alerts import Cause
from resilience.alerting.routing import NETWORK
from resilience.config.settings import Settings
from resilience.context import ErrorSeverity
from resilience.core.deaths import is_death
from resilience.core.notices import JOURNAL, Notice, cause_of
from resilience.core.state import State
from resilience.degradation.levels import DegradationLevel
from resilience.errors import WinClawError
from resilience.events import EventType
from resilience.journal.schema import ErrorRecord, EventRecord, Record

_OF_LEVELS: Final = {
    DegradationLevel.DEGRADED_LLM: ErrorSeverity.ERROR, DegradationLevel.LIMITED_EXTERNAL: ErrorSeverity.ERROR,
    DegradationLevel.MINIMAL: ErrorSeverity.CRITICAL, DegradationLevel.SAFE_MODE: ErrorSeverity.FATAL,
}  # fmt: skip
_AGENT: Final = "agent:"
_OF_NETWORK: Final = frozenset({"transient.network", "transient.network.dns", "transient.network.timeout"})
"""The kinds of errors that are only there because there is no connection."""

def are_same(before: State, after: State) -> bool:
    """Whether nothing has changed from which ``lasting`` takes what it finds."""
    return (
        before.standing is after.standing and before.notices is after.notices and before.processes is after.processes
        and before.services is after.services and before.isolations is after.isolations and before.heals is after.heals
        and before.agents is after.agents and before.settings is after.settings and before.undelivered is after.undelivered
    )  # fmt: skip


def lasting(state: State) -> dict[str, Cause]:
    """What is wrong now and lasts until it is seen to be over, by what it is about."""
    # Of the journal that cannot be written, no message could wait in it: the channels tell of that by themselves.
    notices = (_of_notice(one, state.settings) for one in state.unsettled if one.name != JOURNAL)
    return {one.about: one for one in (*_of_level(state), *_of_agents(state), *notices)}


def down(state: State) -> frozenset[str]:
    """The components that are known to be down: what needs them cannot work either."""
    lasting = (one.cause.component for one in state.alerts.values() if one.is_open and one.lasts)
    circuits = (one.name for one in state.services.circuits.values() if one.state in ("OPEN", "ISOLATED"))
    return frozenset((*lasting, *circuits))


def happened(records: Iterable[Record], settings: Settings) -> Iterator[tuple[Cause, int]]:
    """Of what has happened, each cause that is worth an alert, and how many times it came."""
    for one in records:
        if isinstance(one, EventRecord) and one.type == EventType.APP_STARTED and (cause := _of_start(one)) is not None:
            yield cause, 1
    errors = [one for one in records if isinstance(one, ErrorRecord) and not is_death(one.component, one.key)]
    worth = {severity for severity in {one.severity for one in errors} if settings.alerting.is_worth(ErrorSeverity(severity))}
    errors = [one for one in errors if one.severity in worth]
    times = Counter(one.fingerprint for one in errors)
    for fingerprint, one in {one.fingerprint: one for one in errors}.items():
        what = "Error" if one.type == WinClawError.__name__ else one.type
        cause = Cause(
            about=f"error:{fingerprint}", title=f"{what} at {one.component}", message=one.message,
            severity=ErrorSeverity(one.severity), component=one.component, page=f"/errors?fingerprint={fingerprint}",
            needs=(*needed(one.component, settings), *((NETWORK,) if one.kind in _OF_NETWORK else ())),
        )  # fmt: skip
        yield cause, times[fingerprint]


def _of_level(state: State) -> Iterator[Cause]:
    """A level that rules have lowered; one that a person chose is no news to people."""
    standing = state.standing
    if standing.level in _OF_LEVELS and not standing.pinned:
        yield Cause(
            about="level", title=f"{standing.level.title}: level {standing.level.value} of 5", message=standing.cause,
            severity=_OF_LEVELS[standing.level], component="level", needs=(NETWORK,),
        )  # fmt: skip


def _of_agents(state: State) -> Iterator[Cause]:
    """Agents that are lost; one that was lost before WinClaw started stays so until it is heard."""
    heard = {one.name for one in state.agents.values() if not one.is_lost}
    for one in state.agents.values():
        if one.name not in heard:
            yield Cause(
                about=f"{_AGENT}{one.name}", title=f"{one.name} gives no sign of life", severity=ErrorSeverity.CRITICAL,
                message=f"Its last heartbeat came at {one.beat_at:%H:%M:%S} UTC.", component=one.name, page="/",
            )  # fmt: skip
    known = {*heard, *(one.name for one in state.agents.values())}
    for alert in state.alerts.values():
        if alert.is_open and alert.lasts and alert.cause.about.startswith(_AGENT) and alert.cause.component not in known:
            yield alert.cause


def _of_start(started: EventRecord) -> Cause | None:
    """That WinClaw was down, and it was nobody's will."""
    said = msgspec.json.decode(started.body)
    if not said.get("crashed"):
        return None
    back = datetime.fromisoformat(started.at)
    away_s = said.get("away_s")
    since = f"from {back - timedelta(seconds=away_s):%Y-%m-%d %H:%M:%S} " if away_s else ""
    because = said.get("because") or "it ended without a goodbye: a crash, a power cut, or somebody ended it"
    return Cause(
        about="winclaw:down", title="WinClaw was down", severity=ErrorSeverity.CRITICAL, component="winclaw",
        page=f"/errors/{said['error']}" if said.get("error") else "/",
        message=f"I was down {since}to {back:%Y-%m-%d %H:%M:%S} UTC, because {because[:1].lower()}{because[1:].rstrip('.')}.",
    )  # fmt: skip


def needed(component: str, settings: Settings) -> tuple[str, ...]:
    """What a service or a process cannot work without, the nearest first."""
    found: dict[str, None] = {}
    asked = [component]
    for name in asked:
        service, process = settings.services.get(name), settings.processes.get(name)
        nearest = [
            *(service.depends_on if service is not None else ()), *([service.process] if service and service.process else []),
            *(process.depends_on if process is not None else ()),
        ]  # fmt: skip
        asked += [one for one in nearest if one not in found and one != component]
        found.update(dict.fromkeys(nearest))
    found.pop(component, None)
    return tuple(found)


def _of_notice(notice: Notice, settings: Settings) -> Cause:
    cause = cause_of(notice, ErrorSeverity.CRITICAL)
    return replace(cause, needs=needed(cause.component, settings))
