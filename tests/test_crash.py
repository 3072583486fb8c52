"""The real program dies of a fault, and without a word: the next one tells what it died of, once, and where to read more."""

from __future__ import annotations

import http.cookiejar
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.dashboard.conftest import Caller
from tests.dashboard.test_pages import Visitor
from tests.program import REPOSITORY, Program
from tests.test_guardian import belongs_to, next_one, starts
from tray.app import running

# WinClaw as ``winclaw run`` makes it, but for the one who is to say where the dashboard is.
FALLS = """
import sys
from pathlib import Path
from tray.app import run
def say(message):
    raise LookupError("nobody expected this")
sys.exit(run(Path(sys.argv[1]), headless=True, port=0, browser=False, say=say))
"""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    one = Program(tmp_path / "home", port=27500, guarded=True).start()
    yield one
    for process in psutil.process_iter():
        if belongs_to(one, process):
            process.kill()
    one.wait()


def deaths(program: Program) -> list[dict[str, Any]]:
    errors = program.ask("GET", "/api/v1/errors?component=winclaw")["errors"]
    return [program.ask("GET", f"/api/v1/errors/{one['id']}") for one in reversed(errors)]


def page(program: Program, path: str) -> str:
    """A page of the dashboard, as a person sees it who came in through a login link."""
    link = program.ask("POST", "/api/v1/login-links", {}, operator=True)["url"]
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    browser.open(link, timeout=10).close()
    with browser.open(f"{link.partition('/login')[0]}{path}", timeout=10) as answer:
        return str(answer.read().decode())


def test_what_winclaw_died_of_is_an_error_with_its_stacks_and_its_log_and_one_alert(program: Program) -> None:
    """A fault first, whose stacks Python writes; then an end without a word, of which the log has the last."""
    app = program.pid
    assert app is not None
    if sys.platform == "win32":  # there, nobody can raise a fault in another process
        psutil.Process(app).kill()
    else:
        os.kill(app, signal.SIGSEGV)
    psutil.Process(next_one(program, app)).kill()
    next_one(program, program.pid)
    fault, silent = deaths(program)
    assert [one["id"] for one in (fault, silent)] == [one["error"] for one in starts(program)[1:]]
    assert (fault["error_type"], fault["severity"], fault["metadata"]["pid"]) == ("ProcessError", "CRITICAL", app)
    assert "app.started winclaw" in silent["metadata"]["log"]
    assert 0 <= silent["metadata"]["away_s"] < 60
    assert "stack" not in silent
    if sys.platform != "win32":
        assert fault["message"] == "WinClaw was killed by SIGSEGV: Segmentation fault"
        assert silent["message"] == "WinClaw was killed by SIGKILL"
        assert fault["stack"].startswith("Fatal Python error: Segmentation fault")
        assert "core.py" in fault["stack"]
        seen = page(program, f"/errors/{fault['id']}")
        assert "Current thread" in seen
        assert "The end of its log" in seen
    [alert] = program.ask("GET", "/api/v1/alerts")["alerts"]
    assert (alert["title"], alert["count"], alert["page"]) == ("WinClaw was down", 2, f"/errors/{silent['id']}")
    left = [path.name for path in (program.folder / "logs").glob("crash-*")]
    assert len(left) == 1
    assert left[0].endswith(f"-{program.pid}.txt")


def test_an_exception_on_the_main_thread_ends_it_as_a_crash_and_not_as_if_somebody_had_quit(tmp_path: Path) -> None:
    """Nothing is tidied up: the guardian sees the endpoint, and the next start that there was no goodbye."""
    home = tmp_path / "home"
    done = subprocess.run([sys.executable, "-c", FALLS, str(home)], cwd=REPOSITORY, capture_output=True, check=False, timeout=60)
    assert done.returncode == 1
    assert (home / "endpoint.json").exists()
    with running(home, port=0, because="it ended with exit status 1") as winclaw:
        assert winclaw.core.crashed_before
        visitor = Visitor(Caller(winclaw))
        [found] = visitor._call("GET", "/api/v1/errors", headers=visitor._session).json["errors"]
        assert found["message"] == "WinClaw ended with exit status 1: LookupError: nobody expected this"
        seen = visitor.see(f"/errors/{found['id']}")
        assert "in say" in seen
        assert "CRITICAL winclaw.crash: an exception ends WinClaw" in seen
    assert list((home / "logs").glob("crash-*")) == []
