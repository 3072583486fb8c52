"""Transactions of a connected agent: no tray is needed, what is left is reported, and what died is undone at the next start."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

import resilience
from resilience import home
from resilience.agent.client import connect
from resilience.testing import immediate_retries
from resilience.transactions.file import unfinished_in
from tests.resilience.transactions.transacting import ROOT


def test_what_is_left_undone_is_reported_as_critical(tmp_path: Path) -> None:
    agent = connect("clerk", folder=tmp_path)
    told: list[BaseException] = []
    context = agent.report(resilience.CompensationFailedError("x"), "t", "compensate")
    assert context.severity is resilience.ErrorSeverity.CRITICAL

    @agent.compensation("fail")
    def fail(_: object) -> None:
        raise ConnectionError("down")

    with immediate_retries(), pytest.raises(ValueError, match="mine") as caught, agent.transaction("send-report") as tx:
        tx.do(int, "1", undo=fail)
        raise ValueError("mine")
    told.append(caught.value)
    [note] = caught.value.__notes__
    assert "step 1 int" in note
    spooled = "".join(path.read_text("utf-8") for path in (tmp_path / home.SPOOL).iterdir() if path.is_file())
    assert '"component":"send-report"' in spooled.replace(": ", ":")
    assert spooled.count("CompensationFailedError") >= 2
    assert [one.state for one in unfinished_in(tmp_path / home.TRANSACTIONS)] == ["left"]
    agent.close()
    with pytest.raises(resilience.TransactionError, match="closed"), agent.transaction("t"):
        pass


def test_an_agent_that_died_in_the_middle_is_undone_when_it_is_connected_again(tmp_path: Path) -> None:
    script = """
import os, sys
import resilience
agent = resilience.connect("clerk", folder=sys.argv[1])
tx = agent.transaction("send-report").__enter__()
tx.do(str, "draft 1", undo=agent.compensation("delete_draft")(print))
print("there", flush=True)
sys.stdin.read()
"""
    child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "there\n"
    child.kill()
    child.communicate()
    [seen] = unfinished_in(tmp_path / home.TRANSACTIONS)
    assert (seen.agent, seen.state) == ("clerk", "abandoned")
    undone, drafts = threading.Event(), list[str]()
    agent = connect("clerk", folder=tmp_path)

    @agent.compensation("delete_draft")
    def delete_draft(draft: str) -> None:
        drafts.append(draft)
        undone.set()

    assert undone.wait(60)
    agent.close()
    assert drafts == ["draft 1"]
    assert unfinished_in(tmp_path / home.TRANSACTIONS) == []


def test_who_uses_no_transaction_pays_for_none(tmp_path: Path) -> None:
    script = "import sys, resilience; agent = resilience.connect('x', folder=sys.argv[1]); agent.close(); assert not [name for name in sys.modules if 'recovery.trans' in name or name == 'sqlite3']"
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, check=True)
    assert not (tmp_path / home.TRANSACTIONS).exists()
