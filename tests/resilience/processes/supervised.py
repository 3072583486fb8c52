"""A supervised process in any of its states, for tests."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from resilience.processes.policy import Process
from resilience.processes.supervision import Do, Ended, ProcessState, Ready, Started, Supervised, after, first, look

S = ProcessState
POLICY = Process(command=("agent",), max_restarts=3, within_s=60, backoff_s=1, max_backoff_s=3, healthy_after_s=30)


def begun(**policy: Any) -> Supervised:
    return first(replace(POLICY, **policy), run=0, stopped=False, failed="", now_s=0)


def running(now_s: float = 0, **policy: Any) -> Supervised:
    """A process that was started at ``now_s`` and is ready."""
    one, _ = after(begun(**policy), Started(100), now_s)
    return after(one, Ready(one.run), now_s)[0]


def crash(one: Supervised, at_s: float, code: int | None = 1) -> Supervised:
    return after(one, Ended(one.run, code), at_s)[0]


def restarted(one: Supervised, now_s: float) -> Supervised:
    one, do = look(one, now_s, forbidden="", waits_for="")
    assert do == Do.START
    one, _ = after(one, Started(101), now_s)
    return after(one, Ready(one.run), now_s)[0]


def standing(state: ProcessState, **more: Any) -> Supervised:
    """A process in its first run that stands in ``state``; with what only an earlier state would explain."""
    return replace(running(), **{"state": state, "why": "as before", "due_s": None, **more})


def due(one: Supervised, now_s: float, forbidden: str = "", waits_for: str = "") -> Do | None:
    return look(one, now_s, forbidden=forbidden, waits_for=waits_for)[1]
