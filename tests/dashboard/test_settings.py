"""The configuration over HTTP and on its pages: what is shown, and who may go back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, g

from dashboard.problems import Problem
from dashboard.settings import ConfigDesk
from resilience.config.versions import Versions
from resilience.core.core import CoreBusyError
from resilience.home import CONFIG
from resilience.journal.journal import JournalError
from tests.dashboard.conftest import Caller
from tests.dashboard.test_pages import Visitor, visitor  # noqa: F401 -- a fixture
from tray.app import Running

HOSTILE = "# </code><script>alert(1)</script> \u202e token=hidden\nerror_handling: {tray: {toasts: false}}\n"


@pytest.fixture
def saved(winclaw: Running, tmp_path: Path) -> Path:
    """A second version, which is in force."""
    file = tmp_path / "home" / CONFIG
    file.write_text(HOSTILE, encoding="utf-8")
    kept = Versions(tmp_path / "home")
    while len(kept.kept()) < 2:
        winclaw.core.wait_for_change(winclaw.core.state.version, 0.1)
    return file


def test_versions_are_listed_and_shown_whole_to_people_and_not_to_agents(call: Caller, saved: Path) -> None:
    newest, first = call("GET", "/api/v1/config/versions", headers=call.operator).json["versions"]
    assert (newest["version"], newest["outcome"], newest["changed"]) == (2, "in force", ["tray.toasts: true → false"])
    assert (first["version"], first["author"], first["outcome"]) == (1, "first run", "replaced by 2")
    whole = call("GET", "/api/v1/config/versions/2", headers=call.operator).json
    assert "token=[redacted]" in whole["text"]
    assert any(line.startswith("+error_handling: {tray") for line in whole["diff"])
    assert call("GET", "/api/v1/config/versions/1", headers=call.operator).json["would_change"] == ["tray.toasts: false → true"]
    back = call("GET", "/api/v1/config/versions/1?against=2", headers=call.operator).json
    assert (whole["against"], back["against"]) == (1, 2)
    assert any(line.startswith("-error_handling: {tray") for line in back["diff"])
    assert "no version 9" in call("GET", "/api/v1/config/versions/1?against=9", headers=call.operator).json["detail"]
    now = call("GET", "/api/v1/config", headers=call.operator).json
    assert (now["version"], now["settings"]["error_handling"]["tray"]) == (2, {"toasts": False})
    assert now["differs"] == ["tray.toasts: true → false"]
    told = call("GET", "/api/v1/config/explained", headers=call.operator).json
    each = {one["path"]: one for one in told["each"]}
    toasts = each["tray.toasts"]
    assert (toasts["value"], toasts["default"], toasts["source"], toasts["line"], toasts["waits"]) == (
        "false", "true", "configuration", 2, True,
    )  # fmt: skip
    assert (each["dashboard.port"]["value"], each["dashboard.port"]["source"]) == (str(call.port), "command")
    assert (told["version"], told["problems"]) == (None, [])
    assert not any("<name>" in path for path in each)
    assert call("GET", "/api/v1/config/versions/9", headers=call.operator).status == 404
    for path in ("", "/explained", "/versions", "/versions/1"):
        assert call("GET", f"/api/v1/config{path}", headers=call.agent).status == 403
    assert call("POST", "/api/v1/config/rollback", {"version": 1}, call.agent).status == 403
    assert saved.read_text(encoding="utf-8") == HOSTILE


def test_rolling_back_takes_a_confirmation(call: Caller, saved: Path) -> None:
    asked = call("POST", "/api/v1/config/rollback", {"version": 1}, call.operator)
    assert asked.status == 409
    assert asked.json["preview"] == {"would_change": ["tray.toasts: false → true"]}
    done = call("POST", "/api/v1/config/rollback", {"version": 1, "confirm": asked.json["confirm"]}, call.operator)
    assert done.status == 200
    assert done.json["done"].startswith("version 1 is in force again")
    assert "toasts: true" in saved.read_text(encoding="utf-8")
    other = call("POST", "/api/v1/config/rollback", {"version": 2}, call.operator).json["confirm"]
    misled = call("POST", "/api/v1/config/rollback", {"version": 1, "confirm": other}, call.operator)
    assert misled.status == 409, "the confirmation was for another version, with another preview"
    late = call("POST", "/api/v1/config/rollback", {"version": 2, "confirm": asked.json["confirm"]}, call.operator)
    assert late.status == 409, "the confirmation was for what was in force then"
    for wrong, status in (({"version": 9}, 404), ({"version": "x"}, 422), ({}, 422)):
        assert call("POST", "/api/v1/config/rollback", wrong, call.operator).status == status


def test_what_is_wrong_with_the_file_is_located_and_the_lines_are_those_of_the_version_in_force(
    call: Caller, saved: Path, winclaw: Running
) -> None:
    saved.write_text("error_handling:\n  tray: {toasts: 3}\n", encoding="utf-8")
    while not (told := call("GET", "/api/v1/config/explained", headers=call.operator).json)["problems"]:
        winclaw.core.wait_for_change(winclaw.core.state.version, 0.1)
    (one,) = told["problems"]
    assert (one["line"], one["column"], one["path"]) == (2, 18, "error_handling.tray.toasts")
    assert told["version"] == 2
    assert next(one for one in told["each"] if one["path"] == "tray.toasts")["line"] == 2


class Busy:
    """A configuration whose core does not answer any more, once the file is written."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def described(self, number: int, against: int | None = None) -> dict[str, Any]:
        return {"version": number, "problems": [], "would_change": []}

    def roll_back(self, number: int, **_: str) -> str:
        raise self._error


