"""What the API answers: the shapes that ``openapi`` describes. Where the core encodes a structure as it is, that is the shape.

A test holds the answers of a running WinClaw to these shapes, both ways: nothing is missing, and nothing is told beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NotRequired, TypeAlias, TypedDict

import msgspec
from msgspec import Meta, Struct

from dashboard.present.windows import WindowName
from resilience.alerting.alerts import Telling
from resilience.config.explained import Explained, Source
from resilience.config.problems import ConfigProblem
from resilience.core.notices import Notice
from resilience.events import SeverityName
from resilience.healing.heals import Heal
from resilience.isolation.isolated import Isolated
from resilience.journal.health import Health
from resilience.processes.status import ProcessStatus
from resilience.recovery.checkpoint import Checkpoint, CheckpointHead
from resilience.recovery.plans import Recovery, Step


def _encoded(kind: type[Struct], **more: Any) -> Any:
    """``kind`` as it is written out: nothing is left away because it is as by default; ``more`` is told beside it, or instead."""
    fields = {one.encode_name: one.type for one in msgspec.structs.fields(kind)} | more
    return msgspec.defstruct(f"{kind.__name__}View", fields.items(), namespace={"__doc__": kind.__doc__})


Moment = Annotated[str, Meta(description="ISO 8601, in UTC", extra_json_schema={"format": "date-time"})]
Id = Annotated[int, Meta(ge=0, description="from the one sequence of the journal")]
LevelName = Literal["FULL", "DEGRADED_LLM", "LIMITED_EXTERNAL", "MINIMAL", "SAFE_MODE"]
LevelNumber = Annotated[int, Meta(ge=1, le=5)]
Anything = dict[str, Any]
OPEN: Final = ("EventView", "Trouble")
"""What has other members, too."""

if TYPE_CHECKING:  # they are made when the program runs, of what the core encodes
    CheckpointView: TypeAlias = Any
    ExplainedView: TypeAlias = Any
    HeadView: TypeAlias = Any
    HealView: TypeAlias = Any
    IsolationView: TypeAlias = Any
    JournalView: TypeAlias = Any
    NoticeView: TypeAlias = Any
    ProcessView: TypeAlias = Any
    RecoveryView: TypeAlias = Any
    TellingView: TypeAlias = Any
else:
    CheckpointView, HeadView = _encoded(Checkpoint), _encoded(CheckpointHead)
    ExplainedView = _encoded(Explained, source=Literal[Source, "command"])
    HealView = _encoded(Heal, seconds=float | None)
    IsolationView = _encoded(Isolated)
    JournalView = _encoded(Health)
    NoticeView = _encoded(Notice)
    ProcessView = _encoded(ProcessStatus)
    RecoveryView = _encoded(Recovery, number=LevelNumber, done=int)
    TellingView = _encoded(Telling)


class ProbeView(TypedDict):
    """What WinClaw's own probe finds, and since when."""

    well: bool
    since: Moment
    what: str


class NamedProbeView(ProbeView):
    """A probe by its name."""

    name: str


class ServiceView(TypedDict):
    """One service: its circuit as it holds for this machine, and what its agents count together."""

    name: str
    healthy: bool
    circuit: Literal["CLOSED", "OPEN", "HALF_OPEN", "ISOLATED"]
    since: Moment
    because: str
    agent: str
    pid: int | None
    retry_after_s: float | None
    until: Moment | None
    counts: dict[str, int]
    version: int
    calls: int
    failures: int
    rejected: int
    p95_ms: float | None
    probe: ProbeView | None


class LatchView(TypedDict):
    """A level that a rule holds until a person releases it."""

    rule: str
    level: LevelName
    cause: str
    since: Moment


class WantedView(TypedDict):
    """What the rules choose, also while a person has pinned another level."""

    level: LevelName
    cause: str
    rule: str
    rises_at: Moment | None
    latches: list[LatchView]


class LoopOfAgentView(TypedDict):
    """A loop as one agent has it."""

    agent: str
    pid: int | None
    state: Literal["running", "idle", "paused", "stuck", "late"]
    running: int
    runs: int
    beats: int
    beat_at: Moment | None
    because: str


class LoopView(TypedDict):
    """A loop: whether the level lets it run, what it does, and its limits."""

    name: str
    tier: Literal["basic", "core", "all"]
    description: str
    feature: str
    allowed: bool
    state: Literal["stuck", "late", "paused", "running", "idle", "unused"]
    running: int
    runs: int
    beats: int
    beat_at: Moment | None
    stuck_after_s: float
    max_run_s: float | None
    max_depth: int
    agents: list[LoopOfAgentView]


class WaitingView(TypedDict):
    """Messages that wait in outboxes."""

    messages: int
    channels: dict[str, int]


