"""What the control plane makes of each input: the state after it, and what the journal is to hold of it.

Nothing here waits, writes or tells; ``core`` does, with what comes out. Time comes from the clock that is passed in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Final, TypeVar

from msgspec.structs import replace

from resilience.classification.classifier import ErrorClassifier
from resilience.clock import Clock, as_text
from resilience.core import notices, orders
from resilience.core.alerting import AlertDecisions
from resilience.core.caring import cared
from resilience.core.configuring import configured, troubled
from resilience.core.inputs import (
    AlertDecision,
    Announcement,
    CareTold,
    Choice,
    ConfigTroubled,
    Configuration,
    ConfirmationNeededError,
    Errors,
    HealDecision,
    HealTold,
    HowIsolated,
    Input,
    Look,
    Noticed,
    Offered,
    OrderGiven,
    ProbeTold,
    ProcessTold,
    RecoveryTold,
    Sending,
    Snooze,
    Switch,
    TellingTold,
    TestMessage,
    TooLateError,
    Waiting,
)
from resilience.core.intake import record_of
from resilience.core.presence import beaten, fallen_silent
from resilience.core.records import Records
from resilience.core.services import (
    MAX_SERVICES,
    CircuitCommand,
    circumstances,
    commanded,
    counted,
    heard,
    left_alone,
    only_probed,
    probed,
    silent,
)
from resilience.core.state import State
from resilience.degradation.health import Count
from resilience.degradation.levels import DegradationLevel, Standing, choose, followed
from resilience.degradation.rules import demands
from resilience.errors import is_below
from resilience.events import EventType, Heartbeat
from resilience.healing.heals import Heal, HealState, with_heal
from resilience.isolation.isolated import BY_ITSELF, Isolated, members, without
from resilience.journal.schema import ErrorRecord, Record
from resilience.processes.status import ProcessStatus
from resilience.recovery.plans import Recovery, with_recovery
from resilience.redaction import Redactor

K = TypeVar("K")
V = TypeVar("V")
_DECIDED: Final = {
    "approve": (HealState.WAITING, HealState.APPROVED), "reject": (HealState.WAITING, HealState.REJECTED),
    "dismiss": (HealState.ESCALATED, HealState.DISMISSED),
}  # fmt: skip


class Decisions:
    """The decisions on inputs.

    Args:
        classifier: how reported errors are judged. redactor: takes secrets out of all that is kept.
    """

    def __init__(self, classifier: ErrorClassifier, redactor: Redactor, clock: Clock) -> None:
        self._classifier, self._redactor, self._clock = classifier, redactor, clock
        self._begun_s = clock.monotonic()
        self.records = Records(redactor, clock)
        self.alerts = AlertDecisions(self.records, redactor, clock)

    def decide(self, state: State, an_input: Input) -> tuple[State, list[Record]]:
        """The state after ``an_input``, and the records that it makes.

        Raises:
            ConfirmationNeededError: Safe Mode would be left without one. KeyError: there is no such circuit, or heal.
            TooLateError: that heal does not wait for such a decision. ValueError: that channel is not on.
        """
        now = self._clock.now()
        match an_input:
            case Errors(reports):
                records = [record_of(report, self._classifier, self._redactor, now) for report in reports]
                names = Counter(name for one in records for name in {one.component, one.kind.partition(".")[0]})
                state = self._tallied(state, [(name, Count(errors=number)) for name, number in names.items()])
                state, changes = self._cut_off(state, records)
                return state, [*records, *changes]
            case Heartbeat():
                return self._beat(state, an_input)
            case Switch():
                return self._switched(state, an_input)
            case Choice():
                return self._chosen(state, an_input)
            case Configuration():
                return configured(state, an_input, self.records, now, self._clock.monotonic())
            case ConfigTroubled(trouble):
                return troubled(state, trouble, self.records)
            case Noticed(name, notice):
                left = notices.without(state.notices, name)
                return replace(state, notices=left if notice is None else (*left, notice)), []
            case Announcement(kind, component, body):
                return state, [self.records.event(kind, component, **body)]
            case Waiting(channels):
                return replace(state, waiting=channels), []
            case ProcessTold(name, status):
                return replace(state, processes=_put(state.processes, name, status and self._clean(status))), []
            case ProbeTold():
                return self._probed(state, an_input)
            case HealTold(heal):
                return self._heal(state, heal)
            case HealDecision():
                return self._heal_decided(state, an_input)
            case RecoveryTold(recovery):
                return self._recovery(state, recovery)
            case Sending() | TellingTold() | AlertDecision() | Snooze() | TestMessage():
                return self.alerts.decide(state, an_input)
            case Offered(channel, offered):
                return replace(state, offered=state.offered | {channel} if offered else state.offered - {channel}), []
            case CareTold(done):
                return cared(state, done, self.records)
            case OrderGiven(key, order):
                return replace(state, orders=_put(state.orders, key, order)), []
            case Look():
                return self._looked(state)

    def judge(self, state: State) -> tuple[State, list[Record]]:
        """The state after a look at the rules for the level (§5.2)."""
        return self._moved(state, self._ruled(state, state.standing))

    def follow(self, state: State, standing: Standing) -> tuple[State, list[Record]]:
        """The state with a standing that was decided on elsewhere."""
        return self._moved(state, standing)

    def _switched(self, state: State, asked: Switch) -> tuple[State, list[Record]]:
        service, command, actor = asked.service, asked.command, asked.actor
        said = self.records.event(EventType.COMMAND, service, asked=command, actor=actor, origin=asked.origin)
        if command == "isolate":
            state, changes = self._isolated(state, service, actor, asked.isolation)
        elif service in state.isolations and (command == "release" or service in state.services.circuits):
            state, changes = self._released(state, service, command, actor)
        elif service not in state.services.circuits:
            raise KeyError(service)
        else:
            state, changes = self._commanded(state, (service,), command, actor)
        return state, [said, *changes]

    def _chosen(self, state: State, asked: Choice) -> tuple[State, list[Record]]:
        level, actor = asked.level, asked.actor
        if state.standing.level is DegradationLevel.SAFE_MODE is not level and not asked.confirmed:
            raise ConfirmationNeededError
        word = level.name if level else "AUTO"
        said = self.records.event(EventType.COMMAND, "level", asked=word, actor=actor, origin=asked.origin)
        chosen = choose(state.standing, level, actor=actor, now=self._clock.now())
        if chosen.wanted.counts_since != state.standing.wanted.counts_since:  # released: counts begin anew
            state = replace(state, tally=state.tally._replace(buckets={}))
        state, changes = self._moved(state, self._ruled(state, chosen))
        return state, [said, *changes]

    def _probed(self, state: State, told: ProbeTold) -> tuple[State, list[Record]]:
        service = told.service
        if service not in state.settings.probed:  # taken out of the configuration while it looked
            return state, []
        found = replace(told.found, what=self._redactor.text(told.found.what))
        services, changed = probed(
            state.services, service, found, self._clock.now(), has_circuit=service in state.settings.services
        )
        return replace(state, services=services), [self.records.of_circuit(changed)] if changed is not None else []

    def _heal_decided(self, state: State, asked: HealDecision) -> tuple[State, list[Record]]:
        heal, (needed, becomes) = state.heals[asked.id], _DECIDED[asked.decision]
        if heal.state is not needed:
            raise TooLateError(f"heal {heal.id} is {heal.state.value}; there is nothing to {asked.decision}")
        word = f"{asked.decision} heal {heal.id}"
        said = self.records.event(EventType.COMMAND, heal.target, asked=word, actor=asked.actor, origin=asked.origin)
        decided = replace(heal, state=becomes, actor=asked.actor)
        if not decided.is_open:
            decided = replace(decided, ended=decided.ended or self._clock.now())
        state, changes = self._heal(state, decided)
        return state, [said, *changes]

    def _looked(self, state: State) -> tuple[State, list[Record]]:
        """What time alone brings about: agents are lost, isolations end, circuits that nobody probes any more close."""
        now, now_s, said = self._clock.now(), self._clock.monotonic(), list[Record]()
        lost_after_s = state.settings.agents.lost_after_s
        agents, lost = fallen_silent(state.agents, now_s, now, lost_after_s)
        state = replace(state, agents=agents) if lost else state
        for name in [name for name, one in state.isolations.items() if one.until is not None and one.until <= now]:
            state, changes = self._released(state, name, "release", "WinClaw, for its time is over")
            said += changes
        for agent in lost:
            services = silent(state.services, (agent.name, agent.pid))
            state = replace(state, services=services)
            said.append(self.records.event(EventType.AGENT_LOST, agent.name, pid=agent.pid, last_beat=as_text(agent.beat_at)))
        services, changed = only_probed(state.services, state.settings.probed, now)
        if now_s - self._begun_s > lost_after_s:  # those that are there have had the time to say so
            services, closed = left_alone(services, now)
            changed += closed
        if services is not state.services:
            state = replace(state, services=services)
        return state, [*said, *map(self.records.of_circuit, changed)]

    def _heal(self, state: State, heal: Heal) -> tuple[State, list[Record]]:
        clean = self._redactor.text
        heal = replace(heal, trigger=clean(heal.trigger), result=clean(heal.result), verification=clean(heal.verification))
        state = replace(state, heals=with_heal(state.heals, heal))
        said: list[Record] = list(self.records.of_heal(heal))
        for name in {heal.target, heal.diagnosis.component} if heal.state is HealState.HEALED else ():
            if name in state.isolations and state.isolations[name].until_healed:
                state, changes = self._released(state, name, "release", f"heal {heal.id}")
                said += changes
        return state, said

    def _recovery(self, state: State, told: Recovery) -> tuple[State, list[Record]]:
        clean = self._redactor.text
        steps = tuple(replace(one, result=clean(one.result)) for one in told.steps)
        told = replace(told, steps=steps, result=clean(told.result))
        is_news = told.id not in state.recoveries or not told.is_open
        state = replace(state, recoveries=with_recovery(state.recoveries, told))
        return state, [self.records.of_recovery(told)] if is_news else []

    def _isolated(self, state: State, component: str, actor: str, how: HowIsolated) -> tuple[State, list[Record]]:
        now = self._clock.now()
        services, processes = members(state.settings, component)
        one = Isolated(
            component=component, reason=self._redactor.text(how.reason or f"isolated by {actor}"), actor=actor, since=now,
            until=now + timedelta(seconds=how.for_s) if how.for_s is not None else None, until_healed=how.until_healed,
            services=services, processes=processes if how.stop_processes else (),
        )  # fmt: skip
        if len(state.isolations) < MAX_SERVICES or component in state.isolations:
            state = replace(state, isolations=_put(state.isolations, component, one))
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
                said.append(self.records.of_circuit(after.circuits[service]))
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

    def _clean(self, status: ProcessStatus) -> ProcessStatus:
        clean = self._redactor.text
        return replace(
            status, why=clean(status.why), needs_you=clean(status.needs_you), command=tuple(map(clean, status.command))
        )

    def _ruled(self, state: State, standing: Standing) -> Standing:
        now, now_s = self._clock.now(), self._clock.monotonic()
        found = circumstances(state.services, state.tally, now, now_s)
        found.level_age_s = max((now - standing.since).total_seconds(), 0.0)
        return followed(standing, demands(state.rules, found), state.settings.degradation, now, now_s)

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
        return state, [self.records.event(EventType.LEVEL_CHANGED, "level", **change, latched=standing.latched)]

    def _tallied(self, state: State, counts: Iterable[tuple[str, Count]]) -> State:
        """The state with those of ``counts`` added for which some rule asks."""
        asked_for = state.counted
        new = [(name, count) for name, count in counts if name in asked_for]
        return replace(state, tally=state.tally.with_counts(new, self._clock.monotonic())) if new else state

    def _beat(self, state: State, beat: Heartbeat) -> tuple[State, list[Record]]:
        now, now_s, clean = self._clock.now(), self._clock.monotonic(), self._redactor.text
        beat = replace(
            beat,
            circuits=tuple(replace(one, because=clean(one.because)) for one in beat.circuits),
            loops=tuple(replace(one, because=clean(one.because)) for one in beat.loops),
            orders=tuple(replace(one, what=clean(one.what)) for one in beat.orders),
        )
        agents, news = beaten(state.agents, beat, now, now_s)
        said: list[Record] = [self.records.event(news, beat.agent, pid=beat.pid)] if news else []
        services, changed = heard(state.services, beat, now)
        said += [self.records.of_circuit(circuit) for circuit in changed]
        said += [
            self.records.event(
                EventType.AUDIT, one.service, agent=beat.agent, operation=one.operation, allowed=one.allowed, refused=one.refused
            )
            for one in beat.audit
        ]
        if news is not EventType.AGENT_CONNECTED:  # what a new one counted before may be long ago
            state = self._tallied(state, counted(state.services, services))
        return replace(state, agents=agents, services=services, orders=orders.heard(state.orders, beat)), said


def _put(parts: Mapping[K, V], key: K, one: V | None) -> Mapping[K, V]:
    """``parts`` with ``one`` under ``key``; None: with nothing there."""
    left = {name: part for name, part in parts.items() if name != key} if one is None else {**parts, key: one}
    return MappingProxyType(left)
