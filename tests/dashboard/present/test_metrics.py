"""The state as metrics: whatever agents call their services, what comes out can be read, and its length has a bound."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest as plain
from prometheus_client.openmetrics.exposition import generate_latest as open_metrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from dashboard.metrics import _Told
from dashboard.present.metrics import families, label
from resilience.alerting.alerts import Alert, AlertPriority, Cause
from resilience.context import ErrorSeverity
from resilience.core.presence import Presence
from resilience.core.services import Probed, Seen, ServiceCircuit, Services
from resilience.core.state import State
from resilience.core.totals import Calls, Totals
from resilience.degradation.levels import at_first
from resilience.events import LoopReport
from resilience.journal.health import Checked, Health
from resilience.processes.status import ProcessStatus
from resilience.processes.supervision import ProcessState

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOSTILE = ['a"b', "a\nb", "a\r\nb", "a\\b", "a\\nb", "\0", "\u202eevil", "\u200b", "\ud800", "x" * 10_000, "é😀", '"} 1\nwinclaw_level 5\n#', "\u2028", "", " "]


def told(state: State, totals: Totals | None = None) -> list[Metric]:
    """The metrics as a scraper reads them; both formats say the same."""
    def every() -> Iterator[Metric]:
        return families(
            state, totals or Totals(since=NOW), NOW, build={"version": "1.0"}, machine={"cpu_percent": 50, "memory_percent": 25, "disk_free_gb": 2, "journal_mb": 3},
            process={"cpu_s": 1.5, "memory_bytes": 5e7, "started_s": 1000}, last_id=7,
        )

    found = list(parse_plain(plain(_Told(every())).decode()))
    opened = list(parse_open_metrics(open_metrics(_Told(every())).decode()))
    assert [one.samples for one in opened if one.samples] == [one.samples for one in found if one.samples]
    return found


def values(state: State, totals: Totals | None = None) -> dict[tuple[str, ...], float]:
    """The value of each series, by its name and the values of its labels; no series is told twice."""
    samples = [one for metric in told(state, totals) for one in metric.samples]
    found = {(one.name, *one.labels.values()): one.value for one in samples}
    assert len(found) == len(samples)
    return found


def a_state(**parts: object) -> State:
    return replace(State(standing=at_first(NOW)), **parts)


def with_circuits(*names: str) -> Services:
    circuits = {name: ServiceCircuit(name=name, state="OPEN", since=NOW, because="x") for name in names}
    seen = {("a", 1, name): Seen(1, {"calls": 3, "failures": 2, "rejected": 1, "p95_ms": 830.0}) for name in names}
    return Services(circuits, seen)


def test_a_fresh_winclaw_is_told_whole() -> None:
    found = values(a_state())
    assert found["winclaw_build_info", "1.0"] == 1
    assert found["winclaw_level",] == 1
    assert found["winclaw_needs_you",] == 0
    assert found["winclaw_journal_size_bytes",] == 3e6
    assert found["winclaw_disk_free_bytes",] == 2e9
    assert found["winclaw_journal_writable",] == 1
    assert found["winclaw_start_time_seconds",] == NOW.timestamp()
    assert found["process_cpu_seconds_total",] == 1.5
    assert found["winclaw_loop_allowed", "planning"] == 1
    assert ("winclaw_journal_sound",) not in found  # nobody has looked yet


def test_every_metric_says_what_it_is_and_is_named_by_the_conventions() -> None:
    for metric in told(a_state()):
        assert metric.documentation.endswith("."), metric.name
        assert metric.name.startswith(("winclaw_", "process_")), metric.name
        if metric.type == "counter":
            assert all(one.name.endswith("_total") for one in metric.samples)


def test_every_metric_is_documented_as_it_is() -> None:
    page = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| .*?\| ([^|]+) \|$", page, re.MULTILINE)
    expected = [(f"{one.name}_total" if one.type == "counter" else one.name, one.type, one.documentation) for one in told(a_state())]
    assert rows == expected


def test_services_are_told_in_base_units() -> None:
    services = with_circuits("gpt-5.2")._replace(probes={"gmail_api": Probed(well=False, since=NOW, what="refused")})
    found = values(a_state(services=services), Totals(since=NOW, calls={"gpt-5.2": Calls(9, 4, 1)}))
    assert [found["winclaw_circuit_state", "gpt-5.2", one] for one in ("CLOSED", "OPEN", "HALF_OPEN", "ISOLATED")] == [0, 1, 0, 0]
    assert [found[f"winclaw_{name}_total", "gpt-5.2"] for name in ("calls", "call_failures", "calls_rejected")] == [9, 4, 1]
    assert found["winclaw_call_duration_p95_seconds", "gpt-5.2"] == 0.83
    assert found["winclaw_probe_up", "gmail_api"] == 0


def test_processes_alerts_and_the_journal_are_told() -> None:
    process = ProcessStatus(name="bot", state=ProcessState.RUNNING, since=NOW, ready=True, restarts=3, memory_mb=2, cpu_percent=150)
    cause = Cause(about="x", title="x", message="x", severity=ErrorSeverity.CRITICAL, component="x")
    alert = Alert(id=1, cause=cause, priority=AlertPriority.P2_HIGH, at=NOW, last_at=NOW)
    health = Health(checked=Checked(at=NOW - timedelta(hours=1), finding="a row"), to_repair=("journal.damaged-1.db",))
    totals = Totals(since=NOW, errors={("transient.timeout", "ERROR"): 5}, heals={"healed": 2}, events={"error": 5})
    found = values(a_state(processes={"bot": process}, alerts={1: alert}, health=health, undelivered={"log": "why"}, waiting={"mail": 4}), totals)
    assert [found[f"winclaw_process_{name}", "bot"] for name in ("up", "restarts_total", "memory_bytes", "cpu_ratio")] == [1, 3, 2_097_152, 1.5]
    assert found["winclaw_alerts_open", "P2_HIGH"] == 1
    assert found["winclaw_alert_channel_undelivered", "log"] == 1
    assert found["winclaw_outbox_waiting_messages",] == 4
    assert (found["winclaw_journal_sound",], found["winclaw_journal_repairs_pending",]) == (0, 1)
    assert found["winclaw_errors_total", "transient.timeout", "ERROR"] == 5
    assert found["winclaw_heals_total", "healed"] == 2


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name[:20]))
def test_no_name_can_break_the_format(name: str) -> None:
    found = values(a_state(services=with_circuits(name)))
    assert found["winclaw_circuit_state", label(name), "OPEN"] == 1
    assert found["winclaw_level",] == 1


def test_no_two_names_become_one_series() -> None:
    names = [*HOSTILE, r"\x00", r"\\x00", r"a\nb", r"\u202eevil"]
    assert len({label(name) for name in names}) == len(set(names))
    assert len([1 for name, *_ in values(a_state(services=with_circuits(*names))) if name == "winclaw_call_duration_p95_seconds"]) == len(set(names))


def test_what_agents_bring_makes_no_more_series_than_there_may_be_circuits() -> None:
    """Their loops have names of their own, as many as they like: those are only counted."""
    reports = tuple(LoopReport(loop=f"loop-{number}", state="stuck") for number in range(200))
    agents = {("a", pid): Presence(name="a", alive=True, pid=pid, version=None, since=NOW, beat_at=NOW, beat_s=0, loops=reports) for pid in range(20)}
    few, many = values(a_state()), values(a_state(agents=agents, waiting={f"channel-{number}": 1 for number in range(1000)}))
    assert len(few) == len(many) < 150
    assert many["winclaw_loops", "stuck"] == 200
