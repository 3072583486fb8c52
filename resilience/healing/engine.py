"""The engine (§6): sees trouble, has it diagnosed, does what the rules say, and looks whether it has helped.

One thread sees; each heal has a thread of its own, so that one which waits holds up no other. A target is healed by one
heal at a time. Where every heal stands, the core knows: people's decisions come from there.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import queue
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from resilience.clock import Clock
from resilience.core.inputs import HealTold
from resilience.degradation.levels import DegradationLevel
from resilience.events import Event, EventType
from resilience.healing.heals import Heal, HealingAction, HealingResult, HealState, Tries, may_try
from resilience.healing.policy import HealingActionType
from resilience.healing.troubles import CONFIG, Case, Troubles, Values
from resilience.healing.verification import what_is_wrong

if TYPE_CHECKING:  # the library alone can import this; only an app has a core
    from resilience.core.core import Core
    from resilience.healing.actions import Actions

_MOST_WAITING: Final = 5000
_MOST_AT_ONCE: Final = 20
_LOOK_S: Final = 5.0
_COMMIT_S: Final = 10.0
_log = logging.getLogger("winclaw.healing")


class SelfHealingEngine:
    """Heals by the rules of the configuration, from ``start`` to ``stop``.

    Args:
        measure: what is measured now, by component and metric; called on the engine's threads.
        look_s: seconds between two looks at the measurements.
    """

    def __init__(
        self, core: Core, actions: Actions, measure: Callable[[], Values], clock: Clock, *, look_s: float = _LOOK_S
    ) -> None:
        self._core, self._actions, self._measure, self._clock, self._look_s = core, actions, measure, clock, look_s
        self._first = max(core.state.heals, default=0) + 1
        self._numbers = itertools.count(self._first)
        self._troubles, self._tries = Troubles(core, measure, clock), Tries()
        self._deciding = threading.Lock()
        self._healing: set[str] = set()
        self._seen: queue.Queue[Event | None] = queue.Queue(_MOST_WAITING)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._main, name="healing", daemon=True)
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Says of each heal that an earlier WinClaw has left unfinished that it was interrupted, and begins."""
        for heal in list(self._core.state.heals.values()):
            if heal.is_open:
                self._end(heal, HealState.INTERRUPTED, "WinClaw ended in the midst of it")
        self._unsubscribe = self._core.subscribe(self._heard)
        self._thread.start()

    def stop(self) -> None:
        """Ends; heals that are under way end as interrupted, here or at the next start."""
        self._unsubscribe()
        self._stopping.set()
        with contextlib.suppress(queue.Full):  # then it wakes anyhow
            self._seen.put_nowait(None)
        if self._thread.is_alive():
            self._thread.join(_COMMIT_S)

    def _heard(self, events: tuple[Event, ...], _: object) -> None:
        for event in events:
            if event.type == EventType.ERROR.value and not self._seen.full():
                self._seen.put_nowait(event)  # of a flood the first thousands are enough

    # The thread that sees.

    def _main(self) -> None:
        looked_s = self._clock.monotonic()
        while not self._stopping.is_set():
            try:
                # Each time, and first: a configuration that WinClaw itself crashes of is rolled back before it does so again.
                if (of_configuration := self._troubles.of_configuration()) is not None:
                    self._take(of_configuration)
                cases: list[Case] = []
                with contextlib.suppress(queue.Empty):
                    if (event := self._seen.get(timeout=self._look_s)) is not None:
                        cases += self._troubles.of_error(event)
                if self._clock.monotonic() - looked_s >= self._look_s:
                    looked_s = self._clock.monotonic()
                    cases += [*self._troubles.measured(), *self._troubles.unwell()]
                    self._look_at_escalated()
                for case in cases:
                    self._take(case)
            except Exception:  # a defect of ours must not end the healing of everything else
                _log.exception("the healing failed in one turn")

    def _look_at_escalated(self) -> None:
        """Takes back what was left to a person, where it is seen to be well again; without a probe nobody sees that."""
        state = self._core.state
        for heal in self._escalated():
            component = heal.diagnosis.component
            is_seen = not {heal.target, component}.isdisjoint({*state.services.probes, *state.processes})
            if is_seen and not what_is_wrong(state, None, component, heal.target):
                self._tell(replace(heal, state=HealState.DISMISSED, actor="WinClaw, for it is well again"))

    def _take(self, case: Case) -> None:
        """Begins to heal, unless that is off, or everything is, or it is being healed already."""
        state = self._core.state
        is_asked = case.followed is not None and case.rule.confirm  # what a person decides on may be done in Safe Mode, too
        if not state.settings.self_healing.enabled or (state.standing.level is DegradationLevel.SAFE_MODE and not is_asked):
            return
        with self._deciding:
            if case.target in self._healing or len(self._healing) >= _MOST_AT_ONCE:
                return
            self._healing.add(case.target)
        threading.Thread(target=self._heal, args=(case,), name=f"heal-{case.target}", daemon=True).start()

    # A heal's own thread.

    def _heal(self, case: Case) -> None:
        try:
            self._climb(case)
        except Exception as error:  # what cannot be written down is not done; any other is a defect, and a person has to know
            if not self._stopping.is_set():
                _log.exception("the heal of %s ended in the midst of it", case.target)
                with contextlib.suppress(Exception):
                    self._escalate(case, f"it ended in the midst of it ({type(error).__name__})")
        finally:
            with self._deciding:
                self._healing.discard(case.target)

    def _climb(self, case: Case) -> None:
        """Tries one action after the other until one has helped; what none could heal is left to a person."""
        tried, why = False, "everything that may be tried has been tried"
        for kind in case.rule.actions:
            if kind is HealingActionType.ESCALATE_TO_HUMAN:
                tried, why = True, "the rule asks for a person"
                break
            if not self._actions.is_possible(kind, case.target):
                continue
            policy = self._core.state.settings.self_healing
            with self._deciding:
                may = may_try(self._tries, case.rule, kind, case.target, policy, self._clock.monotonic())
            if may == "later":  # who needs it will come again
                return
            tried = True
            if may == "never":
                continue
            heal = self._try(case, kind)
            if heal.state is not HealState.FAILED:
                return
            why = heal.verification
        if tried:
            self._escalate(case, why)

    def _try(self, case: Case, kind: HealingActionType) -> Heal:
        policy, rule, target = self._core.state.settings.self_healing, case.rule, case.target
        heal = self._begun(case, kind, HealState.WAITING if rule.confirm else HealState.RUNNING)
        if rule.confirm:
            until = heal.at + timedelta(seconds=policy.approve_within_s)
            heal = self._approved(self._tell(replace(heal, until=until)), case)
            if not heal.is_open:
                return heal
        with self._deciding:
            attempt = self._tries.make(kind, target, policy.quiet_s, self._clock.monotonic())
        heal = self._tell(replace(heal, state=HealState.RUNNING, attempt=attempt))
        action = HealingAction(
            action_type=kind, target=target, requires_confirmation=rule.confirm, max_attempts=policy.attempts_of(rule),
            cooldown_seconds=policy.cooldown_of(rule), parameters=_parameters(case, heal),
        )  # fmt: skip
        runs_before = self._run_of(kind, target)
        done_s = self._clock.monotonic()
        try:
            result = self._actions.do(action)
        except Exception as error:  # whatever it was, it has not helped
            _log.warning("%s of %s failed", kind.value, target, exc_info=True)
            result = HealingResult(success=False, message=f"{type(error).__name__}: {error}")
        heal = replace(heal, result=result.message, side_effects=result.side_effects)
        if not result.success:
            return self._end(heal, HealState.FAILED, "it could not be done")
        self._tell(replace(heal, state=HealState.VERIFYING))
        outcome, seen = self._verified(case, runs_before, done_s)
        for left in self._escalated(target) if outcome is HealState.HEALED else ():
            self._tell(replace(left, state=HealState.DISMISSED, actor=f"heal {heal.id}"))
        return self._end(heal, outcome, seen)

    def _approved(self, heal: Heal, case: Case) -> Heal:
        """Waits until a person has decided, or nothing is left to decide on; the heal as it is then."""
        while not self._stopping.is_set():
            state = self._core.state
            known = state.heals[heal.id]
            if known.state is not HealState.WAITING:
                return known
            if case.is_over(state):
                return self._end(known, HealState.EXPIRED, "another configuration is in force")
            left_s = (known.until - self._clock.now()).total_seconds() if known.until is not None else 0.0
            if left_s <= 0:
                return self._end(known, HealState.EXPIRED, "nobody approved it in time")
            self._core.wait_for_change(state.version, min(left_s, 1.0))
        return self._end(heal, HealState.INTERRUPTED, "WinClaw was quit")

    def _verified(self, case: Case, runs_before: int | None, done_s: float) -> tuple[HealState, str]:
        """Waits until the target is well and stays so for a while, or the time for that is over."""
        rule, component, end_s = case.rule, case.diagnosis.component, done_s + case.rule.verify_s
        well_s: float | None = None
        while not self._stopping.is_set():
            state, now_s = self._core.state, self._clock.monotonic()
            values = self._measure() if rule.measurement is not None else {}
            wrong = what_is_wrong(state, rule, component, case.target, runs_before, values) or case.what_is_wrong(state)
            well_s = None if wrong else well_s if well_s is not None else now_s
            if well_s is not None:
                again_s = self._troubles.last_s(rule, component)
                if again_s is not None and again_s > well_s:
                    wrong, well_s = "the same error came again", None
                elif now_s - well_s >= rule.settle_s:
                    quiet = f", and no such error for {rule.settle_s:g} s" if rule.settle_s and rule.measurement is None else ""
                    return HealState.HEALED, f"well after {well_s - done_s:.1f} s{quiet}"
            if wrong and now_s >= end_s:
                return HealState.FAILED, f"not well after {rule.verify_s:g} s: {wrong}"
            due_s = well_s + rule.settle_s if well_s is not None else end_s
            self._core.wait_for_change(state.version, min(max(due_s - now_s, 0.01), 0.5))
        return HealState.INTERRUPTED, "WinClaw was quit before it could be seen whether it has helped"

    def _escalate(self, case: Case, why: str) -> None:
        """Leaves it to a person: not while that waits already, and not again within a quiet time of this WinClaw's."""
        state, now = self._core.state, self._clock.now()
        quiet_s, kind = state.settings.self_healing.quiet_s, HealingActionType.ESCALATE_TO_HUMAN
        asked = [
            one.at for one in state.heals.values() if one.id >= self._first and one.target == case.target and one.action is kind
        ]
        if not self._escalated(case.target) and not any(0 <= (now - at).total_seconds() < quiet_s for at in asked):
            heal = self._begun(case, kind, HealState.ESCALATED)
            self._tell(replace(heal, ended=heal.at, verification=f"{why}."))

    def _escalated(self, target: str | None = None) -> list[Heal]:
        """What is left to people now, of ``target`` or of all."""
        heals = self._core.state.heals.values()
        return [one for one in heals if one.state is HealState.ESCALATED and target in (None, one.target)]

    def _run_of(self, kind: HealingActionType, target: str) -> int | None:
        """The number of the run that a restart is to end."""
        if kind is not HealingActionType.RESTART_SERVICE:
            return None
        state = self._core.state
        process = state.processes.get(state.settings.process_of(target))
        return process.run if process is not None else None

    def _begun(self, case: Case, kind: HealingActionType, state: HealState) -> Heal:
        return Heal(
            id=next(self._numbers), rule=case.rule.name, action=kind, target=case.target, state=state, trigger=case.trigger,
            diagnosis=case.diagnosis, at=self._clock.now(),
        )  # fmt: skip

    def _end(self, heal: Heal, outcome: HealState, seen: str) -> Heal:
        return self._tell(replace(heal, state=outcome, ended=self._clock.now(), verification=seen))

    def _tell(self, heal: Heal) -> Heal:
        self._core.tell(HealTold(heal)).result(_COMMIT_S)
        return heal


def _parameters(case: Case, heal: Heal) -> Mapping[str, float | str]:
    """What an action is told besides its target."""
    told: dict[str, float | str] = {"scale": case.rule.scale, "for_s": case.rule.scale_s}
    if heal.action is HealingActionType.ROLLBACK_VERSION and case.target == CONFIG:
        told.update(heal=heal.id, approved_by=heal.actor)
        if case.followed is not None:
            told["of"] = case.followed.blamed.number
    return told
