"""The shapes that cross a process border: reports and heartbeats come in, events go out."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

_NO_NUL = r"^[^\x00]*$"
Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=_NO_NUL)]
Text = Annotated[str, Meta(max_length=10_000, pattern=_NO_NUL)]
_LongText = Annotated[str, Meta(max_length=120_000, pattern=_NO_NUL)]
_Moment = Annotated[datetime, Meta(tz=True)]
SeverityName = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL"]


class Cause(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What led to an error: a report again, of which only the type is needed."""

    type: Name
    message: Text = ""
    component: Name | None = None
    operation: Name | None = None
    severity: SeverityName | None = None
    at: _Moment | None = None
    stack: _LongText = ""
    cause: Cause | None = None
    metadata: dict[Name, Any] = {}


class Report(Cause, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=False):
    """One error, as an agent in any language reports it.

    ``type``: a class of the taxonomy (§2.1), any exception's name, or an error code such as ``ECONNREFUSED``.
    ``key``: a report sent twice with one key is stored once. ``reason``: why the agent's classifier decided so.
    """

    message: Text
    component: Name
    operation: Name
    agent: Name | None = None
    key: Name | None = None
    reason: Text = ""


class CircuitReport(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One circuit of an agent (§3): its state, why, and how many changes it has seen by itself (``change``).

    ``counts`` is what its window held at the change; the numbers are for the life of the process. Latency in ms.
    """

    service: Name
    state: Literal["CLOSED", "OPEN", "HALF_OPEN", "ISOLATED", "DISABLED"]
    change: Annotated[int, Meta(ge=0)] = 0
    because: Text = ""
    retry_after_s: Annotated[float, Meta(ge=0, le=86_400)] | None = None
    counts: Annotated[dict[Name, int], Meta(max_length=10)] = {}
    calls: Annotated[int, Meta(ge=0)] = 0
    failures: Annotated[int, Meta(ge=0)] = 0
    rejected: Annotated[int, Meta(ge=0)] = 0
    p95_ms: Annotated[float, Meta(ge=0)] | None = None


class LoopReport(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One loop of an agent (§5.1): what it is doing, how many runs go on, and how long ago it beat, in seconds.

    ``runs`` and ``beats`` are counted for the life of the process; ``because`` says why it is paused or stuck.
    """

    loop: Name
    state: Literal["running", "idle", "paused", "stuck", "late"]
    running: Annotated[int, Meta(ge=0)] = 0
    runs: Annotated[int, Meta(ge=0)] = 0
    beats: Annotated[int, Meta(ge=0)] = 0
    beat_age_s: Annotated[float, Meta(ge=0, le=3_153_600_000)] | None = None
    because: Text = ""


class AuditReport(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent tried in Safe Mode since its last heartbeat: calls allowed and calls refused."""

    service: Name
    operation: Name
    allowed: Annotated[int, Meta(ge=0)] = 0
    refused: Annotated[int, Meta(ge=0)] = 0


class OrderAnswer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of an order that WinClaw gave an agent: whether it was done, and what was done, or why not."""

    id: Name
    done: bool
    what: Text = ""


class Heartbeat(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sign of life of an agent; ``leaving`` says goodbye, so that its silence is no alarm.

    ``healers`` are the healing actions that it can do, as ``action:component``; ``orders`` answers those that it got.
    """

    agent: Name
    pid: Annotated[int, Meta(ge=0)] | None = None
    version: Name | None = None
    leaving: bool = False
    circuits: Annotated[tuple[CircuitReport, ...], Meta(max_length=200)] = ()
    loops: Annotated[tuple[LoopReport, ...], Meta(max_length=200)] = ()
    audit: Annotated[tuple[AuditReport, ...], Meta(max_length=200)] = ()
    healers: Annotated[tuple[Name, ...], Meta(max_length=200)] = ()
    orders: Annotated[tuple[OrderAnswer, ...], Meta(max_length=200)] = ()


class EventType(StrEnum):
    """Everything that WinClaw announces; ``docs/events.md`` describes each."""

    ERROR = "error"
    LEVEL_CHANGED = "level.changed"
    COMMAND = "command"
    AUDIT = "audit"
    CIRCUIT_OPENED = "circuit.opened"
    CIRCUIT_HALF_OPEN = "circuit.half_open"
    CIRCUIT_CLOSED = "circuit.closed"
    CIRCUIT_ISOLATED = "circuit.isolated"
    AGENT_CONNECTED = "agent.connected"
    AGENT_LEFT = "agent.left"
    AGENT_LOST = "agent.lost"
    PROCESS_STARTED = "process.started"
    PROCESS_ADOPTED = "process.adopted"
    PROCESS_READY = "process.ready"
    PROCESS_SILENT = "process.silent"
    PROCESS_STOPPING = "process.stopping"
    PROCESS_STOPPED = "process.stopped"
    PROCESS_EXITED = "process.exited"
    PROCESS_FAILED = "process.failed"
    PROCESS_CLEARED = "process.cleared"
    HEAL_WAITING = "heal.waiting"
    HEAL_STARTED = "heal.started"
    HEAL_ENDED = "heal.ended"
    HEAL_ESCALATED = "heal.escalated"
    RECOVERY_STARTED = "recovery.started"
    RECOVERY_ENDED = "recovery.ended"
    ALERT_UNDELIVERED = "alert.undelivered"
    ANOMALY_BEGAN = "anomaly.began"
    ANOMALY_ENDED = "anomaly.ended"
    APP_STARTED = "app.started"
    APP_STOPPED = "app.stopped"
    CONFIG_ROLLED_BACK = "config.rolled_back"
    CONFIG_TROUBLE = "config.trouble"
    CONFIG_REFUSED = "config.refused"
    CONFIG_CHANGED = "config.changed"
    JOURNAL_SET_ASIDE = "journal.set_aside"
    JOURNAL_REPAIRED = "journal.repaired"
    JOURNAL_GAP = "journal.gap"


class Event(Struct, frozen=True):
    """Something that happened and is in the journal, under ``id``; ``at`` is fixed-width ISO 8601 in UTC."""

    id: int
    at: str
    type: str
    component: str
    body: dict[str, Any]

    def view(self) -> dict[str, Any]:
        """The event as the API and the browser get it: one flat object."""
        return {**self.body, "id": self.id, "at": self.at, "type": self.type, "component": self.component}


