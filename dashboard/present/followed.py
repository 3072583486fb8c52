"""What was done about an error: what is known to have followed it, and in a word what is being done about a trouble. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Final

from dashboard.present import events as event_words
from dashboard.present import healing
from dashboard.present.alerts import channel_name
from dashboard.present.now import CIRCUITS
from dashboard.present.words import mark
from resilience.alerting.alerts import Alert, AlertState, TellingState
from resilience.core.state import State
from resilience.healing.heals import Heal

WITHIN: Final = timedelta(minutes=10)
"""What came later than that is not put down to an error."""
_MOST: Final = 12
_PAGES: Final = {
    "circuit": "/circuits", "process": "/processes", "recovery": "/recovery", "alert": "/alerts#told", "config": "/settings",
}  # fmt: skip
_OTHERS: Final = frozenset({"error", "audit", "agent.connected", "agent.left"})


def followed(error: Mapping[str, Any], happened: Iterable[Mapping[str, Any]], state: State) -> list[dict[str, str]]:
    """What followed an error, in order, as lines with ``at`` (may be empty), ``tone``, ``shape``, ``text``, ``detail``, ``href``.

    Args:
        happened: the events from its time on, in order; those that are not about its component are left out.
    """
    lines = []
    if retries := (error.get("metadata") or {}).get("retry_count"):
        times = "once" if retries == 1 else f"{retries} times"
        lines.append(_line("info", f"The call was tried again {times}, and this is how the last try ended", "retry"))
    alert = _alert_of(error["fingerprint"], state)
    if alert is not None and alert.last_at.isoformat() >= error["at"][:19]:
        lines.append(_of_alert(alert))
    about = [one for one in happened if _is_about(one, error["component"], alert)]
    for one in about[:_MOST]:
        line = event_words.line(one)
        lines.append({**line, "at": one["at"], "href": line["href"] or _PAGES.get(one["type"].partition(".")[0], "")})
    return lines


def done_about(group: Mapping[str, Any], state: State) -> dict[str, str] | None:
    """What is being done about a trouble just now, or was done last: in a word, with its page. None: nothing is known."""
    component = group["component"]
    heal = max((one for one in state.heals.values() if _is_of(one, component, group)), key=lambda one: one.id, default=None)
    if heal is not None and (heal.is_open or heal.state == "escalated"):
        return _heal_word(heal)
    circuit = state.services.circuits.get(component)
    if circuit is not None and circuit.state != "CLOSED":
        tone, shape, word = CIRCUITS[circuit.state]
        return {"tone": tone, "shape": shape, "word": f"circuit {word}", "href": "/circuits"}
    if heal is not None:
        return _heal_word(heal)
    alert = _alert_of(group["fingerprint"], state)
    if alert is None:
        return None
    tone, word = {
        AlertState.OPEN: ("warn", "alert open"), AlertState.ACKNOWLEDGED: ("info", "acknowledged"),
        AlertState.RESOLVED: ("off", "alert resolved"),
    }[alert.state]  # fmt: skip
    return {"tone": tone, "shape": mark(tone)[1], "word": word, "href": f"/incidents/{alert.id}"}


def _heal_word(heal: Heal) -> dict[str, str]:
    shown = healing.heal(heal.view())
    return {"tone": shown["tone"], "shape": shown["shape"], "word": shown["word"], "href": f"/healing/{heal.id}"}


def _is_of(heal: Heal, component: str, group: Mapping[str, Any]) -> bool:
    return component in (heal.target, heal.diagnosis.component) and heal.at.isoformat()[:19] >= group["first_at"][:19]


def _alert_of(fingerprint: str, state: State) -> Alert | None:
    about = f"error:{fingerprint}"
    return max((one for one in state.alerts.values() if one.cause.about == about), key=lambda one: one.id, default=None)


def _of_alert(alert: Alert) -> dict[str, str]:
    arrived = dict.fromkeys(channel_name(one.channel) for one in alert.tellings if one.state is TellingState.DELIVERED)
    told = f"told by {', '.join(arrived)}" if arrived else alert.silent or "nobody has been told"
    seen = f"; somebody at the {alert.actor} sees to it" if alert.acknowledged else ""
    tone = "off" if not alert.is_open else "info" if alert.acknowledged else "warn"
    line = _line(tone, f"An alert: {alert.cause.title}", f"{told}{seen}", f"/incidents/{alert.id}")
    return {**line, "at": alert.at.isoformat()}


def _is_about(event: Mapping[str, Any], component: str, alert: Alert | None) -> bool:
    """Whether an event says that it is about the component of an error, or its alert."""
    kind = event["type"]
    if kind in _OTHERS:
        return False
    if kind == "alert.undelivered":
        return alert is not None and event.get("alert") == alert.id
    diagnosis = event.get("diagnosis")
    seen_at = diagnosis.get("component") if isinstance(diagnosis, Mapping) else None
    if component in (event["component"], seen_at):
        return True
    named = str(event.get({"level.changed": "cause", "command": "asked"}.get(kind, ""), ""))
    return bool(re.search(rf"(?<![\w.-]){re.escape(component)}(?![\w-])", named))


def _line(tone: str, text: str, detail: str, href: str = "") -> dict[str, str]:
    tone, shape = mark(tone)
    return {"at": "", "tone": tone, "shape": shape, "text": text, "detail": detail, "href": href}
