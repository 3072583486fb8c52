"""What is worth an alert (§8): of the state, what is wrong and lasts; of the errors, those that press. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from resilience.alerting.alerts import Cause
from resilience.context import ErrorSeverity
from resilience.core.notices import Notice
from resilience.core.state import State
from resilience.degradation.levels import DegradationLevel
from resilience.journal.schema import ErrorRecord, Record

_OF_LEVELS: Final = {
    DegradationLevel.DEGRADED_LLM: ErrorSeverity.ERROR, DegradationLevel.LIMITED_EXTERNAL: ErrorSeverity.ERROR,
    DegradationLevel.MINIMAL: ErrorSeverity.CRITICAL, DegradationLevel.SAFE_MODE: ErrorSeverity.FATAL,
}  # fmt: skip
_AGENT: Final = "agent:"
_OF_NOTICES: Final = {"journal": ErrorSeverity.FATAL, "journal_set_aside": ErrorSeverity.CRITICAL, "config": ErrorSeverity.ERROR}
"""How bad what waits for the user is, by the beginning of its name; everything else is CRITICAL, for WinClaw cannot help it."""


def are_same(before: State, after: State) -> bool:
    """Whether nothing has changed from which ``lasting`` takes what it finds."""
    return (
        before.standing is after.standing and before.notices is after.notices and before.processes is after.processes
        and before.services is after.services and before.isolations is after.isolations and before.heals is after.heals
        and before.agents is after.agents and before.settings is after.settings
    )  # fmt: skip


def lasting(state: State) -> dict[str, Cause]:
    """What is wrong now and lasts until it is seen to be over, by what it is about."""
    return {one.about: one for one in (*_of_level(state), *_of_agents(state), *map(_of_notice, state.needs_you))}


def happened(records: Iterable[Record]) -> Iterator[tuple[Cause, int]]:
    """Of what has happened, each cause that is worth an alert, and how many times it came."""
    errors = [one for one in records if isinstance(one, ErrorRecord) and one.severity >= ErrorSeverity.ERROR.value]
    times = Counter(one.fingerprint for one in errors)
    for fingerprint, one in {one.fingerprint: one for one in errors}.items():
        cause = Cause(
            about=f"error:{fingerprint}", title=f"{one.type} at {one.component}", message=one.message,
            severity=ErrorSeverity(one.severity), component=one.component, page=f"/errors?fingerprint={fingerprint}",
        )  # fmt: skip
        yield cause, times[fingerprint]


def _of_level(state: State) -> Iterator[Cause]:
    """A level that rules have lowered; one that a person chose is no news to people."""
    standing = state.standing
    if standing.level in _OF_LEVELS and not standing.pinned:
        yield Cause(
            about="level", title=f"{standing.level.title}: level {standing.level.value} of 5", message=standing.cause,
            severity=_OF_LEVELS[standing.level], component="level",
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


def _of_notice(notice: Notice) -> Cause:
    kind, _, component = notice.name.partition(":")
    return Cause(
        about=notice.name, title=notice.what.rstrip("."), message=f"{notice.cause} {notice.action}", component=component or kind,
        severity=_OF_NOTICES.get(kind, ErrorSeverity.CRITICAL), page=notice.page or "/",
    )  # fmt: skip
