"""What the control plane makes of alerts (§8): what is worth one, who is told, what became of it, and what people decide.

Nothing here waits, writes or tells; it is a part of ``decisions``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from msgspec.structs import replace

from resilience.alerting.alerts import Alert, AlertState, Telling, TellingState, with_alerts
from resilience.alerting.channels import is_here
from resilience.alerting.routing import Routing
from resilience.alerting.silences import Scene
from resilience.clock import Clock
from resilience.core import causes
from resilience.core.inputs import AlertDecision, Sending, Snooze, TellingTold, TestMessage, TooLateError
from resilience.core.records import Records
from resilience.core.state import State
from resilience.events import EventType
from resilience.journal.schema import Record
from resilience.redaction import Redactor

_SETTLED_S: Final = 60.0
"""After so long a WinClaw knows of all that lasts, whatever it was that an earlier one saw."""


class AlertDecisions:
    """The decisions on alerts.

    Args:
        records: makes what the journal is to hold. redactor: takes secrets out of all that is kept.
    """

    def __init__(self, records: Records, redactor: Redactor, clock: Clock) -> None:
        self._records, self._redactor, self._clock = records, redactor, clock
        self._begun_s = clock.monotonic()

    def decide(
        self, state: State, an_input: Sending | TellingTold | AlertDecision | Snooze | TestMessage
    ) -> tuple[State, list[Record]]:
        """The state after ``an_input``, and the records that it makes.

        Raises:
            KeyError: there is no such alert. TooLateError: it does not wait for that. ValueError: that channel is not on.
        """
        match an_input:
            case Sending() | TellingTold():
                return self._telling(state, an_input)
            case AlertDecision():
                return self._decided(state, an_input)
            case Snooze():
                return self._snoozed(state, an_input)
            case TestMessage():
                return self._tested(state, an_input)

    def look(self, before: State, state: State, records: Sequence[Record], *, looked: bool) -> State:
        """The state after what is new in it, and in what is to be written, was looked at for what is worth an alert (§8).

        Args:
            looked: that this was a look at the clock, too.
        """
        is_other = looked or not causes.are_same(before, state)
        happened = [*causes.happened(records, state.settings)]
        if not is_other and not happened:  # most turns: a heartbeat, what became of a message
            return state
        routing = self._routing(state)
        if is_other:
            # What an earlier WinClaw saw, this one may have yet to see.
            all_known = self._clock.monotonic() - self._begun_s >= _SETTLED_S
            routing.lasting(causes.lasting(state), all_known=all_known)
        for cause, times in happened:
            routing.happened(cause, times)
        if looked:
            routing.looked()
            state = self._tidied(state)
        after = routing.after()
        return state if after is state.alerts else replace(state, alerts=after)

    def _tidied(self, state: State) -> State:
        """Without a snooze that is over, and without channels that are off."""
        if state.snoozed_until is not None and state.snoozed_until <= self._clock.now():
            state = replace(state, snoozed_until=None)
        off = [name for name in state.undelivered if not state.settings.alerting.tells_by(name)]
        if off:
            left = {name: why for name, why in state.undelivered.items() if name not in off}
            state = replace(state, undelivered=MappingProxyType(left))
        return state

    def _routing(self, state: State) -> Routing:
        scene = Scene(self._clock.now(), self._clock.monotonic(), causes.down(state), state.offered, state.snoozed_until)
        return Routing(state.alerts, state.settings.alerting, scene)

    def _telling(self, state: State, told: Sending | TellingTold) -> tuple[State, list[Record]]:
        """Where messages stand. Those that are none any more, because others needed their room, are passed over."""
        said: list[Record] = []
        keys, waiting = frozenset(told.keys), dict[str, tuple[Alert, Telling]]()
        for number in {int(key.partition("-")[0]) for key in keys}:
            if (alert := state.alerts.get(number)) is not None:
                waiting.update({one.key: (alert, one) for one in alert.open_tellings if one.key in keys})
        changed: dict[int, Alert] = {}
        channel = ""
        for alert in {alert.id: alert for alert, _ in waiting.values()}.values():
            after = [self._now_stands(one, told) for of, one in waiting.values() if of is alert]
            changed[alert.id], channel = alert.told(*after), after[0].channel
            said += [self._records.of_undelivered(alert, one) for one in after if one.state is TellingState.FAILED and not said]
        if not changed or (isinstance(told, Sending) and len(waiting) < len(keys)):
            raise TooLateError(f"{', '.join(told.keys)}: not to be sent any more")
        if isinstance(told, TellingTold) and told.delivered is not None:
            why = None if told.delivered else self._redactor.text(told.why)
            if state.undelivered.get(channel) != why:
                others = {name: one for name, one in state.undelivered.items() if name != channel}
                state = replace(state, undelivered=MappingProxyType(others if why is None else {**others, channel: why}))
        return replace(state, alerts=with_alerts(state.alerts, changed)), said

    def _now_stands(self, telling: Telling, told: Sending | TellingTold) -> Telling:
        now = self._clock.now()
        if isinstance(told, Sending):
            return telling.sending(now, told.digest)
        return telling.heard(now, delivered=told.delivered, why=self._redactor.text(told.why))

    def _snoozed(self, state: State, asked: Snooze) -> tuple[State, list[Record]]:
        until = self._end_of(asked)
        word = f"snooze all alerts for {asked.for_s:g} s" if until else "unsnooze all alerts"
        said = self._records.event(EventType.COMMAND, "alerts", asked=word, actor=asked.actor, origin=asked.origin)
        return replace(state, snoozed_until=until), [said]

    def _end_of(self, snooze: Snooze | AlertDecision) -> datetime | None:
        """Until when nobody is told; None: people are told again."""
        return self._clock.now() + timedelta(seconds=snooze.for_s) if snooze.for_s > 0 else None

    def _tested(self, state: State, asked: TestMessage) -> tuple[State, list[Record]]:
        channel, channels = asked.channel, state.settings.alerting.channels.by_name
        if not state.settings.alerting.enabled:
            raise ValueError("nobody is told of anything; set alerting.enabled to true")
        if channel not in channels:
            raise ValueError(f"there is no channel {channel!r}; there are {', '.join(channels)}")
        if not state.settings.alerting.tells_by(channel):
            raise ValueError(f"{channel} is off; set alerting.channels.{channel}.enabled to true")
        if not is_here(channel, state.offered):
            raise ValueError("there is no desktop here that could show it, or tray.toasts is off")
        said = self._records.event(EventType.COMMAND, "alerts", asked=f"test {channel}", actor=asked.actor, origin=asked.origin)
        routing = self._routing(state)
        routing.test(channel)
        return replace(state, alerts=routing.after()), [said]

    def _decided(self, state: State, asked: AlertDecision) -> tuple[State, list[Record]]:
        alert = state.alerts[asked.id]
        if alert.state is not AlertState.OPEN:
            raise TooLateError(f"alert {alert.id} is {alert.state.value}; there is nothing to {asked.decision}")
        word = f"{asked.decision if asked.for_s or asked.decision != 'snooze' else 'unsnooze'} alert {alert.id}"
        said = self._records.event(EventType.COMMAND, alert.cause.component, asked=word, actor=asked.actor, origin=asked.origin)
        routing = self._routing(state)
        if asked.decision == "acknowledge":
            routing.acknowledge(alert.id, asked.actor, asked.origin)
        else:
            routing.snooze(alert.id, self._end_of(asked))
        return replace(state, alerts=routing.after()), [said]