@pytest.mark.parametrize("error", [TimeoutError(), CoreBusyError("x"), JournalError("x")])
def test_a_roll_back_that_the_core_does_not_take_yet_is_not_told_as_one_that_did_nothing(winclaw: Running, error: Exception) -> None:
    """``TimeoutError`` is an ``OSError``, and so would be taken for a file that could not be written."""
    desk = ConfigDesk(winclaw.core, winclaw.access, Busy(error))  # type: ignore[arg-type]
    with Flask(__name__).test_request_context(), pytest.raises(Problem) as raised:
        g.identity = "operator"
        desk.roll_back(2, desk.confirmation(2))
    assert (raised.value.status, raised.value.title) == (503, "Not in force yet")
    assert "says version 2 now" in raised.value.detail
    full = ConfigDesk(winclaw.core, winclaw.access, Busy(OSError("full")))  # type: ignore[arg-type]
    with Flask(__name__).test_request_context(), pytest.raises(Problem, match="cannot be written: full"):
        g.identity = "operator"
        full.roll_back(2, full.confirmation(2))


def test_the_page_says_what_is_wrong_with_a_file_that_was_refused(winclaw: Running, visitor: Visitor, saved: Path) -> None:  # noqa: F811
    saved.write_text("error_handling: {tray: {toast: false}}\n", encoding="utf-8")
    while not winclaw.core.state.notices:
        winclaw.core.wait_for_change(winclaw.core.state.version, 0.1)
    page = visitor.see("/settings")
    assert "The configuration has errors; the one before is in force." in page
    assert "did you mean &#39;toasts&#39;?" in page
    assert "version 2 is in force" in page


def test_the_pages_show_it_and_roll_back(call: Caller, visitor: Visitor, saved: Path) -> None:  # noqa: F811
    page = visitor.see("/settings")
    assert "version 2 is in force" in page
    assert "tray.toasts: true → false" in page
    assert 'aria-label="Roll back to version 1…"' in page
    shown = visitor.see("/settings/versions/2")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; \ufffd token=[redacted]" in shown
    first = visitor.see("/settings/versions/1")
    for one in (page, shown, first):
        assert not re.search(r"\sstyle=|\son\w+=|<style|<script>", one)
    assert visitor.send("/settings/versions/1/rollback").headers["Location"] == "/settings/versions/1?again"
    assert "Look at it once more" in visitor.see("/settings/versions/1?again")
    confirm = re.search(r'name="confirm" value="([^"]+)"', first)
    assert confirm
    assert visitor.send("/settings/versions/1/rollback", confirm=confirm[1]).headers["Location"] == "/settings"
    assert "version 3 is in force" in visitor.see("/settings")
    assert "version 1 again" in visitor.see("/settings")
    assert saved.read_text(encoding="utf-8") != HOSTILE
    assert "rolled back to version 1 (config)" in visitor.see("/")
    assert "The configuration was rolled back to version 1" in visitor.see("/")
