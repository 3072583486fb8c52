"""The pages as they come from the server, before any script runs."""

from __future__ import annotations

import csv
import io
import json
import re
from concurrent.futures import Future
from pathlib import Path
from urllib.parse import urlencode

import pytest

from resilience.core.core import Core, CoreBusyError
from resilience.degradation.levels import DegradationLevel
from resilience.events import Cause, Heartbeat, Report
from resilience.journal.journal import JournalError
from tests.dashboard.conftest import Answer, Caller

FORM = "application/x-www-form-urlencoded"


class Visitor:
    """A person in a browser without scripts."""

    def __init__(self, call: Caller) -> None:
        self._call, self._session = call, call.login()

    def see(self, path: str, status: int = 200) -> str:
        answer = self._call("GET", path, headers=self._session)
        assert answer.status == status, path
        return answer.body.decode()

    def send(self, path: str, **fields: str) -> Answer:
        """Sends a form, with the token that every page's forms hold."""
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.see("/"))
        assert found
        body = urlencode({"csrf_token": found[1], **fields}).encode()
        return self._call("POST", path, body, {**self._session, "Content-Type": FORM})


@pytest.fixture
def visitor(call: Caller) -> Visitor:
    return Visitor(call)


def fail(call: Caller, message: str = "late", times: int = 1, **fields: object) -> list[int]:
    told = {"type": "TimeoutError", "component": "gpt-5.2", "operation": "ask", **fields}
    return call.winclaw.core.report([Report(message=message, **told)] * times).result(10)  # type: ignore[arg-type]


def rows(page: str) -> list[int]:
    return [int(found) for found in re.findall(r'<tr data-id="(\d+)"', page)]


def test_no_page_has_inline_styles_or_scripts(call: Caller, visitor: Visitor) -> None:
    """The content security policy would refuse them."""
    number = fail(call, "<script>")[0]
    for path in ("/", "/errors", f"/errors/{number}", "/safe-mode", "/recovery", "/settings", "/alerts", "/healing"):
        page = visitor.see(path)
        assert not re.search(r"\sstyle=|\son\w+=|<style|<script>", page), path


def test_the_first_page_says_how_to_begin(visitor: Visitor) -> None:
    page = visitor.see("/")
    assert "Nothing needs you." in page
    assert "No agent has connected yet." in page
    assert "resilience.connect" in page
    assert "curl -X POST" in page


def test_the_overview_shows_troubles_agents_and_what_happened(call: Caller, visitor: Visitor) -> None:
    fail(call, "the model is late", times=7)
    call.winclaw.core.beat(Heartbeat(agent="researcher", pid=4711)).result(10)
    page = visitor.see("/")
    assert '<td class="n">7</td>' in page
    assert 'data-times="7"' in page
    assert "researcher is connected" in page
    assert "7 in the last hour" in page
    assert "1 of 1 connected" in page


def test_pages_are_small_whatever_is_stored(call: Caller, visitor: Visitor) -> None:
    core = call.winclaw.core
    several = [Report(type="TimeoutError", message="late", component=f"c{n % 97}", operation="ask") for n in range(1000)]
    core.report(several).result(20)
    for path in ("/", "/errors"):
        assert visitor.see(path).count("<tr") < 150, path


def test_the_errors_are_paged_by_key_without_gaps_or_doubles(call: Caller, visitor: Visitor) -> None:
    ids = fail(call, times=120)
    seen: list[int] = []
    path: str | None = "/errors?component=gpt-5.2"
    while path:
        page = visitor.see(path)
        seen += rows(page)
        older = re.search(r'href="([^"]+)" rel="next"', page)
        path = older[1].replace("&amp;", "&") if older else None
    assert seen == sorted(ids, reverse=True)


