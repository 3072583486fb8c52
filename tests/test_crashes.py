"""App, guardian and agent are killed at random moments under load, alone and together: what was acknowledged holds all the same.

``WINCLAW_KILLS`` says how often (a run of 300 takes some twenty minutes), ``WINCLAW_SEED`` begins another row of moments.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from resilience.agent.wire import UnreachableError, Wire
from resilience.transactions.file import unfinished_in
from tests.busy_agent import booked
from tests.program import REPOSITORY, Program
from tests.test_guardian import belongs_to, guardians
from tests.test_kill import REPORT, stored_keys
from tests.test_processes import until

KILLS: Final = int(os.environ.get("WINCLAW_KILLS", "6"))
SEED: Final = int(os.environ.get("WINCLAW_SEED", "1"))
BATCH: Final = 6
"""After so many kills all is looked at; in a batch each sort of kill comes once, as far as the guardian's pauses leave it room."""
MAX_RESTARTS: Final = 2
"""So often one guardian may start the app again; then it pauses for longer than this test has, and is killed itself."""
SETTINGS: Final[dict[str, Any]] = {
    "outbox": {"drain_per_s": 5000},
    "alerting": {"rate_limit_window": 10, "channels": {"email": {"enabled": False}, "sms": {"enabled": False}}},
}


class Receiver(ThreadingHTTPServer):
    """Whoever gets messages and alerts: how often each key came, and that the same key always said the same."""

    def __init__(self) -> None:
        self.times: dict[str, Counter[str]] = {"/messages": Counter(), "/alerts": Counter()}
        self.said: dict[str, Any] = {}
        super().__init__(("127.0.0.1", 0), _Answers)
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, *_: Any) -> None:
        """Whoever asked was killed meanwhile."""


