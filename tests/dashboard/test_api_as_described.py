"""schemathesis asks the running server all that its description allows, and much that it does not: it never fails.

The examples are the same in each run. What ends all sessions is left out; waiting is kept short.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from resilience.home import CONFIG
from tests.dashboard.conftest import Caller
from tray.app import running

EXAMPLES = 3
CHECKED = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance", "negative_data_rejection")
LEFT_OUT = {"api_logout_everywhere"}
# A cause is a report again: what is none takes seconds to be made up. test_agents.py has bad reports.
ALLOWED_ONLY = {"agents_errors"}
MOST_WAITING_S = 0.02


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """A WinClaw with one harmless process, which does not start by itself."""
    home: Path = tmp_path_factory.mktemp("described") / "home"
    home.mkdir()
    process = f'{{command: ["{sys.executable}", -c, "import time; time.sleep(60)"], autostart: false}}'
    (home / CONFIG).write_text(f"error_handling: {{processes: {{sleeper: {process}}}}}")
    with running(home, port=0) as winclaw:
        yield Caller(winclaw)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["allowed", "not_allowed"])
@pytest.mark.parametrize("who", ["agent", "operator"])
def test_whatever_is_asked_the_server_answers_as_described(call: Caller, who: str, mode: GenerationMode) -> None:
    headers: dict[str, str] = getattr(call, who)
    described = call("GET", "/api/v1/openapi.json", headers=headers).json
    api = schemathesis.openapi.from_dict(described)
    load_all_checks()
    checks = list(CHECKS.get_by_names(CHECKED))
    asked = 0
    with requests.Session() as session:
        for found in api.get_all_operations():
            operation = found.ok()
            told = operation.definition.raw
            is_for_agents = {"agent": []} in told["security"]
            if told["operationId"] in LEFT_OUT or is_for_agents != (who == "agent"):  # each once, by the least that may
                continue
            if told["operationId"] in ALLOWED_ONLY and mode is GenerationMode.NEGATIVE:
                continue

            @settings(max_examples=EXAMPLES, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                nonlocal asked
                shorten(case)
                case.call_and_validate(base_url=call.winclaw.url, session=session, headers=headers, checks=checks, timeout=20)
                asked += 1

            ask()
    assert asked >= 12 * EXAMPLES


def shorten(case: Any) -> None:
    """Has nothing wait for long, where waiting is what it is asked for."""
    if isinstance(case.query.get("wait"), int | float):
        case.query["wait"] = min(case.query["wait"], MOST_WAITING_S)
    if isinstance(case.body, dict) and isinstance(case.body.get("wait_s"), int | float):
        case.body["wait_s"] = min(case.body["wait_s"], MOST_WAITING_S)
