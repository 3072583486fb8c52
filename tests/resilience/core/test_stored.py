"""What of a report and a command reaches the journal."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from resilience.core.core import Core
from resilience.events import Cause, EventType
from resilience.journal.history import ErrorFilter
from tests.resilience.core.cores import journal_of, report


def test_secrets_never_reach_the_journal(core: Core, tmp_path: Path) -> None:
    secret = "sk-live-abcdefghijklmnopqrst"
    chain = {"type": "OSError", "message": secret, "metadata": {"authorization": "abcdef", "text": secret}}
    core.report(
        [report(message=f"key {secret}", stack=f"x = '{secret}'", metadata={"api_key": "abcdef"}, cause=msgspec.convert(chain, Cause))]
    ).result(10)
    core.stop()
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert secret.encode() not in stored
    assert b"abcdef" not in stored


def test_half_a_character_refuses_what_it_is_in_and_no_other(core: Core) -> None:
    """A lone surrogate is no text to SQLite; what waits together with it is stored all the same."""
    journal = journal_of(core)
    journal.may_go_on.clear()
    first = core.announce(EventType.APP_STARTED, "keeps the disk busy")
    good = [core.report([report(message="before")]), core.report([report(message="after")])]
    bad = core.report([report(key="\ud800")])
    isolated = core.switch_circuit("mail\udc80", "isolate", actor="x", origin="y")
    good.append(core.report([report(message="last")]))
    journal.may_go_on.set()
    first.result(10)
    assert [len(one.result(10)) for one in good] == [1, 1, 1]
    for one in (bad, isolated):
        with pytest.raises(UnicodeEncodeError):
            one.result(10)
    assert [event.body["message"] for event in core.history.errors(ErrorFilter())] == ["last", "after", "before"]
    assert core.report([report()]).result(10)
    assert core.state.isolations == {}


def test_a_report_with_half_a_character_in_its_words_is_stored_without_it(core: Core) -> None:
    ids = core.report([report(message="of \ud83d only half", component="a\udc80", stack="\ud800", metadata={"a\ud800": "\udfff"})]).result(10)
    found = core.history.error(ids[0])
    assert found is not None
    assert (found.body["message"], found.component) == ("of \ufffd only half", "a\ufffd")
    assert (found.body["stack"], found.body["metadata"]) == ("\ufffd", {"a\ufffd": "\ufffd"})


def test_errors_are_stored_under_the_right_kind(core: Core) -> None:
    core.report([report(type="httpx.ConnectTimeout"), report(type="E", component="x", metadata={"status": 503})]).result(10)
    kinds = [event.body["kind"] for event in core.history.errors(ErrorFilter())]
    assert kinds == ["transient.service.unavailable", "agentic.llm.timeout"]
