"""What the journal is to hold of what happens: events, without secrets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from resilience.alerting.alerts import Alert, Telling
from resilience.clock import Clock, as_text
from resilience.core.services import ServiceCircuit
from resilience.events import EventType
from resilience.healing.heals import Heal, HealState
from resilience.journal.schema import EventRecord
from resilience.recovery.plans import Recovery
from resilience.redaction import Redactor

_OF_CIRCUITS: Final = {
    "OPEN": EventType.CIRCUIT_OPENED, "HALF_OPEN": EventType.CIRCUIT_HALF_OPEN, "CLOSED": EventType.CIRCUIT_CLOSED,
    "ISOLATED": EventType.CIRCUIT_ISOLATED,
}  # fmt: skip
_TOLD_OF_CIRCUITS: Final = ("because", "agent", "retry_after_s", "counts")
_OF_HEALS: Final = {
    HealState.WAITING: EventType.HEAL_WAITING, HealState.RUNNING: EventType.HEAL_STARTED,
    HealState.ESCALATED: EventType.HEAL_ESCALATED,
    **dict.fromkeys(
        (HealState.HEALED, HealState.FAILED, HealState.REJECTED, HealState.EXPIRED, HealState.INTERRUPTED), EventType.HEAL_ENDED
    ),
}  # fmt: skip
_TOLD_OF_HEALS: Final = (
    "rule", "action", "attempt", "trigger", "diagnosis", "result", "verification", "side_effects", "seconds", "actor",
)  # fmt: skip


class Records:
    """Makes the records of events."""

    def __init__(self, redactor: Redactor, clock: Clock) -> None:
        self._redactor, self._clock = redactor, clock

    def event(self, kind: EventType, component: str, **body: Any) -> EventRecord:
        """The record of an event that happens now."""
        said = self._redactor.value(body)
        return EventRecord(as_text(self._clock.now()), kind.value, self._redactor.text(component), msgspec.json.encode(said))

    def of_circuit(self, circuit: ServiceCircuit) -> EventRecord:
        """The record of a circuit that has changed."""
        said = circuit.view(self._clock.now())
        return self.event(_OF_CIRCUITS[circuit.state], circuit.name, **{name: said[name] for name in _TOLD_OF_CIRCUITS})

    def of_heal(self, heal: Heal) -> Iterator[EventRecord]:
        """The record of where a heal stands, where that is an event."""
        if heal.state in _OF_HEALS:
            said = heal.view()
            told = {name: said[name] for name in _TOLD_OF_HEALS}
            yield self.event(_OF_HEALS[heal.state], heal.target, heal=heal.id, outcome=heal.state.value, **told)

    def of_recovery(self, one: Recovery) -> EventRecord:
        """The record of a recovery that has begun, or ended."""
        kind = EventType.RECOVERY_STARTED if one.is_open else EventType.RECOVERY_ENDED
        steps = [{"do": step.do.value, "target": step.target, "state": step.state.value} for step in one.steps]
        return self.event(
            kind, one.target or "system", recovery=one.id, level=one.level.value, actor=one.actor, outcome=one.state.value,
            result=one.result, steps=steps,
        )  # fmt: skip

    def of_undelivered(self, alert: Alert, telling: Telling) -> EventRecord:
        """The record of a message that did not arrive."""
        return self.event(
            EventType.ALERT_UNDELIVERED, telling.channel, alert=alert.id, title=alert.cause.title, why=telling.why,
            attempts=telling.attempts,
        )  # fmt: skip