@pytest.mark.parametrize(
    ("query", "messages"),
    [
        ("kind=transient", {"slow down"}),
        ("kind=transient.network.rate_limit", {"slow down"}),
        ("component=gpt-5.2", {"late"}),
        ("severity=CRITICAL", {"obey me"}),
        ("text=obey", {"obey me"}),
        ("text=nowhere", set()),
        ("text=%22%27%29+OR+1%3D1+--", set()),
        ("", {"late", "slow down", "obey me"}),
    ],
)
def test_the_errors_are_narrowed(call: Caller, visitor: Visitor, query: str, messages: set[str]) -> None:
    fail(call, "late")
    fail(call, "slow down", type="RateLimitError", component="gmail_api")
    fail(call, "obey me", type="PromptInjectionError", component="browser_control")
    page = visitor.see(f"/errors?{query}").partition('id="rows"')[2]
    assert {said for said in ("late", "slow down", "obey me") if f">{said}</a>" in page} == messages


def test_what_is_chosen_stays_chosen_and_can_be_taken_back(call: Caller, visitor: Visitor) -> None:
    fail(call)
    page = visitor.see("/errors?kind=agentic.llm&component=gpt-5.2")
    assert 'aria-label="Without kind agentic.llm"' in page
    assert 'href="/errors?component=gpt-5.2"' in page
    assert 'href="/errors.csv?kind=agentic.llm&amp;component=gpt-5.2"' in page


def test_odd_parameters_change_nothing(visitor: Visitor) -> None:
    page = visitor.see("/errors?_external=1&_scheme=javascript&endpoint=x&path=y&before=")
    assert "javascript:" not in page


@pytest.mark.parametrize("query", ["severity=BAD", "before=x", "before=-1"])
def test_a_filter_that_cannot_be_is_explained_on_a_page(visitor: Visitor, query: str) -> None:
    page = visitor.see(f"/errors?{query}", status=422)
    assert "<h1>" in page
    assert "No such severity" in page or "Wrong number" in page


def test_an_error_shows_everything_that_is_known_of_it(call: Caller, visitor: Visitor) -> None:
    cause = Cause(type="ReadTimeout", message="socket", cause=Cause(type="OSError", message="root"))
    ids = fail(
        call, "late <b>", times=2, type="LLMTimeoutError", stack="Traceback <i>", metadata={"attempt": 3},
        cause=cause, reason="I saw it",
    )  # fmt: skip
    page = visitor.see(f"/errors/{ids[0]}")
    for said in (
        "late &lt;b&gt;", "The language model did not answer in time.", "agentic.llm.timeout", "Try again, with growing pauses",
        "this one request", "Traceback &lt;i&gt;", "ReadTimeout", "root", "&#34;attempt&#34;: 3", "I saw it", "2 times",
    ):  # fmt: skip
        assert said in page, said
    assert f'href="/errors/{ids[1]}"' in page


def test_errors_lead_to_the_next_and_the_one_before(call: Caller, visitor: Visitor) -> None:
    first = fail(call, "one")[0]
    for number in range(120):
        call.winclaw.core.beat(Heartbeat(agent=f"between {number}")).result(10)
    second, third = fail(call, "two")[0], fail(call, "three")[0]
    page = visitor.see(f"/errors/{second}")
    assert f'href="/errors/{first}" rel="next"' in page
    assert f'href="/errors/{third}" rel="prev"' in page
    assert f'href="/errors/{second}" rel="prev"' in visitor.see(f"/errors/{first}")


@pytest.mark.parametrize("path", ["/errors/999999", "/errors/99999999999999999999999", "/nowhere"])
def test_what_is_not_there_says_so_on_a_page(visitor: Visitor, path: str) -> None:
    assert "Level 1 of 5" in visitor.see(path, status=404)


@pytest.mark.parametrize("number", [999999, 2**63 - 1, 2**63, 10**20])
def test_an_error_that_is_not_there_is_no_defect(call: Caller, number: int) -> None:
    assert call("GET", f"/api/v1/errors/{number}", None, call.operator).status == 404


@pytest.mark.parametrize("bait", ["=1+1", "+1", "-1", "@x"])
def test_a_table_for_spreadsheets_holds_no_formulas(call: Caller, visitor: Visitor, bait: str) -> None:
    fail(call, f"{bait},\"quoted\"\nnext line", component=bait)
    table = list(csv.DictReader(io.StringIO(visitor.see("/errors.csv"))))
    assert (table[0]["message"], table[0]["component"]) == (f"'{bait},\"quoted\"\nnext line", f"'{bait}")


