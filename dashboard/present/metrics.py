"""The core's state as metrics for Prometheus: names by its conventions, base units, and a bounded number of series. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from resilience.alerting.alerts import AlertPriority, AlertState
from resilience.core import notices
from resilience.core.services import CircuitName
from resilience.core.state import State
from resilience.core.totals import Totals
from resilience.degradation import loops

_LOOP_STATES: Final = ("stuck", "late", "paused", "running", "idle", "unused")
_MIB: Final = 1024 * 1024
Rows = Iterable[tuple[tuple[str, ...], float | None]]


def families(
    state: State, totals: Totals, now: datetime, *, build: Mapping[str, str], machine: Mapping[str, float],
    process: Mapping[str, float], last_id: int | None,
) -> Iterator[Metric]:
    """Every metric of WinClaw at ``now``.

    Args:
        build: what is told of this program. machine: this machine's numbers. process: this program's own: ``cpu_s``,
            ``memory_bytes`` and ``started_s`` (seconds since 1970). last_id: the newest id in the journal; None: not known now.
    """
    yield InfoMetricFamily("winclaw_build", "This WinClaw, as 1.", {name: label(value) for name, value in build.items()})
    yield from _own(totals, process)
    yield from _standing(state)
    yield from _services(state, totals, now)
    yield from _agents_and_loops(state)
    yield from _processes(state)
    yield from _healing_and_alerts(state, totals)
    yield from _errors_and_journal(state, totals, machine, last_id)
    yield _gauge("winclaw_disk_free_bytes", "Free where the journal lies", [((), machine["disk_free_gb"] * 1e9)])
    yield _gauge("winclaw_machine_cpu_ratio", "Of this machine's processors, in use", [((), machine["cpu_percent"] / 100)])
    yield _gauge("winclaw_machine_memory_ratio", "Of this machine's memory, in use", [((), machine["memory_percent"] / 100)])


def label(text: str) -> str:
    """``text`` as a label's value: what does not show (NUL, line ends, right-to-left marks, halves of characters) is escaped.

    Two texts never become the same, so no two series do.
    """
    return "".join(
        one if one.isprintable() and one != "\\" else one.encode("unicode_escape", "surrogatepass").decode() for one in text
    )


def _own(totals: Totals, process: Mapping[str, float]) -> Iterator[Metric]:
    started = [((), totals.since.timestamp())]
    yield _gauge("winclaw_start_time_seconds", "When WinClaw and its counters started, seconds since 1970", started)
    yield _gauge("process_start_time_seconds", "When this program started, seconds since 1970", [((), process["started_s"])])
    yield _counter("process_cpu_seconds", "Processor time of this program", [((), process["cpu_s"])])
    yield _gauge("process_resident_memory_bytes", "Memory that this program uses", [((), process["memory_bytes"])])


def _standing(state: State) -> Iterator[Metric]:
    standing = state.standing
    yield _gauge(
        "winclaw_level", "How much may run: 1 FULL, 2 DEGRADED_LLM, 3 LIMITED_EXTERNAL, 4 MINIMAL, 5 SAFE_MODE",
        [((), standing.level.value)],
    )  # fmt: skip
    since = [((), standing.since.timestamp())]
    yield _gauge("winclaw_level_since_timestamp_seconds", "When it came to that level, seconds since 1970", since)
    yield _gauge("winclaw_level_pinned", "1 while a person has chosen the level", [((), standing.pinned)])
    yield _gauge("winclaw_level_latched", "1 while a rule holds the level until a person releases it", [((), standing.latched)])
    yield _gauge("winclaw_needs_you", "What waits for a person", [((), len(state.needs_you))])


def _services(state: State, totals: Totals, now: datetime) -> Iterator[Metric]:
    views = state.services.view(now)
    states = get_args(CircuitName)
    yield _gauge(
        "winclaw_circuit_state", "1 for the state that a service's circuit is in, 0 for the others",
        (((one["name"], state), one["circuit"] == state) for one in views for state in states), "service", "state",
    )  # fmt: skip
    counts = {one["name"]: totals.calls.get(one["name"]) for one in views}
    for number, (name, what) in enumerate((
        ("winclaw_calls", "Calls to a service by all agents, since WinClaw started"),
        ("winclaw_call_failures", "Calls to a service that failed"),
        ("winclaw_calls_rejected", "Calls to a service that its circuit refused"),
    )):  # fmt: skip
        rows = (((service,), one[number] if one is not None else 0) for service, one in counts.items())
        yield _counter(name, what, rows, "service")
    yield _gauge(
        "winclaw_call_duration_p95_seconds", "95 of 100 calls to a service took no longer; the worst of its agents",
        (((one["name"],), one["p95_ms"] / 1000 if one["p95_ms"] is not None else None) for one in views), "service",
    )  # fmt: skip
    probes = (((name,), probe.well) for name, probe in state.services.probes.items())
    yield _gauge("winclaw_probe_up", "1 where WinClaw's own probe finds it well", probes, "probe")
    yield _gauge("winclaw_isolations", "Components that are isolated", [((), len(state.isolations))])


def _agents_and_loops(state: State) -> Iterator[Metric]:
    yield _gauge(
        "winclaw_agents_connected", "Agents whose heartbeats come", [((), sum(one.alive for one in state.agents.values()))]
    )
    views = loops.view(state.settings.loops, state.agents.values(), state.standing.level)
    counts = Counter(one["state"] for one in views)
    yield _gauge("winclaw_loops", "Loops by what they do", (((name,), counts[name]) for name in _LOOP_STATES), "state")
    known = [one for one in views if one["name"] in state.settings.loops]  # agents may bring as many as they like
    yield _gauge("winclaw_loop_running", "Runs of a loop that go on", (((one["name"],), one["running"]) for one in known), "loop")
    stuck = (((one["name"],), one["state"] in ("stuck", "late")) for one in known)
    yield _gauge("winclaw_loop_stuck", "1 while a loop is silent, or runs, for longer than it may", stuck, "loop")
    allowed = (((one["name"],), one["allowed"]) for one in known)
    yield _gauge("winclaw_loop_allowed", "1 while the level lets a loop run", allowed, "loop")
    yield _gauge("winclaw_outbox_waiting_messages", "Messages that wait in outboxes", [((), sum(state.waiting.values()))])


def _processes(state: State) -> Iterator[Metric]:
    every, tree = state.processes.values(), "a process and all that it has started"
    ready = (((one.name,), one.ready) for one in every)
    yield _gauge("winclaw_process_up", "1 while a supervised process runs and is ready", ready, "process")
    restarts = (((one.name,), one.restarts) for one in every)
    yield _counter("winclaw_process_restarts", "Restarts of a supervised process since WinClaw started", restarts, "process")
    memory = (((one.name,), one.memory_mb * _MIB if one.memory_mb is not None else None) for one in every)
    yield _gauge("winclaw_process_memory_bytes", f"In use by {tree}", memory, "process")
    cpu = (((one.name,), one.cpu_percent / 100 if one.cpu_percent is not None else None) for one in every)
    yield _gauge("winclaw_process_cpu_ratio", f"Of one processor, in use by {tree}", cpu, "process")


def _healing_and_alerts(state: State, totals: Totals) -> Iterator[Metric]:
    ended = (((outcome,), count) for outcome, count in totals.heals.items())
    yield _counter("winclaw_heals", "Heals that have ended, by outcome", ended, "outcome")
    yield _gauge("winclaw_heals_open", "Heals that go on, or wait", [((), sum(one.is_open for one in state.heals.values()))])
    alerts = state.alerts.values()
    opened = Counter(one.priority for one in alerts if one.state is AlertState.OPEN)
    rows = (((one.name,), opened[one]) for one in AlertPriority)
    yield _gauge("winclaw_alerts_open", "Alerts that nobody has acknowledged, by priority", rows, "priority")
    waiting = sum(one.is_open for alert in alerts for one in alert.tellings)
    yield _gauge("winclaw_alert_messages_waiting", "Messages about alerts that have yet to arrive", [((), waiting)])
    policy = state.settings.alerting
    deaf = (((name,), name in state.undelivered) for name in policy.channels.by_name if policy.tells_by(name))
    yield _gauge("winclaw_alert_channel_undelivered", "1 where a channel's last message did not arrive", deaf, "channel")


def _errors_and_journal(state: State, totals: Totals, machine: Mapping[str, float], last_id: int | None) -> Iterator[Metric]:
    errors = totals.errors.items()
    yield _counter("winclaw_errors", "Errors since WinClaw started, by kind and severity", errors, "kind", "severity")
    events = (((kind,), count) for kind, count in totals.events.items())
    yield _counter("winclaw_events", "Events since WinClaw started, by type", events, "type")
    yield _gauge("winclaw_journal_size_bytes", "Of the journal's files", [((), machine["journal_mb"] * 1e6)])
    yield _gauge("winclaw_journal_last_id", "The newest id of an error or event", [((), last_id)])
    refuses = any(one.name == notices.JOURNAL for one in state.notices)
    yield _gauge("winclaw_journal_writable", "0 while the disk refuses", [((), not refuses)])
    health = state.health
    yield _gauge("winclaw_journal_repairs_pending", "Damaged files to be read again", [((), len(health.to_repair))])
    sound = [((), not one.finding) for one in (health.checked,) if one is not None]
    yield _gauge("winclaw_journal_sound", "1 if the last look at the whole journal found nothing wrong", sound)
    at = [((), one.at.timestamp()) for one in (health.checked,) if one is not None]
    yield _gauge("winclaw_journal_checked_timestamp_seconds", "When that was, seconds since 1970", at)
    at = [((), one.at.timestamp()) for one in (health.backup,) if one is not None]
    yield _gauge("winclaw_journal_backup_timestamp_seconds", "When its last backup was made, seconds since 1970", at)


def _gauge(name: str, what: str, rows: Rows, *labels: str) -> Metric:
    return _filled(GaugeMetricFamily(name, f"{what}.", labels=labels), rows)


def _counter(name: str, what: str, rows: Rows, *labels: str) -> Metric:
    return _filled(CounterMetricFamily(name, f"{what}.", labels=labels), rows)


def _filled(family: CounterMetricFamily | GaugeMetricFamily, rows: Rows) -> Metric:
    """``family`` with a series for each row that has a value."""
    for labels, value in rows:
        if value is not None:
            family.add_metric([label(one) for one in labels], float(value))
    return family
