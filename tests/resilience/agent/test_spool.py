from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from resilience.agent.spool import Spool


def drain(spool: Spool) -> list[int]:
    found = []
    while lines := spool.peek(max_lines=3):
        found += [json.loads(line)["n"] for line in lines]
        spool.acknowledge(lines)
    return found


def test_what_is_appended_waits_until_it_is_acknowledged(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number in range(10):
        spool.append({"n": number})
    assert [json.loads(line)["n"] for line in spool.peek()] == list(range(10))
    assert [json.loads(line)["n"] for line in spool.peek(max_lines=2)] == [0, 1]
    assert drain(spool) == list(range(10))
    assert not spool.waiting
    spool.close()


def test_an_empty_spool_leaves_no_file_behind(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append({"n": 1})
    drain(spool)
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_a_line_longer_than_the_bound_is_given_alone(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append({"n": 1, "text": "x" * 10_000})
    spool.append({"n": 2})
    assert len(spool.peek(max_bytes=100)) >= 1
    assert drain(spool) == [1, 2]
    spool.close()


def test_what_a_closed_process_left_is_found_by_the_next(tmp_path: Path) -> None:
    first = Spool(tmp_path)
    first.append({"n": 1})
    first.close()
    second = Spool(tmp_path)
    second.adopt()
    second.append({"n": 2})
    assert drain(second) == [1, 2]
    assert len(list(tmp_path.iterdir())) == 1  # its own
    second.close()


def test_what_was_adopted_is_gone_once_it_is_delivered(tmp_path: Path) -> None:
    first = Spool(tmp_path)
    first.append({"n": 1})
    first.close()
    heir = Spool(tmp_path)
    heir.adopt()
    assert drain(heir) == [1]
    assert list(tmp_path.iterdir()) == []
    heir.close()


def test_a_living_process_keeps_its_file(tmp_path: Path) -> None:
    alive, other = Spool(tmp_path), Spool(tmp_path)
    alive.append({"n": 1})
    other.adopt()
    assert not other.waiting
    assert drain(alive) == [1]
    alive.close()
    other.close()


KILLED = """
import os, sys
from pathlib import Path
from resilience.agent.spool import Spool
spool = Spool(Path(sys.argv[1]))
for number in range(1000):
    spool.append({"n": number})
print("appended", flush=True)
sys.stdin.read()
"""


def test_what_a_killed_process_appended_is_found(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline().strip() == b"appended"
    child.kill()
    child.communicate()
    heir = Spool(tmp_path)
    heir.adopt()
    assert drain(heir) == list(range(1000))
    heir.close()


def test_a_line_torn_by_the_kill_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / "1-abc.spool").write_bytes(b'{"n":1}\n{"n":2}\n{"n":3,"tex')
    heir = Spool(tmp_path)
    heir.adopt()
    assert drain(heir) == [1, 2]
    heir.close()


def test_a_file_with_nothing_but_a_torn_line_is_removed(tmp_path: Path) -> None:
    (tmp_path / "1-abc.spool").write_bytes(b'{"n":3,"tex' * 20_000)
    heir = Spool(tmp_path)
    heir.adopt()
    assert not heir.waiting
    assert list(tmp_path.iterdir()) == []
    heir.close()


def test_past_its_limit_it_drops_what_is_new(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_mb=0.001)
    for number in range(20):
        spool.append({"n": number, "text": "x" * 100})
    assert drain(spool) == list(range(8))
    spool.append({"n": 99})
    assert drain(spool) == [99]
    spool.close()


def test_many_segments_are_given_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resilience.agent.spool._SEGMENT_BYTES", 50)
    spool = Spool(tmp_path)
    for number in range(40):
        spool.append({"n": number})
    assert len(list(tmp_path.iterdir())) > 1
    assert drain(spool) == list(range(40))
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_costs_the_report_not_the_agent(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "gone")
    spool.append({"n": 1})
    assert not spool.waiting


def test_refused_reports_are_kept_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resilience.agent.spool._MAX_REFUSED_BYTES", 35)
    for _ in range(10):
        Spool(tmp_path).refuse(b"0123456789\n")
    assert (tmp_path / "refused.jsonl").read_bytes() == b"0123456789\n" * 4


@pytest.mark.parametrize("is_removed", [
    pytest.param(True, marks=pytest.mark.skipif(sys.platform == "win32", reason="what is open there, nobody removes")), False,
])  # fmt: skip
def test_a_file_that_another_process_took_for_an_orphan_at_its_birth_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_removed: bool
) -> None:
    births = []

    def lock(_file: object) -> bool:
        births.append(1)
        if len(births) == 1 and is_removed:
            next(tmp_path.glob("*.spool")).unlink()
        return is_removed or len(births) > 1

    monkeypatch.setattr("resilience.agent.spool.try_lock", lock)
    spool = Spool(tmp_path)
    spool.append({"n": 1})
    assert (len(births), [path.stat().st_size > 0 for path in tmp_path.glob("*.spool")].count(True)) == (2, 1)
    assert drain(spool) == [1]
    spool.close()