def test_an_export_has_what_the_filter_finds(call: Caller, visitor: Visitor) -> None:
    fail(call, "secret sk-abcdefghijklmnopqrstuvwx", times=600)
    fail(call, "other", component="x")
    found = json.loads(visitor.see("/errors.json?component=gpt-5.2"))
    assert len(found) == 600
    assert "abcdefghij" not in found[0]["message"]
    assert json.loads(visitor.see("/errors.json?component=nobody")) == []


def test_an_export_is_bounded(call: Caller, visitor: Visitor) -> None:
    for _ in range(11):
        fail(call, times=1000)
    assert len(json.loads(visitor.see("/errors.json"))) == 10_000


def test_safe_mode_goes_on_at_once_and_off_after_a_look(call: Caller, visitor: Visitor) -> None:
    core = call.winclaw.core
    assert "Safe Mode is off" in visitor.see("/safe-mode")
    assert visitor.send("/level", level="safe-mode").status == 303
    assert core.state.standing.level is DegradationLevel.SAFE_MODE
    page = visitor.see("/safe-mode")
    assert "The level becomes Full" in page
    unseen = visitor.send("/level", level="auto")
    assert unseen.headers["Location"] == "/safe-mode?again"
    assert "Please confirm." in visitor.see("/safe-mode?again")
    assert core.state.standing.level is DegradationLevel.SAFE_MODE
    confirm = re.search(r'name="confirm" value="([^"]+)"', page)
    assert confirm
    assert visitor.send("/level", level="auto", confirm=confirm[1]).headers["Location"] == "/"
    assert core.state.standing.level is DegradationLevel.FULL


def test_an_old_form_does_not_undo_what_was_chosen_since(call: Caller, visitor: Visitor) -> None:
    visitor.send("/level", level="minimal")
    assert visitor.send("/level", level="auto", confirm="old").status == 303
    assert call.winclaw.core.state.standing.level is DegradationLevel.MINIMAL


def test_a_mode_is_chosen_and_given_back_and_the_journal_knows_who(call: Caller, visitor: Visitor) -> None:
    core = call.winclaw.core
    assert visitor.send("/level", level="degraded-llm").status == 303
    assert core.state.standing.pinned
    assert visitor.send("/level", level="auto").status == 303
    assert not core.state.standing.pinned
    commands = [event.body for event in core.history.events(0) if event.type == "command"]
    assert [(one["asked"], one["actor"], one["origin"]) for one in commands] == [
        ("DEGRADED_LLM", "dashboard", "127.0.0.1"), ("AUTO", "dashboard", "127.0.0.1"),
    ]  # fmt: skip


def test_in_safe_mode_no_other_mode_is_chosen_without_a_confirmation(call: Caller, visitor: Visitor) -> None:
    visitor.send("/level", level="safe-mode")
    assert visitor.send("/level", level="full").headers["Location"] == "/safe-mode?again"
    assert call.winclaw.core.state.standing.level is DegradationLevel.SAFE_MODE


@pytest.mark.parametrize(("path", "fields"), [("/level", {"level": "panic"}), ("/level", {})])
def test_a_form_that_asks_for_nothing_sensible_is_explained(visitor: Visitor, path: str, fields: dict[str, str]) -> None:
    answer = visitor.send(path, **fields)
    assert answer.status == 422
    assert b"<h1>" in answer.body


def test_a_form_without_its_token_changes_nothing_and_says_so_on_a_page(call: Caller) -> None:
    answer = call("POST", "/level", b"level=safe-mode", {**call.login(), "Content-Type": FORM})
    assert answer.status == 403
    assert b"Reload the page" in answer.body
    assert call.winclaw.core.state.standing.level is DegradationLevel.FULL


@pytest.mark.parametrize("token", ["Bearer wrong", "Basic x"])
@pytest.mark.parametrize("path", ["/", "/errors", "/nowhere"])
def test_who_shows_a_wrong_token_sees_nothing_of_the_state(call: Caller, token: str, path: str) -> None:
    answer = call("GET", path, headers={"Authorization": token})
    assert answer.status == 401
    assert b"Level" not in answer.body


