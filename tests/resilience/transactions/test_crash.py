"""Real processes, killed without warning at every moment between two writes: nothing is left half."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from resilience.transactions.file import unfinished_in
from tests.resilience.transactions.transacting import ROOT

CHILD: Final = """
import asyncio, json, sys
from pathlib import Path
from resilience.clock import SystemClock
from resilience.transactions.manager import TransactionManager

folder, how, moment = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

class Unlooking(TransactionManager):
    def _start(self):
        "No thread: this process says when."

def at(what):
    if what == moment:
        print("there", flush=True)
        sys.stdin.read()

def log(what):
    with (folder / "log").open("a") as file:
        file.write(what + "\\n")

def create(name):
    at(f"in {name}")
    (folder / "world" / name).write_text(key_of[name])
    at(f"after {name}")
    return {"name": name}

def delete(kept):
    at(f"in undo of {kept['name']}")
    (folder / "world" / kept["name"]).unlink(missing_ok=True)
    log(kept["name"])
    at(f"after undo of {kept['name']}")

def find(key):
    for path in (folder / "world").iterdir():
        if path.read_text() == key:
            return {"name": path.name}
    raise LookupError(key)

async def create_later(name):
    return create(name)

async def delete_later(kept):
    delete(kept)

key_of = {}
manager = Unlooking(folder / "transactions", SystemClock(), agent="clerk")
undo = manager.compensation("delete", found=find)(delete_later if how == "async" else delete)

def steps(tx):
    for name in ("a", "b", "c"):
        at(f"before {name}")
        key_of[name] = tx.next_key
        yield name

def fail():
    if "undo" in moment:
        raise ValueError("undo, please")
    at("before the end")

if how == "resume":
    print("ready", flush=True)
    sys.stdin.readline()
    done = manager.resume()
    print(json.dumps([[list(one.undone), [str(left) for left in one.left]] for one in done]), flush=True)
elif how == "async":
    async def main():
        async with manager.transaction("t", "k") as tx:
            for name in steps(tx):
                if name == "b":
                    async with tx.nested("part") as part:
                        await part.do(create_later, name, undo=undo)
                else:
                    await tx.do(create_later, name, undo=undo)
            fail()
    asyncio.run(main())
else:
    with manager.transaction("t", "k") as tx:
        for name in steps(tx):
            if name == "b":
                with tx.nested("part") as part:
                    part.do(create, name, undo=undo)
            else:
                tx.do(create, name, undo=undo)
        fail()
if how != "resume":
    at("after the end")
manager.close()
"""
MOMENTS: Final = [
    *[f"{when} {name}" for name in "abc" for when in ("before", "in", "after")],
    "before the end",
    *[f"{when} undo of {name}" for name in "cba" for when in ("in", "after")],
]


@contextlib.contextmanager
def child(folder: Path, how: str, moment: str = "") -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", CHILD, str(folder), how, moment],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def killed_at(folder: Path, how: str, moment: str) -> None:
    (folder / "world").mkdir(exist_ok=True)
    with child(folder, how, moment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"


def resumed(folder: Path) -> Any:
    with child(folder, "resume") as process:
        output, _ = process.communicate("go\n", timeout=60)
        assert process.returncode == 0
        return json.loads(output.splitlines()[1])


def world(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "world").iterdir())


@pytest.mark.parametrize(
    ("how", "moment"),
    [*(("sync", moment) for moment in MOMENTS), *(("async", moment) for moment in ("in b", "after b", "in undo of b", "after undo of b"))],
)
def test_kill_9_at_any_moment_is_undone_by_the_next_process(tmp_path: Path, how: str, moment: str) -> None:
    killed_at(tmp_path, how, moment)
    [seen] = unfinished_in(tmp_path / "transactions")
    assert (seen.agent, seen.transaction, seen.key, seen.state) == ("clerk", "t", "k", "abandoned")
    [(_, left)] = resumed(tmp_path)
    assert left == []
    assert world(tmp_path) == []
    assert unfinished_in(tmp_path / "transactions") == []
    undone = (tmp_path / "log").read_text().split() if (tmp_path / "log").exists() else []
    once = list(dict.fromkeys(undone))
    assert once == sorted(once, reverse=True), "newest first, over both processes"
    twice = [moment[-1]] if moment.startswith("after undo") else []  # nobody wrote down that it was undone
    assert sorted([*once, *twice]) == sorted(undone)


def test_what_was_committed_before_the_kill_stays(tmp_path: Path) -> None:
    killed_at(tmp_path, "sync", "after the end")
    assert resumed(tmp_path) == []
    assert world(tmp_path) == ["a", "b", "c"]
    (tmp_path / "world" / "a").unlink()
    with child(tmp_path, "sync") as process:  # the same key: nothing is called again
        process.communicate("", timeout=60)
        assert process.returncode == 0
    assert world(tmp_path) == ["b", "c"]


def test_killed_while_it_resumes_the_next_goes_on(tmp_path: Path) -> None:
    killed_at(tmp_path, "sync", "before the end")
    with child(tmp_path, "resume", "after undo of b") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        assert [process.stdout.readline() for _ in range(2)] == ["ready\n", "there\n"]
    [(undone, left)] = resumed(tmp_path)
    assert (len(undone), left) == (2, [])
    assert world(tmp_path) == []
    assert (tmp_path / "log").read_text().split() == ["c", "b", "b", "a"]


def test_two_processes_that_resume_at_once_undo_each_step_once(tmp_path: Path) -> None:
    killed_at(tmp_path, "sync", "before the end")
    with child(tmp_path, "resume") as one, child(tmp_path, "resume") as other:
        for process in (one, other):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in (one, other):
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [json.loads(process.communicate(timeout=60)[0]) for process in (one, other)]
    assert sum(map(len, answers)) == 1
    assert (tmp_path / "log").read_text().split() == ["c", "b", "a"]
    assert world(tmp_path) == []
