"""A home in which every part has something to show, good and bad, with hostile texts among it; for tests of all pages."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from msgspec.structs import replace

from resilience.alerting.alerts import AlertState
from resilience.config.version import ConfigTrouble
from resilience.core.inputs import ConfigTroubled, HealTold, RecoveryTold
from resilience.events import Cause, CircuitReport, Heartbeat, LoopReport, Report
from resilience.healing.diagnosis import Diagnosis
from resilience.healing.heals import Heal, HealState
from resilience.healing.policy import HealingActionType
from resilience.home import CONFIG
from resilience.recovery.plans import Doing, Recovery, RecoveryLevel, RecoveryState, Step, StepState
from resilience.repeating import Repeating
from tests.dashboard.remembering import remembering
from tray.app import Running, running

if TYPE_CHECKING:
    from resilience.core.state import State

BAIT: Final = "<img src=x onerror=document.title='owned'>"
LONG: Final = "a-name-without-any-place-to-break-it-" * 5
TALKS: Final = "import time\nfor n in range(40): print(f'line {n} <b>not bold</b>', flush=True)\nwhile True: time.sleep(1)"
FIRST_HEAL: Final = 9001
"""Ids of the heals that are told here; those of the healing itself are smaller."""


def configuration(**more: Any) -> str:
    """What the home is configured with."""
    rules = [
        {"name": "configuration", "kinds": ["persistent.configuration"], "actions": ["reload_config"], "confirm": True, "settle_s": 0},
        {"name": "throttled", "kinds": ["transient.network.rate_limit"], "actions": ["escalate_to_human"]},
    ]  # fmt: skip
    processes = {
        "gateway": {"command": [sys.executable, "-c", TALKS], "stop_timeout_s": 5},
        "crasher": {"command": [sys.executable, "-c", "raise SystemExit('no key')"], "max_restarts": 0},
    }
    sections = {
        "agents": {"heartbeat_s": 0.5, "lost_after_s": 3},
        "processes": processes,
        "self_healing": {"rules": rules},
        "alerting": {"channels": {"webhook": {"enabled": True, "url": "http://127.0.0.1:9/", "min_priority": "P2_HIGH"}}},
        **more,
    }
    return json.dumps({"error_handling": sections})


def wait_until(winclaw: Running, holds: Callable[[State], bool]) -> None:
    """Returns as soon as the state is so."""
    state, looks = winclaw.core.state, 0
    while not holds(state):
        looks += 1
        assert looks < 60, "it has not come about"
        state = winclaw.core.wait_for_change(state.version, 1.0)


def heal(number: int, state: HealState, target: str, **more: Any) -> Heal:
    """A heal as the healing tells of it."""
    return Heal(
        id=number, rule="mine", action=HealingActionType.CLEAR_CACHE, target=target, state=state, trigger=f"3 errors: {BAIT}",
        diagnosis=Diagnosis(pattern="mine", component=target, root_cause=target, because=("it began to fail first",)),
        at=datetime.now(UTC) - timedelta(minutes=3), **more,
    )  # fmt: skip


@contextmanager
def full_home(folder: Path) -> Iterator[tuple[Running, dict[str, str]]]:
    """A WinClaw in ``folder`` that has seen something of everything, and the paths of all of its pages by their names."""
    folder.mkdir(exist_ok=True)
    config = folder / CONFIG
    config.write_text(configuration(), encoding="utf-8")
    with ExitStack() as stack:
        winclaw = stack.enter_context(running(folder, port=0))
        core, now = winclaw.core, datetime.now(UTC)
        config.write_text(configuration(circuit_breaker={"default": {"failure_threshold": 7}}), encoding="utf-8")
        core.beat(Heartbeat(agent="silent-one", pid=4)).result(10)
        core.beat(Heartbeat(agent="polite-one", pid=5)).result(10)
        core.beat(Heartbeat(agent="polite-one", pid=5, leaving=True)).result(10)
        runner = Heartbeat(
            agent="night-runner", pid=4711, version="1.2",
            circuits=(
                CircuitReport(service="gpt-5.2", state="OPEN", change=2, because="3 calls in a row failed", retry_after_s=30, calls=200, failures=70, rejected=11, p95_ms=61_000),
                CircuitReport(service="gmail_api", state="HALF_OPEN", change=3, because="its time to recover is over", calls=24, failures=3, p95_ms=900),
                CircuitReport(service="memory_system", state="CLOSED", change=1, calls=3000, p95_ms=0.4),
                CircuitReport(service="browser_control", state="CLOSED", change=1, calls=5),
                CircuitReport(service=LONG, state="CLOSED", calls=1, p95_ms=3),
            ),
            loops=(
                LoopReport(loop="agent_core", state="running", running=2, runs=31, beats=900, beat_age_s=0.4),
                LoopReport(loop="planning", state="stuck", running=1, runs=3, beats=9, beat_age_s=600, because=f"no beat for 600 s {BAIT}"),
                LoopReport(loop="reflection", state="late", running=1, runs=3, beats=9, beat_age_s=60),
                LoopReport(loop="research", state="paused", runs=3, beats=9, beat_age_s=60, because="level 2"),
                LoopReport(loop="memory", state="idle", runs=3, beats=9, beat_age_s=60),
            ),
        )  # fmt: skip
        alive = Repeating("beating", 0.5, lambda: [core.beat(one) for one in (runner, Heartbeat(agent=BAIT, pid=7))] and None)
        alive.start()
        stack.callback(alive.stop)
        errors = _errors(winclaw)
        agent, _ = stack.enter_context(remembering(core, folder))
        agent.checkpoint({"x": 1}, BAIT, metadata={"operation": BAIT})
        _leave_undone(agent)
        for number, (state, more) in enumerate(
            (
                (HealState.HEALED, {"ended": now, "result": "2 caches were cleared", "verification": "well after 0.4 s"}),
                (HealState.FAILED, {"ended": now, "result": "1 cache was cleared", "verification": f"not well after 30 s: {BAIT}"}),
                (HealState.ESCALATED, {"ended": now, "verification": "everything that may be tried has been tried."}),
                (HealState.WAITING, {"until": now + timedelta(hours=1), "side_effects": ("calls waited",)}),
                (HealState.REJECTED, {"ended": now, "actor": "dashboard"}),
            ),
            FIRST_HEAL,
        ):  # fmt: skip
            core.tell(HealTold(heal(number, state, f"cache-{number}", **more))).result(10)
        steps = (
            Step(do=Doing.RESTART, target="gateway", what="Start gateway again", state=StepState.DONE, result="it runs"),
            Step(do=Doing.RESTORE, target="memory", what=f"Restore memory {BAIT}", state=StepState.FAILED, result=f"refused {LONG}"),
            Step(do=Doing.VERIFY, target="memory", what="See whether memory answers", state=StepState.SKIPPED),
        )
        told = Recovery(id=900, level=RecoveryLevel.COMPONENT, target="memory", actor="dashboard", at=now, steps=steps)
        core.tell(RecoveryTold(told)).result(10)
        core.tell(RecoveryTold(replace(told, state=RecoveryState.FAILED, ended=now, result=f"It stopped at step 2. {BAIT}"))).result(10)
        core.switch_circuit("browser_control", "isolate", actor="you", origin="elsewhere").result(10)
        core.test_channel("webhook", actor="you", origin="elsewhere").result(10)
        wait_until(winclaw, lambda now: now.config is not None and now.config.version.number == 2)
        core.tell(ConfigTroubled(ConfigTrouble(2, f"the level became Minimal {BAIT}"))).result(10)
        wait_until(winclaw, lambda now: {one.state.value for one in now.processes.values()} == {"running", "failed"})
        wait_until(winclaw, lambda now: any(one.is_lost for one in now.agents.values()))
        wait_until(winclaw, lambda now: any(one.rule == "configuration" for one in now.heals.values()))
        wait_until(winclaw, lambda now: len(_open_alerts(now)) >= 4)
        first, second, third, *_ = _open_alerts(core.state)
        core.decide_alert(first, "acknowledge", actor="dashboard", origin="127.0.0.1").result(10)
        core.decide_alert(second, "snooze", actor="dashboard", origin="127.0.0.1", for_s=3600).result(10)
        yield winclaw, {
            "overview": "/", "overview-then": f"/?{urlencode({'window': '1h', 'at': datetime.now(UTC).isoformat(), 'of': 'circuit:gpt-5.2'})}", "errors": "/errors", "errors-filtered": "/errors?kind=agentic.llm&severity=WARNING",
            "error": f"/errors/{errors['whole']}", "error-plain": f"/errors/{errors['plain']}",
            "circuits": "/circuits", "loops": "/loops", "processes": "/processes", "process": "/processes/gateway",
            "healing": "/healing", "heal": f"/healing/{FIRST_HEAL + 1}", "heal-waiting": f"/healing/{FIRST_HEAL + 3}",
            "alerts": "/alerts", "incident": f"/incidents/{third}",
            "recovery": "/recovery", "recovery-plan": "/recovery?level=component&target=memory", "recovery-one": "/recovery/900",
            "settings": "/settings", "settings-version": "/settings/versions/2", "settings-old": "/settings/versions/1", "safe-mode": "/safe-mode", "not-found": "/nowhere",
        }  # fmt: skip


def _errors(winclaw: Running) -> dict[str, int]:
    """Errors of several kinds; the ids of one that came with all that one can come with, and of one that came with nothing."""
    core = winclaw.core
    sorts = (
        ("LLMTimeoutError", "gpt-5.2", "ask", None), ("RateLimitError", "gmail_api", "send", None),
        ("PromptInjectionError", "browser_control", "read", None), ("ECONNREFUSED", "home-grown", "dial", None),
        ("InvalidConfigError", "gateway", "start", None), ("MemoryError", "memory_system", "grow", "CRITICAL"),
        ("RuntimeError", BAIT, BAIT, "CRITICAL"), ("KeyError", LONG, LONG, "ERROR"),
        ("TimeoutError", "gpt-5.2", "ask", "WARNING"), ("ValueError", "planner", "plan", "FATAL"),
    )  # fmt: skip
    reports = [
        Report(type=kind, message=f"{kind} {BAIT} {'x' * 300 if n == 7 else ''}", component=where, operation=what, severity=severity)  # type: ignore[arg-type]
        for n, (kind, where, what, severity) in enumerate(sorts)
    ]
    core.report(reports * 4).result(10)
    cause = Cause(type="ReadTimeout", message="socket", cause=Cause(type="OSError", message=BAIT))
    plain = Report(type="TimeoutError", message="late", component="gpt-5.2", operation="ask")
    whole = Report(
        type="LLMTimeoutError", message=f"the model is late\n{BAIT}\n{LONG}", component="gpt-5.2", operation="ask", agent="night-runner",
        stack="Traceback (most recent call last):\n" + f'  File "{LONG}.py", line 3, in ask\n' * 30 + BAIT, cause=cause, reason="I saw it",
        metadata={"attempt": 3, "log": f"starting\n{BAIT}\n", "nested": {"list": [1, 2, {"x": LONG}]}},
    )  # fmt: skip
    first, last = core.report([plain, whole]).result(10)
    return {"plain": first, "whole": last}


def _open_alerts(state: State) -> list[int]:
    return [one.id for one in state.alerts.values() if one.state is AlertState.OPEN and one.cause.about.startswith("error:")]


def _leave_undone(agent: Any) -> None:
    """A transaction whose undoing fails."""

    def fails(_: Any) -> None:
        raise OSError(BAIT)

    try:
        with agent.transaction(BAIT) as tx:
            tx.do(lambda: 1, undo=fails)
            raise KeyError("stop")
    except KeyError:
        pass

