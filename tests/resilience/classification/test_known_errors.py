"""Real errors of databases, files, processes and libraries, and what they are taken for."""

from __future__ import annotations

import asyncio
import concurrent.futures
import configparser
import errno
import importlib
import json
import os
import queue
import signal
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from resilience.classification.classifier import ErrorClassifier
from resilience.context import ErrorSeverity, RecoveryStrategy
from tests.resilience.classification.raised import classified

# Databases.


def test_a_locked_database_is_waited_for(tmp_path: Path) -> None:
    one, other = (sqlite3.connect(tmp_path / "a.db", isolation_level=None, timeout=0) for _ in range(2))
    with closing(one), closing(other):
        one.execute("begin exclusive")
        found = classified(lambda: other.execute("create table t (a)"))
    assert (found.error_type, found.is_transient) == ("ResourceTransientError", True)


def test_a_damaged_database_is_a_failure_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"no database, but long enough to be one" * 100)
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        found = classified(lambda: connection.execute("select * from sqlite_master"))
    assert (found.error_type, found.severity) == ("DiskFailureError", ErrorSeverity.CRITICAL)


def test_a_full_database_is_a_lack_of_space() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("pragma max_page_count = 1")
        found = classified(lambda: connection.execute("create table t (a)"))
    assert (found.error_type, found.recovery_strategy) == ("DiskSpaceError", RecoveryStrategy.HEAL_THEN_RETRY)


def test_what_a_table_forbids_is_a_validation() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("create table t (a unique)")
        connection.execute("insert into t values (1)")
        found = classified(lambda: connection.execute("insert into t values (1)"))
        mistake = classified(lambda: connection.execute("select from where"))
    assert (found.error_type, found.is_transient) == ("InputValidationError", False)
    assert mistake.error_type == "PersistentError"


# What comes back.


@pytest.mark.parametrize(
    "parse", [lambda: json.loads("{"), lambda: b"\xff".decode(), lambda: httpx.Response(200, text="{").json()]
)
def test_an_answer_that_cannot_be_read_is_a_fault_of_the_output(parse: Callable[[], object]) -> None:
    assert classified(parse).error_type == "OutputValidationError"
    assert classified(parse, "gpt-5.2").error_type == "LLMOutputParseError"


@pytest.mark.parametrize("read", [lambda: tomllib.loads("="), lambda: configparser.ConfigParser().read_string("x")])
def test_a_configuration_that_cannot_be_read_is_invalid(read: Callable[[], object]) -> None:
    found = classified(read)
    assert (found.error_type, found.recovery_strategy) == ("InvalidConfigError", RecoveryStrategy.RELOAD_CONFIG)


# The system.


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ENOSPC", "DiskSpaceError"), ("EACCES", "OSPermissionError"), ("EPERM", "OSPermissionError"),
        ("ENOENT", "NotFoundError"), ("EMFILE", "ResourceExhaustedError"), ("EIO", "DiskFailureError"),
        ("ENOMEM", "MemoryPressureError"), ("ETIMEDOUT", "ConnectionTimeoutError"), ("EHOSTUNREACH", "NetworkTransientError"),
        ("EADDRINUSE", "ResourceTransientError"), ("EXDEV", "SystemCallError"),
    ],
)  # fmt: skip
def test_the_systems_own_number_decides(name: str, expected: str) -> None:
    assert ErrorClassifier().classify(OSError(getattr(errno, name), "as the system says")).error_type == expected


@pytest.mark.parametrize("where", ["type", "code", "errno"])
def test_the_systems_error_is_known_from_a_report_of_any_language(where: str) -> None:
    """Node puts it into ``code``; a log line has nothing else."""
    report = {"type": "ECONNREFUSED"} if where == "type" else {"type": "Error", "metadata": {where: "ECONNREFUSED"}}
    assert ErrorClassifier().classify_report(report).error_class.__name__ == "NetworkTransientError"