class _Answers(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.times[self.path][body["key"]] += 1
        if self.path == "/messages":
            assert self.server.said.setdefault(body["key"], body["payload"]) == body["payload"]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: the tests' output is no log."""


class Caller(threading.Thread):
    """Asks again and again until it is told to end; what is under way at a kill is asked once more where that does no harm."""

    def __init__(self, program: Program, dice: random.Random) -> None:
        super().__init__(daemon=True)
        self.program, self.dice = program, dice
        self.ending = threading.Event()
        self.failure: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            while not self.ending.is_set():
                try:
                    self.turn()
                except UnreachableError:
                    self.ending.wait(0.05)
        except BaseException as error:  # for the test, which asks
            self.failure = error

    def turn(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        self.ending.set()
        self.join(60)
        if self.failure is not None:
            raise self.failure


class Reporter(Caller):
    """Reports in batches, each until it is acknowledged: again under the same keys, as any client does."""

    def __init__(self, program: Program, dice: random.Random) -> None:
        self.acknowledged: dict[str, int] = {}
        self.statuses: Counter[int] = Counter()
        self.batch: list[str] = []
        super().__init__(program, dice)

    def run(self) -> None:
        self.wire = Wire(self.program.folder)
        super().run()
        self.wire.close()

    def turn(self) -> None:
        self.batch = self.batch or [uuid.uuid4().hex for _ in range(5)]
        body = json.dumps([{**REPORT, "key": key} for key in self.batch]).encode()
        status, answer = self.wire.ask("POST", "/api/v1/errors", body)
        self.statuses[status] += 1
        if status != 200:  # it is going, or too much waits
            self.ending.wait(0.05)
            return
        self.acknowledged.update(zip(self.batch, answer["ids"], strict=True))
        self.batch = []
        self.ending.wait(0.01)


class Operator(Caller):
    """Commands levels and isolations; of one whose answer never came, both before and after may hold."""

    LEVELS: Final = ("full", "degraded-llm", "limited-external", "minimal", "safe-mode")

    def __init__(self, program: Program, dice: random.Random) -> None:
        self.asking = threading.Lock()
        self.commands = 0
        self.statuses: Counter[int] = Counter()
        self.may_be: dict[str, set[Any]] = {"isolated": {False}}
        self.lately: list[Any] = []
        super().__init__(program, dice)

    def run(self) -> None:
        # So long that none is given up that a WinClaw which is just starting may carry out all the same, behind a later one.
        self.wire = Wire(self.program.folder, operator=True, timeout_s=120)
        super().run()
        self.wire.close()

    def turn(self) -> None:
        with self.asking:
            if not self.commands:
                self.command("level", "full")
            elif self.dice.random() < 0.5:
                self.command("level", self.dice.choice(self.LEVELS))
            else:
                self.command("isolated", self.dice.random() < 0.5)
        self.ending.wait(self.dice.uniform(0.02, 0.2))

    def command(self, what: str, wanted: Any) -> None:
        self.may_be.setdefault(what, set()).add(wanted)
        path = "/api/v1/level" if what == "level" else f"/api/v1/circuits/gmail_api/{'isolate' if wanted else 'release'}"
        body = {"level": wanted} if what == "level" else {}
        status, answer = self.wire.ask("POST", path, body)
        self.statuses[status] += 1
        if status == 409:  # leaving Safe Mode takes a second look
            status, answer = self.wire.ask("POST", path, {**body, "confirm": answer["confirm"]})
        self.lately = [*self.lately[-9:], (what, wanted, status, answer.get("title"))]
        if status == 200:
            self.may_be[what] = {wanted}
            self.commands += 1
        elif status == 404:  # since this WinClaw began, nothing was isolated that could be released
            self.may_be[what] = {False}

    def check(self) -> None:
        """What was commanded last and acknowledged holds."""
        with self.asking:
            state = self.program.ask("GET", "/api/v1/state")
            level = state["level"].lower().replace("_", "-")
            isolated = any(one["name"] == "gmail_api" and one["circuit"] == "ISOLATED" for one in state["services"])
            assert state["pinned"]
            assert level in self.may_be["level"], (level, self.may_be)
            assert isolated in self.may_be["isolated"], (self.may_be, self.lately)
            self.may_be["level"] = {level}
            self.may_be["isolated"] = {isolated}


class World:
    """All that runs, and all that was promised."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.dice, self.receiver = folder, random.Random(seed), Receiver()
        self.program = Program(folder / "home", port=28000, guarded=True)
        self.program.folder.mkdir(parents=True)
        webhook = {"enabled": True, "url": f"{self.receiver.url}/alerts"}
        settings = {**SETTINGS, "alerting": {**SETTINGS["alerting"], "channels": {**SETTINGS["alerting"]["channels"], "webhook": webhook}}}
        (self.program.folder / "error_handling_config.yaml").write_text(json.dumps({"error_handling": settings}))
        self.program.start()
        self.restarts = 0  # by the present guardian
        self.killed: list[int] = []  # apps that had answered
        self.down_ms: list[float] = []
        self.notes: list[Path] = []
        self.agent = self.new_agent()
        self.reporter = Reporter(self.program, random.Random(seed + 1))
        self.operator = Operator(self.program, random.Random(seed + 2))
        until(lambda: self.operator.commands)

    def new_agent(self) -> subprocess.Popen[bytes]:
        self.notes.append(self.folder / f"agent{len(self.notes)}")
        return subprocess.Popen(
            [sys.executable, "-m", "tests.busy_agent", str(self.notes[-1]), f"{self.receiver.url}/messages"],
            cwd=REPOSITORY, env=self.program.environment, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def apps(self) -> list[psutil.Process]:
        return [one for one in psutil.process_iter() if belongs_to(self.program, one, "--guarded-by")]

    def all_guardians(self) -> list[psutil.Process]:
        return [one for one in psutil.process_iter() if belongs_to(self.program, one) and one not in self.apps()]

    # The kills.

    def kill(self, what: str) -> None:
        if what in ("app", "starting") and self.restarts + (2 if what == "starting" else 1) > MAX_RESTARTS:
            what = "guardian"
        self.sleep(0.0, 0.3)
        if what in ("agent", "all"):
            self.kill_agent()
        if what in ("both", "all"):
            self.kill_both()
        if what in ("app", "starting", "guardian"):
            {"app": self.kill_app, "starting": self.kill_while_starting, "guardian": self.kill_guardian}[what]()

    def sleep(self, least_s: float, most_s: float) -> None:
        threading.Event().wait(self.dice.uniform(least_s, most_s))

    def kill_agent(self) -> None:
        self.agent.kill()
        self.agent.wait()
        self.agent = self.new_agent()

    def kill_app(self) -> None:
        pid, began = self.program.pid, time.perf_counter()
        assert pid is not None
        self.killed.append(pid)
        psutil.Process(pid).kill()
        self.restarts += 1
        self.until_another_answers(pid)
        if self.restarts == 1:  # later ones pause on purpose
            self.down_ms.append((time.perf_counter() - began) * 1000)

    def kill_while_starting(self) -> None:
        """The app, and the one that follows it before it has done all that it does at a start."""
        pid = self.program.pid
        assert pid is not None
        self.killed.append(pid)
        psutil.Process(pid).kill()
        [second] = until(lambda: [one for one in self.apps() if one.pid != pid])
        self.sleep(0.1, 2.5)
        if self.program.pid == second.pid and self.program.answers():
            self.killed.append(second.pid)
        second.kill()
        self.restarts += 2
        self.until_another_answers(second.pid, pid)

    def kill_guardian(self) -> None:
        before = {one.pid for one in self.all_guardians()}
        for one in self.all_guardians():
            one.kill()
        self.program.process.wait(20)  # the first one is this process's child
        until(lambda: set(guardians(self.program)) - before)
        self.restarts = 0

    def kill_both(self) -> None:
        pid = self.program.pid
        assert pid is not None
        self.killed.append(pid)
        psutil.Process(pid).suspend()  # else it might give itself another guardian, which would start it again
        for one in self.all_guardians():
            one.kill()
        psutil.Process(pid).kill()
        until(lambda: not self.apps() and not self.all_guardians())
        self.reap()
        self.program.start()
        self.restarts = 0

    def reap(self) -> None:
        """Nobody is left of those that this process has started."""
        assert self.program.process.stdout is not None
        if not self.program.process.stdout.closed:
            self.program.wait()

    def until_another_answers(self, *pids: int) -> None:
        until(lambda: self.program.pid not in (None, *pids) and self.program.answers())

    # What must hold.

    def check(self) -> None:
        """While all goes on."""
        self.operator.check()
        acknowledged = dict(self.reporter.acknowledged)
        assert len(self.apps()) == 1
        stored = stored_keys(self.program.folder)
        repeated = [key for key, times in Counter(stored).items() if times > 1]
        assert repeated == []
        with contextlib.closing(sqlite3.connect(self.program.folder / "journal.db")) as conn:
            found = dict(conn.execute("SELECT key, id FROM errors"))
            assert acknowledged.items() <= found.items()
            ids = [number for (number,) in conn.execute("SELECT id FROM errors UNION ALL SELECT id FROM events ORDER BY id")]
        assert len(ids) == len(set(ids))
        numbers = list(acknowledged.values())
        late = sum(after < before for before, after in pairwise(numbers))
        assert late == 0, "a later report has a smaller number"

    def promised(self, what: str) -> list[str]:
        """What agents were told is safe; the last line of one that was killed may be half a line."""
        lines = [line for notes in self.notes if notes.exists() for line in notes.read_text().splitlines(keepends=True)]
        return [line[2:].rstrip("\n") for line in lines if line.startswith(f"{what} ") and line.endswith("\n")]

    def settle(self) -> None:
        """Everybody ends; what was promised arrives."""
        self.reporter.stop()
        self.operator.stop()
        self.operator.wire = Wire(self.program.folder, operator=True)
        self.operator.command("level", "full")
        until(lambda: all(self.receiver.times["/messages"][key] for key in self.promised("m")))
        until(lambda: all(one.state == "running" for one in unfinished_in(self.program.folder / "transactions")))
        self.agent.kill()
        self.agent.wait()
        until(lambda: not list((self.program.folder / "spool").glob("*.spool")))
        until(lambda: not self.webhook_tellings("waiting", "sending"))
        self.check()
        delivered = {one["digest"] or one["key"] for one in self.webhook_tellings("delivered")}
        assert delivered
        assert delivered <= set(self.receiver.times["/alerts"])
        assert self.webhook_tellings("failed") == []
        errors = self.deaths()
        assert [one for one in self.killed if one not in errors] == []
        assert len(errors) == len(set(errors))

    def webhook_tellings(self, *states: str) -> list[dict[str, Any]]:
        alerts = self.program.ask("GET", "/api/v1/alerts")["alerts"]
        return [one for alert in alerts for one in alert["tellings"] if one["channel"] == "webhook" and one["state"] in states]

    def deaths(self) -> list[int]:
        """The processes of the lives whose deaths are in the journal."""
        with contextlib.closing(sqlite3.connect(self.program.folder / "journal.db")) as conn:
            rows = conn.execute("SELECT detail FROM errors WHERE component = 'winclaw' AND key LIKE 'life:%'").fetchall()
        return [json.loads(detail)["metadata"]["pid"] for (detail,) in rows]

    def checked_after(self) -> None:
        """When nothing runs any more."""
        with contextlib.closing(sqlite3.connect(self.program.folder / "journal.db")) as conn:
            messages = [message for (message,) in conn.execute("SELECT message FROM errors WHERE operation = 'steady'")]
        assert len(messages) == len(set(messages))
        assert set(self.promised("e")) <= set(messages)
        self.check_ledger()
        saved = [[int(number) for number in self.of(notes, "c")] for notes in self.notes]
        found = [[int(number) for number in self.of(notes, "r")] for notes in self.notes]
        safe = 0
        for restored, later in zip(found, saved, strict=True):
            assert all(number >= safe for number in restored), "a checkpoint that was safe is not the latest any more"
            safe = max([safe, *later])

    def check_ledger(self) -> None:
        """No transaction is half done, but for the one that the last agent was killed in; what was committed stays."""
        ledger = booked(self.folder / "ledger")
        assert set(ledger.values()) <= {0, 1}
        parts = {part: {key.partition("/")[0] for key, times in ledger.items() if times and key.endswith(part)} for part in ("buy", "sell")}
        half = parts["buy"] ^ parts["sell"]
        assert all(name.startswith(f"{self.notes[-1].stem}.") for name in half), half
        assert len(half) <= 1
        assert set(self.promised("t")) <= parts["buy"] & parts["sell"]

    def of(self, notes: Path, what: str) -> list[str]:
        lines = notes.read_text().splitlines(keepends=True) if notes.exists() else []
        return [line[2:-1] for line in lines if line.startswith(f"{what} ") and line.endswith("\n")]

    def close(self) -> None:
        for caller in (self.reporter, self.operator):
            caller.ending.set()
        self.agent.kill()
        self.agent.wait()
        for _ in range(20):
            for one in (*self.all_guardians(), *self.apps()):
                with contextlib.suppress(psutil.Error):
                    one.kill()
        self.reap()
        self.receiver.shutdown()
        self.receiver.server_close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path, SEED)
    yield one
    one.close()


@pytest.mark.skipif(sys.platform == "win32", reason="there a restart takes many seconds, and nobody from outside can ask it to stop")
def test_whoever_is_killed_whenever_what_was_acknowledged_holds(world: World) -> None:
    """Each event once, each message, the level as commanded last, each death told, and nothing left running."""
    print(f"WINCLAW_SEED={SEED} WINCLAW_KILLS={KILLS}")
    kinds = ["app", "guardian", "agent", "both", "all", "starting"]
    done: list[str] = []
    while len(done) < KILLS:
        world.dice.shuffle(kinds)
        for kind in kinds[: KILLS - len(done)]:
            print(f"{len(done)}: {kind}", flush=True)
            world.kill(kind)
            done.append(kind)
        world.check()
    world.settle()
    left: Callable[[], list[psutil.Process]] = lambda: [*world.apps(), *world.all_guardians()]  # noqa: E731
    psutil.Process(world.program.pid).terminate()
    until(lambda: not left())
    world.checked_after()
    repeated = sum(times - 1 for times in world.receiver.times["/messages"].values())
    print(
        f"{len(done)} kills, {len(world.deaths())} deaths told; {len(world.reporter.acknowledged)} reports acknowledged "
        f"({dict(world.reporter.statuses)}), {len(world.promised('e'))} by the agent, {len(world.promised('m'))} messages "
        f"({repeated} repeated), {len(world.promised('c'))} checkpoints, {len(world.promised('t'))} transactions, {world.operator.commands} commands ({dict(world.operator.statuses)}), "
        f"{len(world.receiver.times['/alerts'])} alerts; back after {sorted(round(one) for one in world.down_ms)} ms"
    )
