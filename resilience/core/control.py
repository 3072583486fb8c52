"""What the control plane makes of each input: the state after it, and what the journal is to hold of it.

Nothing here waits, writes or tells; ``core`` does, with what comes out. Time comes from the clock that is passed in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from resilience.classification.classifier import ErrorClassifier
from resilience.clock import Clock, as_text
from resilience.config.settings import Settings
from resilience.core import orders
from resilience.core.intake import record_of
from resilience.core.orders import Order
from resilience.core.presence import beaten, fallen_silent
from resilience.core.services import (
    MAX_SERVICES,
    AgentKey,
    CircuitCommand,
    Probed,
    ServiceCircuit,
    circumstances,
    commanded,
    counted,
    heard,
    left_open,
    probed,
)
from resilience.core.state import Notice, State, with_settings
from resilience.degradation import loops
from resilience.degradation.health import Count
from resilience.degradation.levels import DegradationLevel, LevelPolicy, Standing, choose, followed
from resilience.degradation.rules import demands
from resilience.errors import is_below
from resilience.events import EventType, Heartbeat, Report
from resilience.healing.heals import Heal, HealState, with_heal
from resilience.isolation.isolated import BY_ITSELF, Isolated, members, without
from resilience.journal.journal import ErrorRecord, EventRecord, Record
from resilience.processes.status import ProcessStatus
from resilience.redaction import Redactor

_CIRCUIT_EVENTS: Final = {
    "OPEN": EventType.CIRCUIT_OPENED, "HALF_OPEN": EventType.CIRCUIT_HALF_OPEN, "CLOSED": EventType.CIRCUIT_CLOSED,
    "ISOLATED": EventType.CIRCUIT_ISOLATED,
}  # fmt: skip
HealingDecision = Literal["approve", "reject", "dismiss"]
_DECIDED: Final = {
    "approve": (HealState.WAITING, HealState.APPROVED), "reject": (HealState.WAITING, HealState.REJECTED),
    "dismiss": (HealState.ESCALATED, HealState.DISMISSED),
}  # fmt: skip
_HEAL_EVENTS: Final = {
    HealState.WAITING: EventType.HEAL_WAITING, HealState.RUNNING: EventType.HEAL_STARTED,
    HealState.ESCALATED: EventType.HEAL_ESCALATED,
    **dict.fromkeys(
        (HealState.HEALED, HealState.FAILED, HealState.REJECTED, HealState.EXPIRED, HealState.INTERRUPTED), EventType.HEAL_ENDED
    ),
}  # fmt: skip
_TOLD_OF_HEALS: Final = (
    "rule", "action", "attempt", "trigger", "diagnosis", "result", "verification", "side_effects", "seconds", "actor",
)  # fmt: skip


class TooLateError(Exception):
    """What was to be decided is decided already; the message says how."""


class ConfirmationNeededError(Exception):
    """Leaving Safe Mode takes a confirmation, and there was none; nothing has changed."""


class Errors(Struct, frozen=True):
    """Errors that were reported."""

    reports: tuple[Report, ...]


class Choice(Struct, frozen=True):
    """A person chooses a level, or *Auto* (None)."""

    level: DegradationLevel | None
    actor: str
    origin: str
    confirmed: bool


class HowIsolated(Struct, frozen=True):
    """How something is isolated: why, for how many seconds (None: not by time), until a verified heal, with its processes."""

    reason: str = ""
    for_s: float | None = None
    until_healed: bool = False
    stop_processes: bool = False


class Switch(Struct, frozen=True):
    """A person commands a circuit, or isolates and releases a component; ``isolation`` says how."""

    service: str
    command: CircuitCommand
    actor: str
    origin: str
    isolation: HowIsolated = HowIsolated()


class Configuration(Struct, frozen=True):
    """Other settings are in force; or (None) those of the file are not, and ``notice`` says why."""

    settings: Settings | None
    settings_id: str
    notice: Notice | None


class Announcement(Struct, frozen=True):
    """Something happened in the program's own life."""

    type: EventType
    component: str
    body: dict[str, Any]


class Waiting(Struct, frozen=True):
    """So many messages wait in the agents' outboxes, by channel."""

    channels: dict[str, int]