class AgentView(TypedDict):
    """An agent, told from its heartbeats."""

    name: str
    alive: bool
    pid: int | None
    version: str | None
    since: Moment
    last_beat: Moment


class HealedView(TypedDict):
    """A heal that has ended."""

    id: int
    component: str
    root_cause: str
    target: str
    outcome: str


class StateView(TypedDict):
    """All that holds now. ``version`` grows with what is worth telling."""

    level: LevelName
    number: LevelNumber
    since: Moment
    cause: str
    pinned: bool
    latched: bool
    features: dict[str, bool]
    rules_want: WantedView
    context_limit_tokens: int | None
    services: list[ServiceView]
    isolated: list[str]
    isolations: list[IsolationView]
    probing: list[str]
    probes: list[NamedProbeView]
    healing: list[HealView]
    healed: list[HealedView]
    recovering: list[RecoveryView]
    loops: list[LoopView]
    waiting: WaitingView
    agents: list[AgentView]
    processes: list[ProcessView]
    notices: list[NoticeView]
    needs_you: int
    snoozed_until: Moment | None
    version: int


class Stated(TypedDict):
    """What a command has led to."""

    state: StateView


class Loops(TypedDict):
    """All loops, those of the configuration first."""

    level: LevelName
    loops: list[LoopView]


class Processes(TypedDict):
    """The supervised processes."""

    processes: list[ProcessView]


class PieceView(TypedDict):
    """What a process has written: whole lines, and the ``rest`` of one that has not ended. Ask on with ``after=mark``.
    ``skipped``: so many bytes before it were left out. ``anew``: what stood at the mark is gone, so it begins elsewhere."""

    text: str
    rest: str
    mark: str
    skipped: int
    anew: bool


class EventView(TypedDict):
    """Something that happened, with the fields of its type."""

    id: Id
    at: Moment
    type: str
    component: str


class ErrorView(TypedDict):
    """An error."""

    id: Id
    at: Moment
    type: Literal["error"]
    component: str
    kind: str
    error_type: str
    severity: SeverityName
    impact: str
    operation: str
    agent: str
    message: str
    fingerprint: str
    is_transient: bool
    recovery_strategy: str
    reason: str
    received_at: Moment


class WholeErrorView(ErrorView):
    """An error with all that was reported of it."""

    stack: NotRequired[str]
    cause: NotRequired[Anything]
    metadata: NotRequired[Anything]


class Events(TypedDict):
    """Events, the oldest first. Ask on with ``since=last``."""

    events: list[EventView]
    last: Id
    more: bool


class Errors(TypedDict):
    """A page of errors, the newest first. Ask on with ``before=next``."""

    errors: list[ErrorView]
    next: Id | None


class GroupView(TypedDict):
    """Errors that are the same trouble, in the words of the newest."""

    fingerprint: str
    kind: str
    type: str
    severity: SeverityName
    component: str
    operation: str
    message: str
    count: int
    first_at: Moment
    last_at: Moment
    last_id: Id


class Groups(TypedDict):
    """A page of groups, those seen last first. Ask on with ``before=next``."""

    groups: list[GroupView]
    next: Id | None


class SpanView(TypedDict):
    """For how long something was so. ``until`` null: it still is; the same as ``since``: it only happened then."""

    since: Moment
    until: Moment | None
    what: str
    tone: Literal["off", "ok", "info", "warn", "safe", "bad"]
    detail: str


class LaneView(TypedDict):
    """What one thing went through, in order; ``lane`` names it for good."""

    lane: str
    title: str
    spans: list[SpanView]


class ErrorsOfTimeView(TypedDict):
    """How many errors came in a time."""

    since: Moment
    until: Moment
    errors: int


class TimelineView(TypedDict):
    """The lanes of a window, and its errors. ``left_out``: of each family, so many more things have no lane."""

    window: WindowName
    since: Moment
    until: Moment
    lanes: list[LaneView]
    errors: list[ErrorsOfTimeView]
    left_out: dict[str, int]


class SampleView(TypedDict):
    """What was measured in a step that begins ``at``; what is not there was not. ``machine`` is this machine."""

    at: Moment
    component: str
    cpu_percent: NotRequired[float]
    memory_percent: NotRequired[float]
    calls: NotRequired[int]
    failures: NotRequired[int]
    p95_ms: NotRequired[float]


class Samples(TypedDict):
    """What was measured in a window, in steps of so many seconds, the oldest first."""

    window: WindowName
    step_s: int
    since: Moment
    samples: list[SampleView]


class Healing(TypedDict):
    """The heals that are remembered, the newest first."""

    healing: list[HealView]


