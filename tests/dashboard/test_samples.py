"""What was measured over HTTP: for programs, and on the pages."""

from __future__ import annotations

import re

from resilience.events import CircuitReport, Heartbeat
from resilience.journal.samples import Sample, minute_of
from tests.dashboard.conftest import Caller


def measured(call: Caller, ago: int, *samples: Sample) -> int:
    """Has the journal hold ``samples`` of so many minutes ago; returns that minute."""
    core = call.winclaw.core
    minute = minute_of(core.clock.now()) - ago
    core.on_journal(lambda journal: journal.sample(minute, samples, 0)).result(10)
    return minute


def calls(call: Caller, agent: str = "a", **services: tuple[int, int, float]) -> None:
    """Has an agent tell of so many calls and failures since it began, and of its p95, by service; WinClaw looks at once."""
    circuits = tuple(
        CircuitReport(service=name, state="CLOSED", calls=made, failures=failed, p95_ms=p95) for name, (made, failed, p95) in services.items()
    )
    call.winclaw.core.beat(Heartbeat(agent=agent, pid=1, circuits=circuits)).result(10)
    call.winclaw.sampler.look()


def test_programs_read_what_was_measured(call: Caller) -> None:
    measured(call, 30, Sample("machine", 12.5, 60.0), Sample("gpt-5.2", calls=4, failures=1, p95_ms=830.0))
    measured(call, 10, Sample("machine", 13.5, 60.0))
    answer = call("GET", "/api/v1/samples", None, call.agent)
    assert (answer.status, answer.json["window"], answer.json["step_s"]) == (200, "1h", 60)
    found = [{name: value for name, value in one.items() if name != "at"} for one in answer.json["samples"]]
    assert found == [
        {"component": "gpt-5.2", "calls": 4, "failures": 1, "p95_ms": 830.0},
        {"component": "machine", "cpu_percent": 12.5, "memory_percent": 60.0},
        {"component": "machine", "cpu_percent": 13.5, "memory_percent": 60.0},
    ]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:00\.000000Z", one["at"]) for one in answer.json["samples"])
    only = call("GET", "/api/v1/samples?window=24h&component=gpt-5.2", None, call.operator).json
    assert (only["step_s"], [one["component"] for one in only["samples"]]) == (600, ["gpt-5.2"])
    assert call("GET", "/api/v1/samples?component=nobody", None, call.agent).json["samples"] == []


def test_a_window_that_there_is_not_is_refused(call: Caller) -> None:
    answer = call("GET", "/api/v1/samples?window=2h", None, call.agent)
    assert (answer.status, answer.json["field"]) == (422, "window")
    assert call("GET", "/circuits?window=2h", None, call.login()).status == 422


def test_pages_show_the_last_minute_and_the_hour(call: Caller) -> None:
    """By the server, so that they do without scripts, too."""
    calls(call, gpt=(100, 10, 5.0))
    calls(call, gpt=(120, 15, 7.0))
    measured(call, 5, Sample("machine", 12.5, 60.0), Sample("gpt", calls=8, failures=2, p95_ms=830.0))
    session = call.login()
    for path in ("/", "/circuits"):
        page = call("GET", path, None, session).body.decode()
        for words in ("25 %", "20/min", "7 ms"):
            assert f">{words}<" in page
    assert page.count('<td class="n" data-value="8">8</td>') == 1
    assert page.count('<td class="n" data-value="830.0">830 ms</td>') == 1
    assert page.count('<td class="n" data-value="25.0">25 %</td>') == 1
    overview = call("GET", "/?window=24h", None, session).body.decode()
    assert '<td class="n" data-value="12.5">12 %</td><td class="n" data-value="60.0">60 %</td>' in overview
    assert 'href="/?window=24h" aria-current="true"' in overview


def test_what_services_are_called_is_no_markup(call: Caller) -> None:
    name = '<img src=x onerror="alert(1)">'
    call.winclaw.core.beat(Heartbeat(agent="a", pid=1, circuits=(CircuitReport(service=name, state="CLOSED"),))).result(10)
    measured(call, 5, Sample(name, calls=8, failures=2, p95_ms=830.0))
    session = call.login()
    for path in ("/", "/circuits"):
        page = call("GET", path, None, session).body.decode()
        assert "&lt;img src=x" in page
        assert "<img" not in page


def test_before_anything_was_measured_pages_say_what_will_be(call: Caller) -> None:
    session = call.login()
    assert b"As soon as WinClaw has watched this machine for a minute" in call("GET", "/", None, session).body
    assert b"As soon as agents have called a service for a minute" in call("GET", "/circuits", None, session).body