class ProcessTold(Struct, frozen=True):
    """Where a supervised process stands now; None: it is no longer configured."""

    name: str
    status: ProcessStatus | None


class ProbeTold(Struct, frozen=True):
    """What WinClaw's own probe of a service finds now; None: it has none any more."""

    service: str
    found: Probed | None


class HealTold(Struct, frozen=True):
    """Where a heal stands now."""

    heal: Heal


class HealDecision(Struct, frozen=True):
    """A person approves or rejects a heal that waits for it, or dismisses one that was left to people."""

    id: int
    decision: HealingDecision
    actor: str
    origin: str


class OrderGiven(Struct, frozen=True):
    """Agents are asked to do something; None: nobody waits for the answers to ``id`` any more."""

    id: str
    order: Order | None


class Look(Struct, frozen=True):
    """A look at the clock."""


Input = (
    Errors | Choice | Switch | Configuration | Announcement | Waiting | ProcessTold | ProbeTold | HealTold | HealDecision
    | OrderGiven | Heartbeat | Look
)  # fmt: skip


class Control:
    """The decisions on inputs.

    Args:
        classifier: how reported errors are judged. redactor: takes secrets out of all that is kept.
    """

    def __init__(self, classifier: ErrorClassifier, redactor: Redactor, clock: Clock) -> None:
        self._classifier, self._redactor, self._clock = classifier, redactor, clock

    def decide(self, state: State, an_input: Input) -> tuple[State, list[Record]]:
        """The state after ``an_input``, and the records that it makes.

        Raises:
            ConfirmationNeededError: Safe Mode would be left without one. KeyError: there is no such circuit, or heal.
            TooLateError: that heal does not wait for such a decision.
        """
        now = self._clock.now()
        match an_input:
            case Errors(reports):
                records = [record_of(report, self._classifier, self._redactor, now) for report in reports]
                state, changes = self._cut_off(self._tallied(state, records), records)
                return state, [*records, *changes]
            case Heartbeat():
                return self._beat(state, an_input)
            case Switch(service, command, actor, origin, how):
                said: list[Record] = [self.event(EventType.COMMAND, service, asked=command, actor=actor, origin=origin)]
                if command == "isolate":
                    state, changes = self._isolated(state, service, actor, how)
                elif service in state.isolations and (command == "release" or service in state.services.circuits):
                    state, changes = self._released(state, service, command, actor)
                else:
                    state, changes = self._commanded(state, (service,), command, actor)
                return state, [*said, *changes]
            case Choice(level, actor, origin, confirmed):
                if state.standing.level is DegradationLevel.SAFE_MODE is not level and not confirmed:
                    raise ConfirmationNeededError
                asked = level.name if level else "AUTO"
                said = [self.event(EventType.COMMAND, "level", asked=asked, actor=actor, origin=origin)]
                chosen = choose(state.standing, level, actor=actor, now=now)
                if chosen.wanted.counts_since != state.standing.wanted.counts_since:  # released: counts begin anew
                    state = replace(state, tally=state.tally._replace(buckets={}))
                state, changes = self._moved(state, self._ruled(state, chosen))
                return state, [*said, *changes]
            case Configuration(settings, settings_id, _):
                state = replace(state, settings_id=settings_id)
                return state if settings is None else with_settings(state, settings), []
            case Announcement(kind, component, body):
                return state, [self.event(kind, component, **body)]
            case Waiting(channels):
                return replace(state, waiting=channels), []
            case ProcessTold(name, status):
                return replace(state, processes=MappingProxyType(self._processes(state, name, status))), []
            case ProbeTold(service, found):
                if found is not None:
                    found = replace(found, what=self._redactor.text(found.what))
                has_circuit = service in state.settings.services
                services, changed = probed(state.services, service, found, _alive(state), now, has_circuit=has_circuit)
                return replace(state, services=services), [self._circuit_event(changed)] if changed is not None else []
            case HealTold(heal):
                return self._heal(state, heal)
            case HealDecision(number, decision, actor, origin):
                heal = state.heals[number]
                if heal.state is not _DECIDED[decision][0]:
                    raise TooLateError(f"heal {number} is {heal.state.value}; there is nothing to {decision}")
                said = [self.event(EventType.COMMAND, heal.target, asked=f"{decision} heal {number}", actor=actor, origin=origin)]
                decided = replace(heal, state=_DECIDED[decision][1], actor=actor)
                if not decided.is_open:
                    decided = replace(decided, ended=decided.ended or now)
                state, changes = self._heal(state, decided)
                return state, [*said, *changes]
            case OrderGiven(key, order):
                left = {name: one for name, one in state.orders.items() if name != key}
                return replace(state, orders=MappingProxyType(left if order is None else {**left, key: order})), []
            case Look():
                lost_after_s = state.settings.agents.lost_after_s
                agents, lost = fallen_silent(state.agents, self._clock.monotonic(), now, lost_after_s)
                state = replace(state, agents=agents) if lost else state
                over = [name for name, one in state.isolations.items() if one.until is not None and one.until <= now]
                ended: list[Record] = []
                for name in over:
                    state, changes = self._released(state, name, "release", "WinClaw, for its time is over")
                    ended += changes
                services, closed = left_open(state.services, _alive(state), now)
                state, said = replace(state, services=services), [*ended, *(self._circuit_event(circuit) for circuit in closed)]
                for agent in lost:
                    state = replace(state, loops=loops.without(state.loops, agent.name))
                    said.append(self.event(EventType.AGENT_LOST, agent.name, pid=agent.pid, last_beat=as_text(agent.beat_at)))
                return state, said

    def judge(self, state: State) -> tuple[State, list[Record]]:
        """The state after a look at the rules for the level (§5.2)."""
        return self._moved(state, self._ruled(state, state.standing))

    def event(self, kind: EventType, component: str, **body: Any) -> EventRecord:
        """The record of an event, without secrets."""
        said = self._redactor.value(body)
        return EventRecord(as_text(self._clock.now()), kind.value, self._redactor.text(component), msgspec.json.encode(said))

    def _heal(self, state: State, heal: Heal) -> tuple[State, list[Record]]:
        clean = self._redactor.text
        heal = replace(heal, trigger=clean(heal.trigger), result=clean(heal.result), verification=clean(heal.verification))
        state = replace(state, heals=with_heal(state.heals, heal))
        kind = _HEAL_EVENTS.get(heal.state)
        if kind is None:
            return state, []
        told = heal.view()
        body = {name: told[name] for name in _TOLD_OF_HEALS}
        said: list[Record] = [self.event(kind, heal.target, heal=heal.id, outcome=heal.state.value, **body)]
        for name in {heal.target, heal.diagnosis.component} if heal.state is HealState.HEALED else ():
            if name in state.isolations and state.isolations[name].until_healed:
                state, changes = self._released(state, name, "release", f"heal {heal.id}")
                said += changes
        return state, said

    def _isolated(self, state: State, component: str, actor: str, how: HowIsolated) -> tuple[State, list[Record]]:
        now = self._clock.now()
        services, processes = members(state.settings, component)
        one = Isolated(
            component=component, reason=self._redactor.text(how.reason or f"isolated by {actor}"), actor=actor, since=now,
            until=now + timedelta(seconds=how.for_s) if how.for_s is not None else None, until_healed=how.until_healed,
            services=services, processes=processes if how.stop_processes else (),
        )  # fmt: skip
        if len(state.isolations) < MAX_SERVICES or component in state.isolations:
            state = replace(state, isolations=MappingProxyType({**state.isolations, component: one}))
        return self._commanded(state, services, "isolate", actor, self._redactor.text(how.reason))

    def _released(self, state: State, component: str, command: CircuitCommand, actor: str) -> tuple[State, list[Record]]:
        left, services = without(state.isolations, component)
        return self._commanded(replace(state, isolations=left), services, command, actor)

    def _commanded(
        self, state: State, services: Iterable[str], command: CircuitCommand, actor: str, reason: str = ""
    ) -> tuple[State, list[Record]]:
        said: list[Record] = []
        for service in services:
            after = commanded(state.services, service, command, actor, self._clock.now(), reason=reason)
            if after is not None:
                state = replace(state, services=after)
                said.append(self._circuit_event(after.circuits[service]))
        return state, said

    def _cut_off(self, state: State, records: Sequence[ErrorRecord]) -> tuple[State, list[Record]]:
        """Isolates what has an error of a kind that asks for it, if that is a service or a process."""
        said: list[Record] = []
        policy = state.settings.isolation
        for one in records:
            if not is_below(one.kind, policy.kinds) or one.component in state.isolations:
                continue
            if one.component in state.settings.services or one.component in state.settings.processes:
                how = HowIsolated(
                    f"{one.kind}: {one.message[:200]}", policy.release_after_s, stop_processes=policy.stop_processes
                )
                state, changes = self._isolated(state, one.component, BY_ITSELF, how)
                said += changes
        return state, said

    def _processes(self, state: State, name: str, status: ProcessStatus | None) -> dict[str, ProcessStatus]:
        if status is None:
            return {other: known for other, known in state.processes.items() if other != name}
        clean = self._redactor.text
        shown = replace(
            status, why=clean(status.why), needs_you=clean(status.needs_you), command=tuple(map(clean, status.command))
        )
        return {**state.processes, name: shown}

    def _ruled(self, state: State, standing: Standing) -> Standing:
        now, now_s = self._clock.now(), self._clock.monotonic()
        found = circumstances(state.services, state.tally, now, now_s)
        found.level_age_s = max((now - standing.since).total_seconds(), 0.0)
        chosen = state.settings.degradation
        policy = LevelPolicy(chosen.auto_degrade, chosen.auto_recover, chosen.recover_after_s)
        return followed(standing, demands(state.rules, found), policy, now, now_s)

    def _moved(self, state: State, standing: Standing) -> tuple[State, list[Record]]:
        """The state with another standing; another level is an event."""
        before = state.standing
        if standing is before:
            return state, []
        state = replace(state, standing=standing)
        if standing.level is before.level:
            return state, []
        by = "person" if standing.pinned else "rules"
        change = {"from": before.level.name, "to": standing.level.name, "cause": standing.cause, "by": by}
        return state, [self.event(EventType.LEVEL_CHANGED, "level", **change, latched=standing.latched)]

    def _tallied(self, state: State, records: list[ErrorRecord]) -> State:
        counts = Counter(name for one in records for name in {one.component, one.kind.partition(".")[0]} & state.counted)
        if not counts:
            return state
        new = [(name, Count(errors=number)) for name, number in counts.items()]
        return replace(state, tally=state.tally.with_counts(new, self._clock.monotonic()))

    def _beat(self, state: State, beat: Heartbeat) -> tuple[State, list[Record]]:
        now, now_s = self._clock.now(), self._clock.monotonic()
        agents, news = beaten(state.agents, beat, now, now_s)
        said: list[Record] = [self.event(news, beat.agent, pid=beat.pid)] if news else []
        told = tuple(replace(one, because=self._redactor.text(one.because)) for one in beat.circuits)
        services, changed = heard(state.services, replace(beat, circuits=told), now)
        said += [self._circuit_event(circuit) for circuit in changed]
        said += [
            self.event(
                EventType.AUDIT, one.service, agent=beat.agent, operation=one.operation, allowed=one.allowed, refused=one.refused
            )
            for one in beat.audit
        ]
        counts = [(name, count) for name, count in counted(state.services, services) if name in state.counted]
        tally = state.tally.with_counts(counts, now_s) if counts else state.tally
        doing = tuple(replace(one, because=self._redactor.text(one.because)) for one in beat.loops)
        running = loops.heard(state.loops, replace(beat, loops=doing), now)
        answered = tuple(replace(one, what=self._redactor.text(one.what)) for one in beat.orders)
        given = orders.heard(state.orders, replace(beat, orders=answered)) if answered else state.orders
        return replace(state, agents=agents, services=services, tally=tally, loops=running, orders=given), said

    def _circuit_event(self, circuit: ServiceCircuit) -> EventRecord:
        said = circuit.view(self._clock.now())
        kept_of_it = {name: said[name] for name in ("because", "agent", "retry_after_s", "counts")}
        return self.event(_CIRCUIT_EVENTS[circuit.state], circuit.name, **kept_of_it)


def _alive(state: State) -> set[AgentKey]:
    return {(agent.name, agent.pid) for agent in state.agents.values() if agent.alive}