class AlertView(TypedDict):
    """An alert, whom it was told to, and what became of that."""

    id: int
    about: str
    title: str
    message: str
    severity: SeverityName
    priority: Literal["P1_CRITICAL", "P2_HIGH", "P3_MEDIUM", "P4_LOW", "P5_INFO"]
    component: str
    page: str
    state: Literal["open", "acknowledged", "resolved"]
    at: Moment
    last_at: Moment
    count: int
    held_back: int
    actor: str
    origin: str
    acknowledged_at: Moment | None
    snoozed_until: Moment | None
    silent: str
    resolved_at: Moment | None
    tellings: list[TellingView]


class Alerts(TypedDict):
    """The alerts that are remembered, the newest first."""

    alerts: list[AlertView]


class Acknowledged(TypedDict):
    """How many alerts were acknowledged."""

    acknowledged: int


class IncidentView(TypedDict):
    """Alerts that belong together, and what they say in one paragraph."""

    id: int
    title: str
    severity: SeverityName
    began: Moment
    ended: Moment | None
    alerts: list[int]
    components: list[str]
    acknowledged_by: list[str]
    digest: str


class WholeIncidentView(IncidentView):
    """An incident with what happened around it."""

    events: list[EventView]


class Incidents(TypedDict):
    """The incidents, the newest first."""

    incidents: list[IncidentView]


class LoginLink(TypedDict):
    """An address that logs a browser in, once, within 60 seconds."""

    url: str


class Done(TypedDict):
    """It is done."""

    done: bool


class Stored(TypedDict):
    """The ids of what was reported, in order; it is on disk."""

    ids: list[Id]


class Policy(TypedDict):
    """What agents keep to; ``settings`` only come when they are others than those the agent has."""

    gates: dict[str, str | None]
    heartbeat_s: float
    settings_id: str
    settings: NotRequired[Anything]


class Beaten(TypedDict):
    """The answer to a heartbeat."""

    state: StateView
    policy: Policy


class OrderView(TypedDict):
    """Something that an agent is asked to do; with ``pids``, only those processes of it."""

    id: str
    action: str
    component: str
    parameters: dict[str, float | str]
    pids: NotRequired[list[int | None]]


class Orders(TypedDict):
    """What holds for an agent."""

    agent: str
    state: StateView
    policy: Policy
    orders: list[OrderView]


class LeftView(TypedDict):
    """A step that is not undone."""

    number: int
    name: str
    undo: str
    key: str
    in_doubt: bool
    why: str


class UnfinishedView(TypedDict):
    """A transaction that is under way, or was left undone."""

    agent: str
    transaction: str
    key: str | None
    id: str
    state: Literal["running", "abandoned", "left"]
    left: list[LeftView]
    since: Moment


class RecoveryOverview(TypedDict):
    """Recoveries, the newest first; transactions that are not over; how it stands with the journal."""

    recoveries: list[RecoveryView]
    transactions: list[UnfinishedView]
    journal: JournalView


class Plan(TypedDict):
    """What would be done, and the name by which that is begun."""

    plan: list[Step]
    digest: str


class Begun(TypedDict):
    """A recovery that has begun."""

    recovery: RecoveryView


class Checkpoints(TypedDict):
    """Checkpoints without their states, the newest first."""

    checkpoints: list[HeadView]


class ConfigInForce(TypedDict):
    """The settings in force, without secrets, and which of them are not as by default."""

    version: int | None
    differs: list[str]
    settings: Anything


class ConfigExplained(TypedDict):
    """Each setting in force, and what is wrong with the file. The lines are those of ``version``; null: of the file."""

    file: str
    version: int | None
    each: list[ExplainedView]
    problems: list[ConfigProblem]


class VersionView(TypedDict):
    """A version of the configuration: who made it, what it changed, and what became of it."""

    version: int
    at: Moment
    author: str
    origin: str
    changed: list[str]
    outcome: str
    in_force: bool
    trouble: str
    restores: int | None


class WholeVersionView(VersionView):
    """A version with its text, its difference to the version ``against`` (the one that it ``replaces``, unless another was asked
    for), and what rolling back to it would change."""

    text: str
    replaces: int | None
    against: int | None
    diff: list[str] | None
    would_change: list[str] | None
    problems: list[str]


class Versions(TypedDict):
    """The versions of the configuration, the newest first."""

    versions: list[VersionView]


class RolledBack(TypedDict):
    """What was done."""

    done: str


class Trouble(TypedDict):
    """A request that cannot be answered as asked (RFC 9457). ``field`` is where in it; ``confirm`` is what to send again, once
    a person has seen the ``preview``."""

    type: Literal["about:blank"]
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: str
    field: NotRequired[str]
    preview: NotRequired[Anything]
    confirm: NotRequired[str | None]
