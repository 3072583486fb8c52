"""What becomes of a supervised process: each thing that happens to it, and each look at the clock, gives its next
state and what is to be done. Pure: nothing is started or ended here, and time comes in as an argument.
"""

from __future__ import annotations

import signal
from enum import StrEnum
from typing import Final, Literal, assert_never

from msgspec import Struct
from msgspec.structs import replace

from resilience.processes.policy import Process


class ProcessState(StrEnum):
    """Where a supervised process stands."""

    STOPPED = "stopped"
    """Somebody stopped it, or it was never to start by itself."""
    WAITING = "waiting"
    """It starts as soon as its pause is over, what it depends on is ready, and nothing forbids it."""
    STARTING = "starting"
    """It runs, and its probe has not said yet that it is ready."""
    RUNNING = "running"
    STOPPING = "stopping"
    """It was asked to end, and has not ended yet."""
    EXITED = "exited"
    """It ended by itself, and is not to be started again."""
    FAILED = "failed"
    """It ended too often; only a person starts it again."""


_SIGNALS: Final = {one.value: one.name for one in signal.Signals}
_ALIVE: Final = (ProcessState.STARTING, ProcessState.RUNNING, ProcessState.STOPPING)
Then = Literal["stay", "again", "failure", "wait"]
Command = Literal["start", "stop", "restart"]


class Past(Struct, frozen=True):
    """What counts of the past: when it was started again lately (s, monotonic), and how many ends came in a row, with no
    healthy time between them.
    """

    restarts_s: tuple[float, ...] = ()
    ends: int = 0


class Supervised(Struct, frozen=True, kw_only=True):
    """Where one process stands. Times are in seconds, monotonic.

    ``run`` counts its starts, of which ``first_run`` is the first under this WinClaw; what is said of an earlier run moves
    nothing. ``adopted`` is whether this run was taken over. ``due_s`` is when the pause before a start ends, or patience:
    with getting ready, with stopping. ``then`` is what follows when it has stopped: it *stay*s so, starts *again*, is
    treated as a *failure*, or *wait*s until it is allowed. ``silent_s`` is since when it gives no answer, though it runs.
    ``why`` is for people.
    """

    policy: Process
    state: ProcessState = ProcessState.WAITING
    run: int = 0
    first_run: int = 1
    pid: int | None = None
    adopted: bool = False
    since_s: float = 0.0
    started_s: float = 0.0
    due_s: float | None = None
    then: Then = "stay"
    silent_s: float | None = None
    past: Past = Past()
    why: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether it runs and answers."""
        return self.state is ProcessState.RUNNING and self.silent_s is None

    @property
    def is_alive(self) -> bool:
        """Whether there is a process at present."""
        return self.state in _ALIVE


class Started(Struct, frozen=True):
    """It runs: it was started, or (``adopted``) taken over from an earlier WinClaw."""

    pid: int
    adopted: bool = False


class NotStarted(Struct, frozen=True):
    """The system would not start it."""

    why: str


class Ended(Struct, frozen=True):
    """It ended. ``code`` is negative for a signal, None where nobody could tell."""

    run: int
    code: int | None


class Ready(Struct, frozen=True):
    """Its probe says that it answers."""

    run: int


class Silent(Struct, frozen=True):
    """Its probe gets no good answer, since then (s, monotonic)."""

    run: int
    why: str
    since_s: float


class Unwell(Struct, frozen=True):
    """It lives, but must go, e.g. because it uses too much. ``hopeless``: asking it would be no use."""

    run: int
    why: str
    hopeless: bool


class Ask(Struct, frozen=True):
    """A person's command."""

    command: Command
    actor: str


Happening = Started | NotStarted | Ended | Ready | Silent | Unwell | Ask


class Do(StrEnum):
    """What is to be done to a process."""

    START = "start"
    STOP = "stop"
    """Ask it to end."""
    KILL = "kill"
    """End it, with everything that it has started."""


Next = tuple[Supervised, Do | None]
_KILL_AGAIN_S: Final = 2.0


def is_failure(before: Supervised, end: Ended | NotStarted) -> bool:
    """Whether an end speaks against a process: it could not be started, had to go, or ended by itself, and not well."""
    if before.state is ProcessState.STOPPING:
        return before.then == "failure"
    return isinstance(end, NotStarted) or end.code != 0


