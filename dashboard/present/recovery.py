"""Recovery in words: how one went, what could be recovered, checkpoints, and what is left undone. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from dashboard.present.words import SHAPES
from resilience.core.state import State
from resilience.recovery.checkpoint import CheckpointHead

_STATES: Final = {
    "running": ("info", "under way"), "recovered": ("ok", "recovered"), "failed": ("bad", "did not work"),
    "interrupted": ("warn", "interrupted"),
}  # fmt: skip
_STEPS: Final = {
    "planned": ("off", "to come"), "running": ("info", "under way"), "done": ("ok", "done"), "failed": ("bad", "failed"),
    "skipped": ("off", "left out"),
}  # fmt: skip
_TRANSACTIONS: Final = {
    "running": ("info", "under way"), "abandoned": ("warn", "its process died; the agent's next start undoes it"),
    "left": ("bad", "left undone: a person has to see to it"),
}  # fmt: skip
_SHOWN: Final = 200
_READ: Final = 2_000
"""Characters of what an agent has told that are shown, and of which secrets are taken out before."""
LEVELS: Final = {
    "operation": "back to before the last critical operation of a component", "session": "a session as it was saved last",
    "component": "start it again, connect anew, restore what it knew", "system": "everything that is unwell, in order",
    "disaster": "everything, from an export",
}  # fmt: skip
"""What each level brings back (§9.1)."""


def recovery(view: Mapping[str, Any]) -> dict[str, Any]:
    """One recovery with its steps: where each stands, in a word."""
    tone, word = _STATES[view["state"]]
    steps = [{**step, **_marked(*_STEPS[step["state"]])} for step in view["steps"]]
    what = view["target"] or "the system"
    return {
        **view, **_marked(tone, word), "steps": steps, "what": f"Recover {what}",
        "progress": f"{view['done']} of {len(steps)} steps",
    }  # fmt: skip


def targets(state: State, saved: Iterable[CheckpointHead]) -> list[str]:
    """The names of what might be recovered: what has checkpoints, what runs here, and what agents use or can restore."""
    used = {name for (_, _, name) in state.services.seen}
    return sorted({*(one.component for one in saved), *state.settings.processes, *used, *state.services.probes})


def checkpoint(view: Mapping[str, Any], clean: Callable[[str], str]) -> dict[str, Any]:
    """One checkpoint: how large it is, and why it was made; ``clean`` takes secrets out of what an agent has said of that."""
    size = view["size_bytes"]
    said = f"{size} B" if size < 1000 else f"{size / 1000:.0f} kB" if size < 1_000_000 else f"{size / 1e6:.1f} MB"
    operation = view["metadata"].get("operation")
    made = view["metadata"].get("made")
    why = f"before {_short(operation, clean)}" if operation else _short(made, clean) if made else "asked for"
    at_level = view["level"] if view["level"] in ("operation", "session") else "component"
    return {**view, "size": said, "why": why, "recover_level": at_level}


def _short(told: Any, clean: Callable[[str], str]) -> str:
    text = clean(str(told)[:_READ])
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def transaction(view: Mapping[str, Any]) -> dict[str, Any]:
    """One transaction that is not over: where it stands, and each step that is left."""
    tone, word = _TRANSACTIONS[view["state"]]
    return {**view, **_marked(tone, word)}


def journal(view: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """How it stands with the journal: tone, what, a word, and since when (empty: no time is known)."""
    rows = []
    if (checked := view["checked"]) is None:
        rows.append(("off", "Checked", "not yet", ""))
    else:
        rows.append(("bad" if checked["finding"] else "ok", "Checked", checked["finding"] or "whole", checked["at"]))
    if (failed := view["backup_failed"]) is not None:
        rows.append(("warn", "Backup", f"could not be made: {failed['why']}", failed["at"]))
    if (backup := view["backup"]) is not None:
        rows.append(("ok", "Backup", f"{backup['file']}, {backup['bytes'] / 1e6:.1f} MB", backup["at"]))
    elif failed is None:
        rows.append(("off", "Backup", "none yet", ""))
    rows += [("info", "To repair", name, "") for name in view["to_repair"]]
    if (repaired := view["repaired"]) is not None:
        tone = "ok" if repaired["lost"] == 0 else "warn"
        counts = f"{repaired['errors']} errors and {repaired['events']} events were brought back from {repaired['file']}"
        rows.append((tone, "Repaired", counts, repaired["at"]))
    return rows


def said(event: Mapping[str, Any], component: str) -> tuple[str, str, str]:
    """An event of recovery: tone, text, detail."""
    outcome = event.get("outcome", "")
    detail = event.get("result") or f"asked for by the {event.get('actor', '')}, {len(event.get('steps', ()))} steps"
    if event["type"] == "recovery.started":
        return "info", f"Recovering {component} ({event.get('level', '')})", detail
    tone, word = _STATES.get(outcome, ("off", outcome))
    return tone, f"Recovery of {component}: {word}", detail


def _marked(tone: str, word: str) -> dict[str, str]:
    return {"tone": tone, "shape": SHAPES[tone], "word": word}
