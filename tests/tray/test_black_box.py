"""What a life leaves of its end, and what the next one finds: processes that really die, and files."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from resilience import home
from resilience.clock import SystemClock
from resilience.core.deaths import Life
from resilience.journal.journal import JournalError
from resilience.log import LOG
from tray.black_box import BlackBox
from tray.guardian import Guardian

# A WinClaw without anything in it but its black box and its log; each test says what happens to it.
LIFE = """
import faulthandler, logging, re, sys, threading, time
from functools import partial
from pathlib import Path
from resilience import home
from resilience.clock import SystemClock
from resilience.core.sign_of_life import SignOfLife
from resilience.log import LOG, EventLog
from resilience.redaction import Redactor
from tray.black_box import BlackBox

folder, held = Path(sys.argv[1]), threading.Lock()

def asks_itself_in_vain():
    with held:
        with held:
            pass

def falls():
    raise ValueError("token=abcdefgh")

class Stuck:
    def __del__(self):
        raise ValueError("on the way out")

with EventLog(folder / home.LOGS, Redactor()) as log:
    box = BlackBox(folder, log.path, SystemClock().now()).begin()
    with box.recording({hangs_after_s}):
        log.begins(box.life.name)
        {body}
box.leave(None, None, None)
"""
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def command(folder: Path, body: str, hangs_after_s: float = 60.0) -> list[str]:
    indented = body.replace("\n", "\n        ")
    return [sys.executable, "-c", LIFE.format(hangs_after_s=hangs_after_s, body=indented), str(folder)]


def box_in(folder: Path, now: datetime = NOW) -> BlackBox:
    return BlackBox(folder, folder / home.LOGS / LOG, now)


def lived(folder: Path, body: str, hangs_after_s: float = 60.0) -> int:
    return subprocess.run(command(folder, body, hangs_after_s), capture_output=True, check=False, timeout=60).returncode


def logged(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / home.LOGS / LOG).read_text("utf-8").splitlines()]


def files(folder: Path) -> list[Path]:
    return sorted((folder / home.LOGS).glob("crash-*"))


def until(met: Any) -> None:
    pause = threading.Event()
    for _ in range(3000):
        if met():
            return
        pause.wait(0.01)
    raise AssertionError("not within 30 s")


def test_who_dies_of_a_fault_leaves_where_each_thread_stood(tmp_path: Path) -> None:
    """Without a console, too, as a program with windows runs."""
    body = (
        "threading.Thread(target=asks_itself_in_vain, daemon=True).start()\n"
        "sys.stdout = sys.stderr = None\n"
        "logging.getLogger('winclaw.x').error('the last word')\n"
        "while not held.locked(): time.sleep(0.01)\n"
        "log.close()\n"
        "faulthandler._read_null()"
    )
    assert lived(tmp_path, body) != 0
    [death] = box_in(tmp_path).deaths
    assert death.wrote.startswith(("Fatal Python error: Segmentation fault", "Windows fatal exception: access violation"))
    assert "Current thread" in death.wrote
    assert "in asks_itself_in_vain" in death.wrote
    assert [one["message"] for one in death.lines] == ["WinClaw begins", "the last word"]


@pytest.mark.parametrize(
    ("stuck", "where"),
    [
        ("asks_itself_in_vain()", "in asks_itself_in_vain"),
        ("re.match('(a+)+$', 'a' * 100 + 'b')", "in match"),  # with the lock of the interpreter held: no thread runs any more
    ],
)  # fmt: skip
def test_who_hangs_leaves_where_before_it_is_killed(tmp_path: Path, stuck: str, where: str) -> None:
    with subprocess.Popen(command(tmp_path, stuck, hangs_after_s=0.3)) as process:
        until(lambda: [one for one in files(tmp_path) if one.stat().st_size])
        process.kill()
    [death] = box_in(tmp_path).deaths
    assert death.wrote.startswith("Timeout (")
    assert where in death.wrote


def test_a_hang_goes_its_whole_way_from_the_stuck_thread_to_the_report(tmp_path: Path) -> None:
    """No sign of life any more: the threads are written down, the guardian ends it, the next life tells of both."""
    body = (
        "if box.deaths:\n"
        "    [report] = box.reports(sys.argv[3], None)\n"
        "    (folder / 'told').write_text(report.message + chr(10) + report.stack)\n"
        "    sys.exit(0)\n"
        "stuck = threading.Event()\n"
        "(folder / home.ENDPOINT).write_text('x')\n"
        "life = SignOfLife(folder / home.ALIVE, SystemClock(), lambda: not stuck.is_set(), box.sign)\n"
        "life.start()\n"
        "while not (folder / home.ALIVE).exists(): time.sleep(0.01)\n"
        "stuck.set()\n"
        "asks_itself_in_vain()"
    )
    # Signs come every five seconds; the first one is all there is here, and the guardian waits for 12 looks.
    guardian = Guardian(tmp_path, command(tmp_path, body, hangs_after_s=1.0), SystemClock(), look_s=0.3)
    assert guardian.run() == 0
    message, _, stack = (tmp_path / "told").read_text("utf-8").partition("\n")
    assert message == "WinClaw gave no sign of life for 4 s"
    assert "in asks_itself_in_vain" in stack


def test_what_it_has_survived_is_in_the_log_and_no_death(tmp_path: Path) -> None:
    """Where a hang ends by itself. The second sign is waited for, so that nothing is taken away that is being written."""
    body = (
        "while not box._path.stat().st_size: time.sleep(0.01)\n"
        "box.sign()\nfaulthandler.cancel_dump_traceback_later()\n"
        "while box._path.stat().st_size: box.sign()\n"
        "faulthandler.cancel_dump_traceback_later()\nlog.close()\n"
        "faulthandler._read_null()"
    )
    assert lived(tmp_path, body, hangs_after_s=0.3) != 0
    said = [one["message"] for one in logged(tmp_path)]
    assert any(one.startswith("WinClaw went on after this:\nTimeout (") for one in said)
    [death] = box_in(tmp_path).deaths
    assert "Timeout" not in death.wrote


def test_an_exception_in_a_thread_and_one_that_nobody_can_catch_are_in_the_log(tmp_path: Path) -> None:
    body = "one = threading.Thread(target=falls, name='poor')\none.start()\none.join()\nx = Stuck()\ndel x"
    assert lived(tmp_path, body) == 0
    _, in_thread, unraisable = logged(tmp_path)
    assert (in_thread["severity"], in_thread["message"]) == ("CRITICAL", "an exception ends the thread poor")
    assert in_thread["stack"].endswith("ValueError: token=[redacted]")
    assert "Stuck.__del__" in unraisable["message"]
    assert unraisable["stack"].endswith("ValueError: on the way out")
    assert files(tmp_path) == []


def test_who_is_killed_without_a_word_leaves_the_end_of_its_log(tmp_path: Path) -> None:
    with subprocess.Popen(command(tmp_path, "logging.getLogger('winclaw.x').error('the last word')\ntime.sleep(60)")) as process:
        until(lambda: files(tmp_path) and (tmp_path / home.LOGS / LOG).exists() and len(logged(tmp_path)) == 2)
        process.kill()
    [death] = box_in(tmp_path).deaths
    assert death.wrote == ""
    assert [one["message"] for one in death.lines] == ["WinClaw begins", "the last word"]
    assert death.life.begun <= death.at < NOW


def test_a_life_that_ends_as_it_should_leaves_nothing(tmp_path: Path) -> None:
    for reason in (None, SystemExit(0), KeyboardInterrupt(), OSError("the port is taken"), JournalError("of a newer version")):
        box = box_in(tmp_path).begin()
        assert len(files(tmp_path)) == 1
        box.leave(type(reason), reason, None)
        assert files(tmp_path) == []
    box = box_in(tmp_path).begin()
    box.goodbye()  # the session ends: what follows may never come
    box.leave(None, None, None)
    assert files(tmp_path) == []


def test_a_life_that_an_exception_ends_leaves_its_traceback(tmp_path: Path) -> None:
    box = box_in(tmp_path, NOW - timedelta(seconds=1)).begin()
    error = ZeroDivisionError("nobody expected it")
    box.leave(type(error), error, None)
    [death] = box_in(tmp_path).deaths
    assert death.wrote.endswith("ZeroDivisionError: nobody expected it\n")


def test_an_exception_during_the_start_leaves_its_traceback_too(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom contextlib import ExitStack\nfrom datetime import UTC, datetime\nfrom pathlib import Path\n"
        "from tray.black_box import BlackBox\n"
        "folder = Path(sys.argv[1])\n"
        "with ExitStack() as stack:\n"
        "    BlackBox(folder, folder / 'logs' / 'winclaw.jsonl', datetime(2029, 1, 1, tzinfo=UTC)).begin_in(stack, whole=True)\n"
        "    raise LookupError('at the start')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, check=False, timeout=60)
    assert done.returncode == 1
    [death] = box_in(tmp_path).deaths
    assert death.wrote.endswith("LookupError: at the start\n")


def test_several_deaths_are_told_each_and_only_the_last_was_seen_by_the_guardian(tmp_path: Path) -> None:
    """A death during the start, before the earlier one could be told."""
    logs = home.make_private_folder(tmp_path / home.LOGS)
    lives = [Life(NOW - timedelta(minutes=number), number) for number in (3, 2)]
    for life in lives:
        (logs / f"crash-{life.name}.txt").touch()
    (logs / "crash-of-somebody.txt").touch()
    box = box_in(tmp_path)
    first, last = box.reports("it was killed by SIGKILL", 5.0)
    assert [first.key, last.key] == [f"life:{life.name}" for life in lives]
    assert first.message.startswith("WinClaw ended without a goodbye")
    assert last.message == "WinClaw was killed by SIGKILL"
    assert ("away_s" in first.metadata, last.metadata["away_s"]) == (False, 5.0)
    box.forget()
    assert (box.deaths, box.reports("", None)) == ([], [])
    assert [one.name for one in files(tmp_path)] == ["crash-of-somebody.txt"]


def test_of_very_many_deaths_the_latest_are_told(tmp_path: Path) -> None:
    """A disk that takes nothing lets none be told."""
    logs = home.make_private_folder(tmp_path / home.LOGS)
    for number in range(15):
        (logs / f"crash-{Life(NOW - timedelta(minutes=number + 1), number).name}.txt").touch()
    box = box_in(tmp_path)
    assert [one.life.pid for one in box.deaths] == list(range(9, -1, -1))
    box.forget()
    assert files(tmp_path) == []


def test_where_no_start_comes_far_enough_to_tell_the_latest_are_kept(tmp_path: Path) -> None:
    logs = home.make_private_folder(tmp_path / home.LOGS)
    (logs / "crash-of-somebody.txt").touch()
    for number in range(50):
        (logs / f"crash-{Life(NOW - timedelta(minutes=50 - number), number).name}.txt").touch()
        box_in(tmp_path)
    assert [int(one.stem.rpartition("-")[2]) for one in files(tmp_path)[:-1]] == list(range(30, 50))


def test_a_disk_that_takes_no_file_ends_nobody(tmp_path: Path) -> None:
    box = box_in(tmp_path)
    box._path.mkdir()
    box.begin()
    with box.recording():
        box.sign()
        box.fell(ValueError())
    error = ValueError()
    box.leave(type(error), error, None)


@pytest.mark.skipif(sys.platform == "win32", reason="there, the folder's rights hold for what is in it")
def test_the_file_is_for_this_user_alone(tmp_path: Path) -> None:
    box = box_in(tmp_path).begin()
    [file] = files(tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600
    box.goodbye()
