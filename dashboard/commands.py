"""What people command or ask for by name, from the API and from the pages alike; commands are on disk when they return."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Final, TypeVar

from flask import g, request

from dashboard.access import Access
from dashboard.present.leaving import leaving_preview
from dashboard.problems import Problem
from resilience.alerting.alerts import Alert, AlertState
from resilience.alerting.incidents import BEFORE, Incident, of_alert
from resilience.alerting.silences import LONGEST_SNOOZE
from resilience.clock import as_text
from resilience.core.core import Core
from resilience.core.inputs import ConfirmationNeededError, HowIsolated, TooLateError
from resilience.degradation.levels import DegradationLevel
from resilience.events import Event
from resilience.healing.heals import Heal, HealState
from resilience.processes.output import Piece
from resilience.processes.supervisor import Supervisor

_COMMIT_S: Final = 10.0
_LONGEST_SNOOZE_S: Final = int(LONGEST_SNOOZE.total_seconds())
T = TypeVar("T")


class Commands:
    """What the current request's sender has done; who that is, and from where, goes into the audit log."""

    def __init__(self, core: Core, access: Access, supervisor: Supervisor) -> None:
        self._core, self._access, self._supervisor = core, access, supervisor

    def level(self, word: str, confirm: str | None = None) -> None:
        """Pins the level that ``word`` names, or hands the choice back to the rules (``auto``).

        Raises:
            Problem: 422, there is no such level; 409, leaving Safe Mode takes a confirmation and there is none, which is
                then in the answer, with what leaving will do.
        """
        try:
            chosen = None if word.lower() == "auto" else DegradationLevel.named(word)
        except ValueError as error:
            raise Problem(422, "No such level", f"{error}; or auto.", field="level") from error
        now = self._core.state
        confirmed = self._access.confirmed(now.standing.since, confirm)
        try:
            self._core.set_level(chosen, actor=actor(), origin=origin(), confirmed=confirmed).result(_COMMIT_S)
        except ConfirmationNeededError:
            raise Problem(
                409, "Confirm first", "Leaving Safe Mode takes a confirmation: send it again with this token.",
                preview=leaving_preview(now, chosen), confirm=self._access.confirmation(now.standing.since),
            ) from None  # fmt: skip

    def circuit(self, service: str, command: str, how: HowIsolated | None = None) -> None:
        """Isolates, releases or resets a circuit; what is isolated may be a zone or a process, too.

        Raises:
            Problem: 404, there is no such circuit; 422, there is no such command.
        """
        match command:
            case "isolate" | "release" | "reset":
                done = self._core.switch_circuit(service[:200], command, actor=actor(), origin=origin(), how=how)
            case _:
                raise Problem(422, "No such command", "It is isolate, release or reset.", field="command")
        try:
            done.result(_COMMIT_S)
        except KeyError as error:
            raise Problem(404, "No such circuit", f"No agent has told of a service {service!r}.", field="service") from error

    def process(self, name: str, command: str) -> None:
        """Starts, stops or restarts a process.

        Raises:
            Problem: 404, there is no such process; 422, there is no such command.
        """
        match command:
            case "start" | "stop" | "restart":
                try:
                    done = self._supervisor.command(name, command, actor=actor(), origin=origin())
                except KeyError:
                    raise _no_process(name) from None
                done.result(_COMMIT_S)
            case _:
                raise Problem(422, "No such command", "It is start, stop or restart.", field="command")

    def output(self, name: str) -> str:
        """The last of a process's output, as text.

        Raises:
            Problem: 404, there is no such process.
        """
        try:
            return self._supervisor.output(name)
        except KeyError:
            raise _no_process(name) from None

    def output_after(self, name: str, mark: str = "") -> Piece:
        """What a process has written since ``mark`` was given; without one, the last of it.

        Raises:
            Problem: 404, there is no such process.
        """
        try:
            return self._supervisor.output_after(name, mark[:100])
        except KeyError:
            raise _no_process(name) from None

    def error(self, error_id: int) -> Event:
        """The error of that id.

        Raises:
            Problem: 404, there is none, or it is too old to be kept.
        """
        found = self._core.history.error(error_id)
        if found is None:
            raise Problem(404, "No such error", f"There is no error {error_id}, or it is too old to be kept.")
        return found

    def heal(self, number: int) -> Heal:
        """The heal of that number.

        Raises:
            Problem: 404, there is none, or it is too old to be kept.
        """
        return _found(self._core.state.heals, number, "heal")

    def alert(self, number: int) -> Alert:
        """The alert of that number.

        Raises:
            Problem: 404, there is none, or it is too old to be kept.
        """
        return _found(self._core.state.alerts, number, "alert")

    def incident(self, number: int) -> tuple[Incident, list[Event]]:
        """The incident that the alert of that number belongs to, and what the journal has of that time.

        Raises:
            Problem: 404, there is none, or it is too old to be kept.
        """
        try:
            found = of_alert(self._core.state.alerts.values(), number)
        except KeyError:
            raise Problem(
                404, "No such incident", f"There is no incident {number}, or it is too old to be kept.", field="id"
            ) from None
        since, until = as_text(found.began - BEFORE), as_text(found.ended or self._core.clock.now())
        return found, self._core.history.between(since, until, found.touched)

    def decide_alert(self, number: int, decision: str, for_s: float) -> None:
        """Acknowledges an alert, or has it silent for ``for_s`` seconds (0: not any more).

        Raises:
            Problem: 404, there is no such alert; 409, it is acknowledged already, or resolved; 422, there is no such decision.
        """
        alert = self.alert(number)
        match decision:
            case "ack":
                done = self._core.decide_alert(alert.id, "acknowledge", actor=actor(), origin=origin())
            case "snooze":
                done = self._core.decide_alert(alert.id, "snooze", actor=actor(), origin=origin(), for_s=_snooze_s(for_s))
            case _:
                raise Problem(422, "No such decision", "It is ack or snooze.", field="decision")
        _in_time(done)

    def acknowledge_alerts(self) -> int:
        """Acknowledges all alerts that wait for somebody; returns how many those were."""
        waiting = [one.id for one in self._core.state.alerts.values() if one.state is AlertState.OPEN]
        done = [self._core.decide_alert(one, "acknowledge", actor=actor(), origin=origin()) for one in waiting]
        for one in done:
            with suppress(TooLateError, KeyError):  # it was just seen to, or is over
                one.result(_COMMIT_S)
        return len(waiting)

    def snooze_alerts(self, for_s: float) -> None:
        """Has nobody told of anything but what is FATAL, for so many seconds; 0: tells again.

        Raises:
            Problem: 422, it is too long, or no time.
        """
        self._core.snooze_alerts(_snooze_s(for_s), actor=actor(), origin=origin()).result(_COMMIT_S)

    def test_channel(self, channel: str, wait_s: float = 0.0) -> Alert:
        """Has a channel say that this is a test; the alert whose telling says what comes of it.

        Args:
            wait_s: how long to wait for that.

        Raises:
            Problem: 422, there is no such channel, or it is off.
        """
        try:
            self._core.test_channel(channel, actor=actor(), origin=origin()).result(_COMMIT_S)
        except ValueError as error:
            raise Problem(422, "It cannot be tested", f"{error}.", field="channel") from error
        about, end_s = f"test:{channel}", self._core.clock.monotonic() + wait_s
        state = self._core.state
        while True:
            alert = next(one for one in reversed([*state.alerts.values()]) if one.cause.about == about)
            left_s = end_s - self._core.clock.monotonic()
            if left_s <= 0 or all(one.why for one in alert.tellings):
                return alert
            state = self._core.wait_for_change(state.version, left_s)

    def decide(self, number: int, decision: str, confirm: str | None) -> None:
        """Approves, rejects or dismisses a heal.

        Raises:
            Problem: 404, there is no such heal; 409, it does not wait for that, or approving takes a confirmation and there
                is none, which is then in the answer; 422, there is no such decision.
        """
        heal = self.heal(number)
        match decision:
            case "approve" if heal.state is HealState.WAITING and not self._access.confirmed(heal.at, confirm):
                raise Problem(
                    409, "Confirm first", "Approving a heal takes a confirmation: send it again with this token.",
                    preview=heal.view(), confirm=self._access.confirmation(heal.at),
                )  # fmt: skip
            case "approve" | "reject" | "dismiss":
                done = self._core.decide_heal(number, decision, actor=actor(), origin=origin())
            case _:
                raise Problem(422, "No such decision", "It is approve, reject or dismiss.", field="decision")
        _in_time(done)


def _found(parts: Mapping[int, T], number: int, kind: str) -> T:
    if number not in parts:
        raise Problem(404, f"No such {kind}", f"There is no {kind} {number}, or it is too old to be kept.", field="id")
    return parts[number]


def _in_time(done: Future[list[int]]) -> None:
    """Waits until a decision is on disk, if it did not come too late."""
    try:
        done.result(_COMMIT_S)
    except TooLateError as error:
        raise Problem(409, "Too late", f"{error}.", field="id") from error


def _snooze_s(for_s: float) -> float:
    if for_s and not 60 <= for_s <= _LONGEST_SNOOZE_S:
        raise Problem(422, "No such time", f"It is 60 to {_LONGEST_SNOOZE_S} seconds, or 0 to be told again.", field="for_s")
    return for_s


def actor() -> str:
    return "command line" if g.identity == "operator" else "dashboard"


def origin() -> str:
    return request.remote_addr or ""


def _no_process(name: str) -> Problem:
    return Problem(404, "No such process", f"No process {name[:200]!r} is configured.", field="name")
