"""Functions in the sandbox: what comes back from them, and that it is not trusted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resilience import ExecutionSandbox, ResourceLimitExceeded, SandboxError
from tests.resilience.processes.conftest import DEADLINE_S
from tests.resilience.sandbox import called
from tests.resilience.sandbox.conftest import LIMITS, POSIX, begun

pytestmark = pytest.mark.usefixtures("nothing_is_left")


def test_a_function_gives_back_what_json_can_hold() -> None:
    sandbox = ExecutionSandbox(LIMITS)
    assert sandbox.run_python(called.Sums.add, 1, right=2) == {"sum": 3}
    assert asyncio.run(sandbox.run_python_async(called.Sums.add, 1)) == {"sum": 2}
    with pytest.raises(SandboxError, match="nothing that JSON can hold"):
        sandbox.run_python(called.give_back_an_object)


def test_what_a_function_raises_is_told() -> None:
    with pytest.raises(SandboxError) as failed:
        ExecutionSandbox(LIMITS).run_python(called.fail)
    assert failed.value.error_type == "KeyError"
    assert "in fail" in failed.value.traceback
    with pytest.raises(SandboxError, match="ended with exit status 3, and no answer"):
        ExecutionSandbox(LIMITS).run_python(called.exit_at_once)


@pytest.mark.parametrize(
    ("function", "limit"),
    [
        (called.eat_memory, "max_memory_mb"), (called.write_much, "max_disk_io_mb"),
        pytest.param(
            called.open_many, "max_file_descriptors",
            marks=pytest.mark.skipif(not POSIX, reason="Windows refuses nobody a file; the watcher ends who has too many"),
        ),
    ],
)
def test_the_limit_that_a_function_hits_is_named(function: Callable[[], Any], limit: str) -> None:
    with pytest.raises(ResourceLimitExceeded) as exceeded:
        ExecutionSandbox(LIMITS).run_python(function)
    assert exceeded.value.limit == limit


def test_a_function_that_nobody_could_find_again_is_refused() -> None:
    with pytest.raises(ValueError, match="make it a function of a module"):
        ExecutionSandbox(LIMITS).run_python(lambda: 1)


@pytest.mark.parametrize(
    "forged",
    [
        "", "[1]", "not json", '{"limit": 7}', "\x80\x04cos\nsystem\n",
        pytest.param("[" * 200_000, id="nests deep"), pytest.param(f'{{"value": "{"x" * 2_000_000}"}}', id="too long"),
    ],
)
def test_an_answer_that_was_forged_is_never_trusted(forged: str) -> None:
    with pytest.raises(SandboxError):
        ExecutionSandbox(LIMITS).run_python(called.forged, forged)


@pytest.mark.skipif(not POSIX, reason="Windows has no pipes in folders, and lets not everybody make links")
def test_an_answer_that_is_no_file_keeps_nobody_waiting_and_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text('{"value": 1}')
    for function, arguments in ((called.leave_a_pipe, ()), (called.leave_a_link, (str(elsewhere),))):
        with pytest.raises(SandboxError, match="and no answer"):
            begun(ExecutionSandbox(LIMITS).run_python, function, *arguments).result(DEADLINE_S)
