"""What needs a person: each with its cause, what to do, and the buttons that do it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from dashboard.present.alerts import channel_name
from dashboard.present.words import SEVERITIES, mark
from resilience.alerting.alerts import Alert, AlertChannel, AlertState, TellingState
from resilience.context import ErrorSeverity
from resilience.core.notices import Notice
from resilience.core.state import State
from resilience.healing.heals import HealState
from resilience.processes.supervision import ProcessState

_SHOWN: Final = 5
_MORE: Final = 50
_QUIETLY: Final = frozenset({AlertChannel.LOG, AlertChannel.DASHBOARD})


class Button(NamedTuple):
    """Something to press: where it leads, or with ``fields`` what is sent there."""

    label: str
    hint: str
    path: str
    fields: Mapping[str, str] | None = None


def needs(state: State) -> dict[str, Any]:
    """What waits for the user, the worst first: five to see to, and some more to know of; ``left_out`` counts what is neither."""
    alerts = {one.cause.about: one for one in state.alerts.values() if one.is_open}
    rows = [_need(notice, alerts.get(notice.name), state) for notice in state.needs_you]
    rows.sort(key=lambda row: -row["weight"])
    return {"first": rows[:_SHOWN], "more": rows[_SHOWN:_MORE], "left_out": max(len(rows) - _MORE, 0), "count": len(rows)}


def _need(notice: Notice, alert: Alert | None, state: State) -> dict[str, Any]:
    severity = alert.cause.severity if alert is not None else ErrorSeverity.WARNING
    tone, shape = SEVERITIES[severity.name] if alert is not None else mark("warn")
    seen = alert is not None and alert.state is AlertState.ACKNOWLEDGED
    return {
        "key": notice.name, "what": notice.what, "cause": notice.cause, "action": notice.action, "page": notice.page,
        "tone": tone, "shape": shape, "severity": severity.name if alert is not None else "",
        "since": alert.at.isoformat() if alert is not None else "", "told": _told(alert) if alert is not None else None,
        "seen_by": alert.actor if alert is not None and seen else "", "weight": severity.value - (10 if seen else 0),
        "silent": alert.silent if alert is not None and alert.silent.startswith("snoozed") else "",
        "buttons": [*_of_notice(notice, state), *(_of_alert(alert) if alert is not None else ())],
    }  # fmt: skip


def _told(alert: Alert) -> dict[str, str] | None:
    """The last message of it that reached a person: by which channel, and when."""
    arrived = [
        (one.ended, one.channel) for one in alert.tellings
        if one.state is TellingState.DELIVERED and one.channel not in _QUIETLY and one.ended is not None
    ]  # fmt: skip
    if not arrived:
        return None
    at, channel = max(arrived)
    return {"channel": channel_name(channel), "at": at.isoformat()}


def _of_alert(alert: Alert) -> Iterator[Button]:
    if alert.state is not AlertState.OPEN:
        return
    path = f"/alerts/{alert.id}"
    if alert.silent.startswith("snoozed"):
        yield Button("Tell again", "People are told of what is new in it again", f"{path}/snooze", {"for_s": "0"})
    else:
        yield Button("Snooze", "Says nothing more of it for an hour", f"{path}/snooze", {"for_s": "3600"})
    yield Button("Acknowledge", "You see to it; nobody else is asked", f"{path}/ack", {})


def _of_notice(notice: Notice, state: State) -> Iterator[Button]:
    kind, _, name = notice.name.partition(":")
    match kind:
        case "heal" if name.isdigit() and int(name) in state.heals:
            heal = state.heals[int(name)]
            if heal.state is HealState.WAITING:
                yield Button("Reject", "It is not done", f"/healing/{heal.id}/reject", {})
                yield Button("Approve…", "First shows what it does and whom it touches", f"/healing/{heal.id}")
            else:
                yield Button("Dismiss", "You have seen to it; it may be tried and told again", f"/healing/{heal.id}/dismiss", {})
        case "process" if name in state.processes and state.processes[name].state is ProcessState.FAILED:
            yield Button("Start", "Starts it, and forgets earlier failures", f"/processes/{quote(name)}/start", {})
        case "isolated":
            hint = "Ends the isolation; a few calls then find out whether it answers"
            yield Button("Release", hint, "/circuits", {"service": name, "command": "release"})
        case "channel":
            yield Button("Test", "Sends a message by it that says it is a test", "/alerts/test", {"channel": name})
