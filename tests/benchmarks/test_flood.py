"""Ten thousand errors a minute while four look on: the overview, the errors, a page that hangs, and one that never reads.

``WINCLAW_FLOOD_S=300 python run.py bench -k flood`` goes on for five minutes.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, Dialog, Page, expect

from resilience.journal.history import ErrorFilter, History
from tests.benchmarks.test_error_to_browser import WATCH, percentile
from tests.program import REPOSITORY, Program

PER_SECOND, SECONDS = 10_000 / 60, int(os.environ.get("WINCLAW_FLOOD_S", "60"))
EVENTS_A_SECOND, SNAPSHOTS_A_SECOND = 10, 4
P95_MS, GROWTH_MB, HEAP_MB, NODES = 300, 25, 16, 10_000
# Notes when each message came, by its name.
COUNT = """
  window.came = [];
  window.WebSocket = class extends WebSocket {
    constructor(...given) {
      super(...given);
      this.addEventListener('message', ({ data }) => {
        const name = /^42\\["(\\w+)"/.exec(data);
        if (name) window.came.push([name[1], performance.now()]);
      });
    }
  };
"""
HANG = "() => setTimeout(() => alert('Nothing goes on here before somebody has clicked.'), 0)"
ROWS = "rows => rows.map((row) => Number(row.dataset.id))"


@contextmanager
def never_reading(program: Program, cookie: str) -> Iterator[socket.socket]:
    port = int(program.ask("POST", "/api/v1/login-links", operator=True)["url"].split("/")[2].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.sendall(
            f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookie}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        assert stalled.recv(12) == b"HTTP/1.1 101"
        stalled.sendall(b"\x81\x82\0\0\0\0" + b"40")  # joins
        yield stalled


def opened(chromium: Browser, program: Program, path: str, stack: ExitStack) -> Page:
    """A page in a profile, and so in a process, of its own."""
    context = stack.enter_context(closing(chromium.new_context()))
    context.add_init_script(COUNT)
    page = context.new_page()
    page.goto(program.ask("POST", "/api/v1/login-links", operator=True)["url"])
    page.goto(page.url.rstrip("/") + path)
    expect(page.locator("#live.on")).to_be_visible(timeout=30_000)
    return page


def weight(page: Page) -> dict[str, float]:
    """How many MB its scripts keep after a collection, and how many nodes there are."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    session.detach()
    return {"heap_mb": metrics["JSHeapUsedSize"] / 1e6, "nodes": metrics["Nodes"]}


def busiest(came: list[list[Any]], name: str) -> tuple[float, int]:
    """Messages a second, all along and in the worst second."""
    at = [when for one, when in came if one == name]
    worst = max((sum(start <= other < start + 1000 for other in at[place : place + 40]) for place, start in enumerate(at)), default=0)
    return len(at) / SECONDS, worst


def minutes_shown(page: Page) -> dict[int, int]:
    cells = page.locator("#rate-table tbody tr").evaluate_all("rows => rows.map((row) => [row.cells[0].dataset.at, row.cells[1].textContent])")
    return {int(at): int(count) for at, count in cells if int(count)}


@pytest.mark.benchmark
def test_ten_thousand_errors_a_minute_are_seen_and_nobody_grows(chromium: Browser, tmp_path: Path) -> None:
    program = Program(tmp_path / "home", port=27000).start()
    with ExitStack() as stack:
        stack.callback(program.stop)
        history = stack.enter_context(closing(History(program.folder / "journal.db")))
        overview, errors, hanging = (opened(chromium, program, path, stack) for path in ("/", "/errors", "/errors"))
        cookie = next(one for one in overview.context.cookies())
        stack.enter_context(never_reading(program, f"{cookie['name']}={cookie['value']}"))
        errors.evaluate(WATCH)
        process = psutil.Process(program.pid)
        agent = subprocess.Popen(
            [sys.executable, "-m", "tests.sample_agent", str(tmp_path / "workshop"), "--steady", str(PER_SECOND), str(SECONDS)],
            env=program.environment, cwd=REPOSITORY, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        stack.callback(agent.kill)
        overview.wait_for_timeout(10_000)
        dialogs: list[Dialog] = []
        hanging.on("dialog", lambda one: dialogs.append(one))
        hanging.evaluate(HANG)
        before_mb = process.memory_info().rss / 1e6
        while agent.poll() is None:
            overview.wait_for_timeout(200)  # meanwhile playwright hears of the dialog
        assert agent.returncode == 0
        after_mb = process.memory_info().rss / 1e6
        newest = history.errors(ErrorFilter(), 1)[0].id
        dialogs[0].accept()
        for page in (errors, hanging):  # the one that hung comes back by itself
            expect(page.locator("#rows tbody tr").first).to_have_attribute("data-id", str(newest), timeout=90_000)
        stored = {minute: count for minute, _, count in history.per_minute("")}
        total = sum(stored.values())
        expect(overview.locator("#rate-said")).to_have_text(f"{total} in the last hour", timeout=30_000)
        assert list(minutes_shown(overview).values()) == list(stored.values())
        fresh = opened(chromium, program, "/errors", stack).locator("#rows tbody tr").evaluate_all(ROWS)
        for page in (errors, hanging):
            rows = page.locator("#rows tbody tr").evaluate_all(ROWS)
            assert rows[: len(fresh)] == fresh
            assert sorted(set(rows), reverse=True) == rows
            expect(page.locator("#troubles td.n").first).to_have_text(str(total), timeout=30_000)
        came = {name: page.evaluate("window.came") for name, page in (("overview", overview), ("errors", errors))}
        late = errors.evaluate("window.late")
        weights = {name: weight(page) for name, page in (("overview", overview), ("errors", errors), ("hanging", hanging))}
        dropped = "was dropped" in "".join(file.read_text("utf-8") for file in (program.folder / "logs").iterdir())
    rates = {name: (busiest(one, "events"), busiest(one, "snapshot")) for name, one in came.items()}
    print(f"\n{total} errors in {SECONDS} s; WinClaw {before_mb:.0f} MB after 10 s, {after_mb:.0f} MB at the end (growth under {GROWTH_MB})")
    for name, ((events, worst), (snapshots, most)) in rates.items():
        print(f"{name}: {events:.1f} batches a second (at most {worst} in one), {snapshots:.1f} snapshots (at most {most})")
    print(f"error to row: p50 {percentile(late, 0.5):.0f} ms, p95 {percentile(late, 0.95):.0f} ms, worst {max(late):.0f} ms (p95 at most {P95_MS})")
    print("after a collection: " + ", ".join(f"{name} {one['heap_mb']:.1f} MB, {one['nodes']:.0f} nodes" for name, one in weights.items()))
    assert dropped
    assert after_mb - before_mb < GROWTH_MB
    assert all(events <= EVENTS_A_SECOND and snapshots <= SNAPSHOTS_A_SECOND for (events, _), (snapshots, _) in rates.values())
    assert all(one["heap_mb"] < HEAP_MB and one["nodes"] < NODES for one in weights.values())
    assert percentile(late, 0.95) <= P95_MS