def test_a_disk_that_refuses_is_explained_on_a_page(call: Caller, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(error: Exception) -> Future[None]:
        future: Future[None] = Future()
        future.set_exception(error)
        return future

    for error, said in ((JournalError("disk full"), b"disk full"), (TimeoutError(), b"The disk does not answer")):
        monkeypatch.setattr(Core, "set_level", lambda *_, error=error, **__: failing(error))
        answer = visitor.send("/level", level="minimal")
        assert (answer.status, said in answer.body) == (503, True)

    def busy(*_: object, **__: object) -> None:
        raise CoreBusyError("10000 inputs are waiting")

    monkeypatch.setattr(Core, "set_level", busy)
    assert b"10000 inputs are waiting" in visitor.send("/level", level="minimal").body


def test_what_cannot_be_sent_to_a_page_is_explained_on_one(visitor: Visitor) -> None:
    answer = visitor.send("/errors")
    assert (answer.status, "POST" in answer.headers["Allow"]) == (405, False)
    assert b"Method Not Allowed</h2>" in answer.body


def test_signing_out_everywhere_leads_to_the_way_in(call: Caller, visitor: Visitor) -> None:
    assert visitor.send("/logout-everywhere").status == 303
    assert "winclaw open" in visitor.see("/", status=401)


def test_an_error_says_what_was_done_about_it(call: Caller, visitor: Visitor) -> None:
    number = fail(call, severity="ERROR", metadata={"retry_count": 4})[0]
    call.winclaw.core.switch_circuit("gpt-5.2", "isolate", actor="tray", origin="here").result(10)
    page = visitor.see(f"/errors/{number}")
    done = page[page.index("What was done about it") : page.index("Why it was classified so")]
    assert "The call was tried again 4 times" in done
    assert "gpt-5.2 is isolated" in done
    assert "An alert: " in done
    other = visitor.see(f"/errors/{fail(call, component='other <b>', severity='DEBUG')[0]}")
    assert "Nothing is known: no retry, circuit, level, healing or alert was about <code><bdi>other &lt;b&gt;</bdi></code>" in other
    assert "circuit isolated" in visitor.see("/errors"), "the same in a word, beside the trouble"


def process_that_wrote(call: Caller, home: Path, text: str) -> Path:
    """A process "bot" that is not started, and the file with what it once wrote."""
    core = call.winclaw.core
    process = {"command": ["not <b>there</b>"], "autostart": False}
    (home / "error_handling_config.yaml").write_text(json.dumps({"error_handling": {"processes": {"bot": process}}}))
    while "bot" not in core.state.settings.processes:
        core.wait_for_change(core.state.version, 1)
    log = home / "processes" / "bot" / "output.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(text)
    return log


def test_the_output_of_a_process_is_told_piece_by_piece(call: Caller, visitor: Visitor, tmp_path: Path) -> None:
    log = process_that_wrote(call, tmp_path / "home", "one <b>\ntoken=hidden12\ntw")
    page = visitor.see("/processes/bot")
    assert "one &lt;b&gt;\ntoken=[redacted]\n" in page
    assert "one &lt;b&gt;" not in visitor.see("/processes/bot?head"), "what is fetched now and then is small"
    first = call("GET", "/api/v1/processes/bot/output?after=", headers=call.operator).json
    assert (first["text"], first["rest"]) == ("one <b>\ntoken=[redacted]\n", "tw")
    assert first["mark"] in page
    with log.open("a") as file:
        file.write("o\n")
    more = call("GET", f"/api/v1/processes/bot/output?after={first['mark']}", headers=call.operator).json
    assert (more["text"], more["rest"], more["skipped"], more["anew"]) == ("two\n", "", 0, False)
    assert call("GET", "/api/v1/processes/bot/output", headers=call.operator).body.decode().startswith("one <b>")
    for path in ("bot/output?after=", "gone/output?after="):
        assert call("GET", f"/api/v1/processes/{path}", headers=call.agent).status == 403
    assert call("GET", "/api/v1/processes/gone/output?after=1-1", headers=call.operator).status == 404
