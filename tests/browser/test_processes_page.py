"""Supervised processes on their page: what they do, why, and the buttons."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tray.app import Running

TALKS = "import time\nfor n in range(100000): print(f'line {n} <b>not bold</b>', flush=True); time.sleep(0.005)"


def configure(folder: Path, **processes: dict[str, Any]) -> None:
    (folder / "error_handling_config.yaml").write_text(json.dumps({"error_handling": {"processes": processes}}))


def command(code: str) -> dict[str, Any]:
    return {"command": [sys.executable, "-c", code], "stop_timeout_s": 5}


def test_without_a_process_the_page_says_how_to_have_one(page: Page) -> None:
    page.get_by_role("link", name="Processes").click()
    expect(page.get_by_text("Three lines in error_handling_config.yaml keep any program alive")).to_be_visible()


def test_a_process_that_is_configured_killed_and_stopped_is_seen_live(page: Page, winclaw: Running, tmp_path: Path) -> None:
    page.get_by_role("link", name="Processes").click()
    configure(tmp_path / "home", gateway=command(TALKS), crasher=command("raise SystemExit('no key')") | {"max_restarts": 0})
    row = page.get_by_role("row", name=re.compile("gateway"))
    expect(row).to_contain_text("running")
    failed = page.get_by_role("row", name=re.compile("crasher"))
    expect(failed).to_contain_text("it ended with exit status 1")
    pid = winclaw.core.state.processes["gateway"].pid
    psutil.Process(pid).kill()
    expect(row.get_by_role("cell").nth(3)).to_have_text("1")
    row.get_by_role("button", name="Stop gateway").click()
    expect(row).to_contain_text("stopped by dashboard")
    row.get_by_role("button", name="Start gateway").click()
    expect(row).to_contain_text("running")
    page.goto(winclaw.url)
    expect(page.get_by_text("The process crasher has failed.")).to_be_visible()


def test_the_output_of_a_process_grows_on_its_page_and_is_text(page: Page, tmp_path: Path, winclaw: Running) -> None:
    configure(tmp_path / "home", gateway=command(TALKS))
    page.goto(f"{winclaw.url}/processes")
    page.get_by_role("link", name="gateway").click()
    output = page.get_by_role("region", name="The last of its output")
    expect(output).to_contain_text("line 0 <b>not bold</b>")
    page.evaluate("window.first = document.getElementById('lines').firstChild")
    fetched: list[str] = []
    page.on("response", lambda answer: fetched.append(answer.url) if "after=" in answer.url else None)
    expect(output).to_contain_text("line 400 ")
    shown = output.inner_text().split("\n")
    assert shown[:3] == [f"line {number} <b>not bold</b>" for number in range(3)]
    assert shown[398] == "line 398 <b>not bold</b>", "each line is there once"
    assert output.locator("b").count() == 0
    assert page.evaluate("window.first === document.getElementById('lines').firstChild"), "what was there is not made anew"
    assert output.evaluate("box => box.scrollTop + box.clientHeight > box.scrollHeight - 40"), "the end is in sight"
    output.evaluate("box => { box.scrollTop = 0; }")
    page.get_by_role("button", name="Pause").click()
    count = len(fetched)
    until = page.locator("#lines").inner_text().count("\n")
    log = tmp_path / "home" / "processes" / "gateway" / "output.log"
    while f"line {until + 300} " not in log.read_text():
        pass
    assert output.evaluate("box => box.scrollTop") == 0, "who reads is left where they are"
    assert len(fetched) <= count + 1, "nothing is asked for while it is paused"
    page.get_by_role("button", name="Go on").click()
    expect(output).to_contain_text(f"line {until + 300} ")
    page.get_by_role("button", name="Stop gateway").click()
    expect(page.get_by_role("button", name="Start gateway")).to_be_visible()
    expect(page.locator("#process")).to_contain_text("stopped by dashboard")


@pytest.mark.parametrize("path", ["/processes/none", "/processes/..%2f..%2fetc"])
def test_a_process_that_is_not_there(page: Page, winclaw: Running, path: str) -> None:
    assert page.request.get(winclaw.url + path).status == 404