def after(one: Supervised, what: Happening, now_s: float) -> Next:
    """What follows from something that happened to a process (§6)."""
    match what:
        case Started(pid, adopted):
            begun = replace(one, pid=pid, adopted=adopted, run=one.run + 1, started_s=now_s)
            return _to(begun, ProcessState.STARTING, now_s, "", due_s=now_s + one.policy.ready_within_s), None
        case NotStarted(why):
            return _after_exit(one, what, why, ran_s=0.0, now_s=now_s), None
        case Ended(run) if run == one.run and one.is_alive:
            return _ended(one, what, now_s), None
        case Ready(run) if run == one.run and one.state is ProcessState.STARTING:
            return _to(one, ProcessState.RUNNING, now_s, ""), None
        case Ready(run) if run == one.run and one.silent_s is not None:
            return replace(one, silent_s=None, why=""), None
        case Silent(run, why, since_s) if run == one.run and one.is_ready:
            return replace(one, silent_s=since_s, why=why), None
        case Unwell(run, why, hopeless) if run == one.run and one.state in (ProcessState.STARTING, ProcessState.RUNNING):
            return _stopping(one, "failure", why, now_s, hopeless)
        case Ask(command, actor):
            return _asked(one, command, actor, now_s)
        case Ended() | Ready() | Silent() | Unwell():  # said of an earlier run, or too late
            return one, None
        case _:
            assert_never(what)


def look(one: Supervised, now_s: float, *, forbidden: str, waits_for: str) -> Next:
    """What is due for a process.

    Args:
        forbidden: why it must not run now, e.g. Safe Mode; empty if it may.
        waits_for: what must be ready before it may start; empty if all is.
    """
    overdue = one.due_s is not None and now_s >= one.due_s
    match one.state:
        case ProcessState.WAITING if forbidden or waits_for:
            why = forbidden or f"waits for {waits_for}"
            return (one if why == one.why else replace(one, why=why)), None
        case ProcessState.WAITING if overdue or one.due_s is None:
            return replace(one, due_s=None), Do.START
        case ProcessState.STARTING | ProcessState.RUNNING if forbidden:
            return _stopping(one, "wait", forbidden, now_s)
        case ProcessState.STARTING if overdue:
            why = f"it was not ready within {one.policy.ready_within_s:g} s"
            return _stopping(one, "failure", why, now_s, hopeless=True)
        case ProcessState.RUNNING if one.silent_s is not None and now_s >= one.silent_s + one.policy.hung_after_s:
            return _stopping(one, "failure", f"it was silent for {now_s - one.silent_s:.0f} s: {one.why}", now_s, hopeless=True)
        case ProcessState.STOPPING if overdue:
            return replace(one, due_s=now_s + _KILL_AGAIN_S), Do.KILL
        case _:
            return one, None


def with_policy(one: Supervised, policy: Process, now_s: float) -> Next:
    """What follows from another configuration: it is started anew where that is needed for it to be in force, and tried
    again at once where it had failed.
    """
    changed, why = replace(one, policy=policy), "its configuration changed"
    if _born_with(policy) != _born_with(one.policy):
        if one.state in (ProcessState.STARTING, ProcessState.RUNNING):
            return _stopping(changed, "again", why, now_s)
        if one.state is ProcessState.FAILED or (one.state is ProcessState.WAITING and one.due_s is not None):
            return _to(replace(changed, past=Past()), ProcessState.WAITING, now_s, why), None
    return changed, None


def first(policy: Process, *, run: int, stopped: bool, failed: str, now_s: float) -> Supervised:
    """A process as it stands when WinClaw starts: as a person left it after ``run`` starts, or as the configuration wants it."""
    one = Supervised(policy=policy, run=run, first_run=run + 1, since_s=now_s)
    if failed:
        return replace(one, state=ProcessState.FAILED, why=failed)
    if stopped or not policy.autostart:
        return replace(one, state=ProcessState.STOPPED, why="" if stopped else "it does not start by itself")
    return one


def _born_with(policy: Process) -> tuple[object, ...]:
    return policy.command, policy.environment, policy.folder, policy.port