def test_a_file_that_windows_holds_open_is_waited_for() -> None:
    error = PermissionError(13, "in use")
    error.winerror = 32  # type: ignore[attr-defined, unused-ignore]
    assert ErrorClassifier().classify(error).error_type == "ResourceTransientError"


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    assert classified((tmp_path / "nowhere").read_text).error_type == "NotFoundError"


def test_a_full_queue_is_exhaustion() -> None:
    one: queue.Queue[int] = queue.Queue(1)
    one.put(1)
    assert classified(lambda: one.put_nowait(2)).error_type == "ResourceExhaustedError"


def test_a_missing_package_is_a_missing_dependency() -> None:
    assert classified(lambda: importlib.import_module("no_such_package_xyz")).error_type == "MissingDependencyError"


def test_memory_that_has_run_out_is_pressure() -> None:
    found = ErrorClassifier().classify(MemoryError())
    assert (found.error_type, found.recovery_strategy) == ("MemoryPressureError", RecoveryStrategy.HEAL_THEN_RETRY)


# Processes.


def test_a_command_that_fails_is_a_process_error() -> None:
    found = classified(lambda: subprocess.run([sys.executable, "-c", "raise SystemExit(3)"], check=True))
    assert found.error_type == "ProcessError"
    assert "ended with status 3" in found.reason


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
def test_a_killed_command_names_the_signal() -> None:
    script = f"import os; os.kill(os.getpid(), {int(signal.SIGTERM)})"
    found = classified(lambda: subprocess.run([sys.executable, "-c", script], check=True))
    assert found.error_type == "ProcessError"
    assert "ended with SIGTERM" in found.reason


def test_a_crash_of_windows_is_shown_in_its_own_numbers() -> None:
    found = ErrorClassifier().classify(subprocess.CalledProcessError(0xC0000005, "tool.exe"))
    assert "ended with status 0xC0000005" in found.reason
    assert "ended with signal 200" in ErrorClassifier().classify(subprocess.CalledProcessError(-200, "tool")).reason


def test_a_command_that_takes_too_long_is_a_process_error() -> None:
    script = "import time; time.sleep(60)"
    found = classified(lambda: subprocess.run([sys.executable, "-c", script], timeout=0.1))
    assert (found.error_type, found.is_transient) == ("ProcessError", False)


def test_a_pool_whose_worker_died_is_a_process_error() -> None:
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        found = classified(pool.submit(os._exit, 1).result)
    assert found.error_type == "ProcessError"


# Time and cancelling.


def test_a_timeout_of_asyncio_or_a_future_is_a_timeout() -> None:
    async def waits() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    assert classified(lambda: asyncio.run(waits())).error_type == "ConnectionTimeoutError"
    future: concurrent.futures.Future[None] = concurrent.futures.Future()
    assert classified(lambda: future.result(0)).error_type == "ConnectionTimeoutError"


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError(), concurrent.futures.CancelledError(), KeyboardInterrupt(), SystemExit(404)], ids=repr
)
def test_cancelling_is_no_failure(error: BaseException) -> None:
    found = ErrorClassifier().classify(error)
    assert (found.severity, found.is_transient) == (ErrorSeverity.INFO, False)
    assert found.reason == "it was cancelled, which is no failure"


# A program's own mistakes.


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KeyError("a"), "PersistentError"),
        (TypeError("a"), "PersistentError"),
        (AttributeError("a"), "PersistentError"),
        (ZeroDivisionError("a"), "PersistentError"),
        (RecursionError("a"), "PersistentError"),
        (ValueError("a"), "InputValidationError"),
    ],
    ids=repr,
)
def test_a_programs_own_mistake_would_come_again(error: Exception, expected: str) -> None:
    found = ErrorClassifier().classify(error)
    assert (found.error_type, found.is_transient) == (expected, False)
    assert found.reason.endswith("the same call would fail the same way")
