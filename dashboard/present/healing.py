"""What healing did, in words: for the page and for the feed. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from statistics import median
from typing import Any, Final

_STATES: Final = {
    "waiting": ("warn", "diamond", "waits for you"), "approved": ("info", "ring", "approved"),
    "running": ("info", "ring", "under way"), "verifying": ("info", "ring", "being verified"), "healed": ("ok", "dot", "healed"),
    "failed": ("bad", "sq", "did not help"), "rejected": ("off", "dash", "rejected"), "expired": ("off", "dash", "expired"),
    "interrupted": ("warn", "tri", "interrupted"), "escalated": ("bad", "sq", "needs you"),
    "dismissed": ("off", "dash", "dismissed"),
}  # fmt: skip
ACTIONS: Final = {
    "restart_service": "start {} again", "clear_cache": "clear the caches of {}", "reload_config": "load the configuration again",
    "reset_connections": "reset the connections to {}", "garbage_collect": "free memory",
    "scale_resources": "let fewer calls to {} run at once", "rollback_version": "roll {} back",
    "escalate_to_human": "ask a person about {}",
}  # fmt: skip
"""What each action does, as an order; the target fits in."""
_DECISIONS: Final = {
    "waiting": (("reject", "Reject", "It is not done"),),
    "escalated": (("dismiss", "Dismiss", "You have seen to it; it may be tried and told again"),),
}


def heal(view: Mapping[str, Any]) -> dict[str, Any]:
    """One heal: what was to be done, where it stands in a word, and what can be decided."""
    state = view["state"]
    tone, shape, word = _STATES[state]
    seconds = f"{view['seconds']:.1f} s" if view["seconds"] is not None else ""
    return {
        **view, "tone": tone, "shape": shape, "word": word, "what": words(view["action"], view["target"]),
        "took": seconds if state in ("healed", "failed") else "", "decisions": _DECISIONS.get(state, ()),
        "impact": impact(view["diagnosis"]["impact"]), "verified": _verified(view),
    }  # fmt: skip


def _verified(view: Mapping[str, Any]) -> str:
    """Whether it was verified, in a word; empty: that is not known yet, or it was not done."""
    return {"healed": "verified", "failed": "not verified", "verifying": "being verified"}.get(view["state"], "")


def words(action: str, target: str) -> str:
    """What an action does: ``Start gateway again``."""
    said = ACTIONS.get(action, f"{action} {{}}").format(target)
    return said[:1].upper() + said[1:]


def impact(view: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Whom the trouble touches, by sort; what it does not touch is left out."""
    rows = [(name.capitalize(), ", ".join(view[name])) for name in ("services", "features", "agents", "loops") if view[name]]
    return [*rows, ("Messages", f"{view['waiting']} wait")] if view["waiting"] else rows


def waiting(views: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The heals that wait for a person's approval, those first that expire first."""
    return sorted((one for one in views if one["state"] == "waiting"), key=lambda one: (one["until"] or "9", one["id"]))


def numbers(views: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Healing at a glance: what, how much of it, and what that means."""
    states = Counter(one["state"] for one in views)
    done = states["healed"] + states["failed"]
    rate = f"{100 * states['healed'] / done:.0f} %" if done else "none yet"
    took = [one["seconds"] for one in views if one["state"] == "healed" and one["seconds"] is not None]
    under_way = states["approved"] + states["running"] + states["verifying"]
    return [
        ("Waits for you", str(states["waiting"]), "Actions that are not done before you approve them"),
        ("Under way", str(under_way), "Being done, or being verified"),
        ("Have helped", f"{states['healed']} of {done}" if done else "none yet", "Of the actions that were done, verified ones"),
        ("Success rate", rate, "What its probe does not confirm has failed"),
        ("Half took at most", f"{median(took):.1f} s" if took else "none yet", "From trigger to verification, if it helped"),
        ("Need you", str(states["escalated"]), "Nothing that may be tried has helped"),
    ]  # fmt: skip


def success_rate(views: list[dict[str, Any]]) -> str:
    """How many of the actions that were done have helped; empty where none was."""
    done = [one for one in views if one["state"] in ("healed", "failed")]
    healed = sum(one["state"] == "healed" for one in done)
    return f"{healed} of {len(done)} actions have helped" if done else ""


def said(event: Mapping[str, Any], component: str) -> tuple[str, str, str]:
    """An event of healing: tone, text, detail."""
    what, outcome = words(event["action"], component), event["outcome"]
    match event["type"].partition(".")[2]:
        case "waiting":
            return "warn", f"{what}? That waits for your approval", event["trigger"]
        case "started":
            return "info", f"Healing {component}: {what[:1].lower()}{what[1:]}", event["trigger"]
        case "escalated":
            return "bad", f"{component} could not be healed, and needs you", f"{event['trigger']} {event['verification']}"
    text = {"healed": f"{component} is healed", "failed": f"{what}: that did not help"}.get(outcome, f"{what}: {outcome}")
    detail = " · ".join(part for part in (event["result"], event["verification"]) if part) or "healing"
    return _STATES[outcome][0], text, detail