def _to(one: Supervised, state: ProcessState, now_s: float, why: str, due_s: float | None = None) -> Supervised:
    return replace(one, state=state, since_s=now_s, due_s=due_s, silent_s=None, why=why)


def _stopping(one: Supervised, then: Then, why: str, now_s: float, hopeless: bool = False) -> Next:
    is_asked = not (hopeless or one.policy.stop_signal == "KILL" or not one.policy.stop_timeout_s)
    patience_s = one.policy.stop_timeout_s if is_asked else _KILL_AGAIN_S
    stopping = _to(replace(one, then=then), ProcessState.STOPPING, now_s, why, due_s=now_s + patience_s)
    return stopping, Do.STOP if is_asked else Do.KILL


def _ended(before: Supervised, end: Ended, now_s: float) -> Supervised:
    one, ran_s = replace(before, pid=None, adopted=False), now_s - before.started_s
    if before.state is not ProcessState.STOPPING:
        return _after_exit(one, end, words(end.code), ran_s=ran_s, now_s=now_s)
    match before.then:
        case "stay":
            return _to(replace(one, past=Past()), ProcessState.STOPPED, now_s, one.why)
        case "again":
            return _to(replace(one, past=Past()), ProcessState.WAITING, now_s, one.why)
        case "wait":
            return _to(one, ProcessState.WAITING, now_s, one.why)
        case "failure":
            return _after_exit(one, end, one.why, ran_s=ran_s, now_s=now_s)
        case _:
            assert_never(before.then)


def _after_exit(one: Supervised, end: Ended | NotStarted, why: str, *, ran_s: float, now_s: float) -> Supervised:
    """The first end after a healthy time is answered at once, each further one in a row after a pause that doubles. More
    than ``max_restarts`` within ``within_s`` are a loop. Clean ends count, too: what only ends must not go round for ever.
    """
    policy = one.policy
    if policy.restart == "never" or (policy.restart == "on-failure" and not is_failure(one, end)):
        return _to(replace(one, past=Past()), ProcessState.EXITED, now_s, why)
    lately = tuple(at_s for at_s in one.past.restarts_s if now_s - at_s < policy.within_s)
    if len(lately) >= policy.max_restarts:
        times = "once" if len(lately) == 1 else f"{len(lately)} times"
        failed = f"{why}, and was started again {times} within {policy.within_s:g} s" if lately else why
        return _to(replace(one, past=Past(lately, one.past.ends)), ProcessState.FAILED, now_s, failed)
    ends = 1 if ran_s >= policy.healthy_after_s else one.past.ends + 1
    pause_s = 0.0 if ends == 1 else min(policy.backoff_s * 2.0 ** min(ends - 2, 30), policy.max_backoff_s)
    return _to(replace(one, past=Past((*lately, now_s), ends)), ProcessState.WAITING, now_s, why, due_s=now_s + pause_s)


def _asked(one: Supervised, command: Command, actor: str, now_s: float) -> Next:
    fresh = replace(one, past=Past())
    match command, one.state:
        case "stop", ProcessState.STOPPED:
            return one, None
        case "stop", ProcessState.STARTING | ProcessState.RUNNING:
            return _stopping(one, "stay", f"stopped by {actor}", now_s)
        case "stop", ProcessState.STOPPING:
            return replace(one, then="stay", why=f"stopped by {actor}"), None
        case "stop", _:
            return _to(fresh, ProcessState.STOPPED, now_s, f"stopped by {actor}"), None
        case "start", ProcessState.STARTING | ProcessState.RUNNING:
            return one, None
        case _, ProcessState.STARTING | ProcessState.RUNNING:
            return _stopping(one, "again", f"restarted by {actor}", now_s)
        case _, ProcessState.STOPPING:
            return replace(one, then="again", why=f"restarted by {actor}"), None
        case _:
            return _to(fresh, ProcessState.WAITING, now_s, f"started by {actor}"), None


def words(code: int | None) -> str:
    """How a process ended, for people."""
    if code is None:
        return "it ended; nobody saw how"
    if code < 0:
        return f"it was killed by {_SIGNALS.get(-code, f'signal {-code}')}"
    return f"it ended with exit status {code if code < 256 else f'0x{code:08X}'}"
