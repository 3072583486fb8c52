"""/metrics, over a real socket."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from tests.dashboard.conftest import Answer, Caller


def values(answer: Answer) -> dict[tuple[str, ...], float]:
    parse = parse_open_metrics if "openmetrics" in answer.headers["Content-Type"] else parse_plain
    return {(one.name, *one.labels.values()): one.value for metric in parse(answer.body.decode()) for one in metric.samples}


def test_who_may_read_the_state_may_read_metrics_and_nobody_else(call: Caller) -> None:
    for who in (call.agent, call.operator, call.login()):
        assert call("GET", "/metrics", headers=who).status == 200
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = call("GET", "/metrics", headers=headers)
        assert (answer.status, answer.headers["Content-Type"]) == (401, "application/problem+json")
        assert b"winclaw_" not in answer.body
    assert call("GET", "/metrics", headers={**call.agent, "Host": "evil.example"}).status == 403
    assert call("GET", "/metrics", headers={**call.agent, "Origin": "http://evil.example"}).status == 403
    assert call("POST", "/metrics", {}, call.operator).status == 405


def test_a_scraper_gets_the_format_that_it_asks_for(call: Caller) -> None:
    of_prometheus = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.7,*/*;q=0.1"
    kinds = {"": "text/plain; version=0.0.4; charset=utf-8", "text/html": "text/plain; version=0.0.4; charset=utf-8",
             of_prometheus: "application/openmetrics-text; version=1.0.0; charset=utf-8",
             "application/openmetrics-text; version=x": "application/openmetrics-text; version=1.0.0; charset=utf-8"}  # fmt: skip
    for accept, kind in kinds.items():
        answer = call("GET", "/metrics", headers={**call.agent, "Accept": accept})
        assert answer.headers["Content-Type"] == kind
        assert values(answer)["winclaw_level",] == 1


def beat(call: Caller, agent: str, calls: int, service: str = "gpt-5.2", **more: object) -> None:
    circuits = [{"service": service, "state": "CLOSED", "calls": calls, "failures": calls // 2}]
    assert call("POST", "/api/v1/heartbeats", {"agent": agent, "circuits": circuits, **more}, call.agent).status == 200


def test_counters_grow_and_never_fall(call: Caller) -> None:
    """What an agent has counted is not lost with it; an error told twice counts once."""
    report = {"type": "ECONNREFUSED", "message": "no", "component": "gpt-5.2", "operation": "ask", "key": "k"}

    def happens(number: int) -> None:
        match number:
            case 1 | 2:
                beat(call, "a", 10 * (number - 1))
            case 3 | 4:
                assert call("POST", "/api/v1/errors", report, call.agent).status == 200
            case 5:
                beat(call, "a", 0, leaving=True)
            case 6:
                assert call("POST", "/api/v1/level", {"level": "minimal"}, call.operator).status == 200

    before: dict[tuple[str, ...], float] = {}
    for number in range(7):
        happens(number)
        now = values(call("GET", "/metrics", headers=call.agent))
        fallen = [name for name, value in before.items() if name[0].endswith("_total") and now[name] < value]
        assert fallen == []
        before = now
    assert before["winclaw_calls_total", "gpt-5.2"] == 10
    assert before["winclaw_call_failures_total", "gpt-5.2"] == 5
    errors = {name: value for name, value in before.items() if name[0] == "winclaw_errors_total"}
    assert list(errors.values()) == [1]
    assert before["winclaw_level",] == 4
    assert before["winclaw_level_pinned",] == 1
    assert before["winclaw_agents_connected",] == 0


def test_a_thousand_services_make_a_bounded_number_of_series(call: Caller) -> None:
    for first in range(0, 1000, 200):
        circuits = [{"service": f'"s\n{number}\u202e', "state": "OPEN", "change": 1, "p95_ms": 1} for number in range(first, first + 200)]
        assert call("POST", "/api/v1/heartbeats", {"agent": "a", "circuits": circuits}, call.agent).status == 200
    found = values(call("GET", "/metrics", headers=call.agent))
    assert len([1 for name, *_ in found if name == "winclaw_call_duration_p95_seconds"]) == 500
    assert len(found) < 500 * 8 + 200


def test_the_library_does_nothing_at_import_and_is_loaded_when_somebody_scrapes() -> None:
    code = "import dashboard.app, sys; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    threads, callbacks = threading.active_count(), list(gc.callbacks)
    import prometheus_client.core  # noqa: F401

    assert (threading.active_count(), gc.callbacks) == (threads, callbacks)
