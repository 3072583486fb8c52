"""The output of processes: read on without loss or double, turned over when it is large, bounded in a flood."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from resilience.core.core import CoreBusyError
from resilience.journal.history import ErrorFilter
from resilience.processes.following import Follower, OutputWatch
from resilience.processes.output import OUTPUT, rotate, tail_of
from tests.resilience.processes.conftest import House, process, python, until

POLICY = process(max_log_mb=0.001, log_files=2)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    one = House(tmp_path, {"agent": POLICY})
    (tmp_path / "processes" / "agent").mkdir(parents=True)
    yield one
    one.stop()


@pytest.fixture
def output(house: House) -> Path:
    return house.folder / "processes" / "agent" / OUTPUT


def follower(house: House) -> Follower:
    return Follower("agent", house.folder / "processes" / "agent", house.core)


def look(follower: Follower, times: int = 3) -> None:
    for _ in range(times):
        follower.look(POLICY)


def append(path: Path, text: str) -> None:
    with path.open("a", newline="") as file:
        file.write(text)


def messages(house: House) -> list[str]:
    return [str(one.body["message"]) for one in reversed(house.core.history.errors(ErrorFilter(), 500))]


def test_errors_in_the_output_are_reported_as_the_processs(house: House, output: Path) -> None:
    reader = follower(house)
    look(reader)
    append(output, "all well\nERROR no model\n")
    look(reader)
    [error] = house.core.history.errors(ErrorFilter(), 10)
    assert (error.component, error.body["operation"], error.body["message"]) == ("agent", "output", "no model")


def test_the_next_winclaw_reads_on_where_this_one_stopped(house: House, output: Path) -> None:
    first = follower(house)
    append(output, "ERROR one\nERROR tw")
    look(first)
    append(output, "o\nERROR three, while nobody read\n")
    second = follower(house)
    look(second)
    assert messages(house) == ["one", "two", "three, while nobody read"]


def test_what_is_read_again_is_stored_once(house: House, output: Path) -> None:
    """WinClaw died between the report and the note of it."""
    first = follower(house)
    append(output, "ERROR one\n")
    look(first, 1)
    noted = (output.parent / "read.json").read_text()
    look(first)
    assert messages(house) == ["one"]
    assert (output.parent / "read.json").read_text() != noted
    (output.parent / "read.json").write_text(noted)
    look(follower(house))
    assert messages(house) == ["one"]


def test_what_was_held_back_is_told_when_the_file_is_emptied(house: House, output: Path) -> None:
    reader = follower(house)
    append(output, "quite some output\nERROR one\n")
    look(reader, 1)
    output.write_text("")
    look(reader)
    assert messages(house) == ["one"]


def test_a_report_that_cannot_be_taken_does_not_end_the_reading(
    house: House, output: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: object) -> object:
        raise ValueError("a defect")

    reader = follower(house)
    with monkeypatch.context() as broken:
        broken.setattr(house.core, "report", refuse)
        append(output, "ERROR one\n")
        look(reader)
    append(output, "ERROR two\n")
    look(reader)
    assert messages(house) == ["two"]
    assert "1 errors in the output of agent could not be taken in" in caplog.text


def test_a_large_file_is_put_aside_and_nothing_is_lost_or_doubled(house: House, output: Path) -> None:
    reader = follower(house)
    for number in range(100):
        append(output, f"ERROR {chr(97 + number // 26)}{chr(97 + number % 26)} {'x' * 100}\n")
        look(reader, 1)
    look(reader)
    assert [one.split()[0] for one in messages(house)] == [f"{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(100)]
    kept = sorted(path.name for path in output.parent.glob(f"{OUTPUT}*"))
    assert kept == [OUTPUT, f"{OUTPUT}.1", f"{OUTPUT}.2"]


def test_what_was_written_just_before_the_file_was_emptied_is_read_from_where_it_was_put(
    house: House, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = follower(house)

    def late(path: Path, keep: int) -> int:
        append(path, "ERROR late\n")
        return rotate(path, keep)

    monkeypatch.setattr("resilience.processes.following.rotate", late)
    append(output, "x" * 2000 + "\n")
    look(reader)
    assert messages(house) == ["late"]


class Killed(BaseException):
    """WinClaw is killed."""


def test_nothing_is_lost_when_winclaw_is_killed_while_it_turns_the_file_over(
    house: House, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the file is empty, what stood in it is told; when its new beginning is noted, so is what came last."""
    def killed(path: Path, keep: int) -> int:
        rotate(path, keep)
        raise Killed

    append(output, "ERROR one\n" + "x" * 2000 + "\n")
    with monkeypatch.context() as deadly:
        deadly.setattr("resilience.processes.following.rotate", killed)
        with pytest.raises(Killed):
            look(follower(house), 1)
    append(output, "ERROR two\n")
    look(follower(house))
    assert messages(house) == ["one", "two"]


def test_the_last_errors_of_a_file_are_told_before_its_new_beginning_is_noted(
    house: House, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal is busy just when the file is turned over: they are held, and nothing is noted, until it takes them."""
    def late(path: Path, keep: int) -> int:
        append(path, "ERROR late\n")
        monkeypatch.setattr(house.core, "report", refuse)
        return rotate(path, keep)

    def refuse(_: object) -> object:
        raise CoreBusyError("too much is waiting")

    reader, taken = follower(house), house.core.report
    append(output, "x" * 2000 + "\n")
    monkeypatch.setattr("resilience.processes.following.rotate", late)
    with pytest.raises(CoreBusyError):
        look(reader)
    stream = json.loads((output.parent / "read.json").read_text())["stream"]
    append(output, "ERROR next\n")
    with pytest.raises(CoreBusyError):
        look(reader)
    assert json.loads((output.parent / "read.json").read_text())["stream"] == stream
    monkeypatch.setattr(house.core, "report", taken)
    look(reader)
    assert messages(house) == ["late", "next"]
    assert json.loads((output.parent / "read.json").read_text())["stream"] != stream


def test_a_file_that_somebody_emptied_is_read_from_its_beginning(house: House, output: Path) -> None:
    reader = follower(house)
    append(output, "ERROR one and more\n")
    look(reader)
    output.write_text("ERROR two\n")
    look(reader)
    assert messages(house) == ["one and more", "two"]


def test_a_process_that_holds_its_file_writes_on_after_it_was_emptied(house: House, output: Path) -> None:
    """Its file was opened for appending, so nothing is written behind a hole."""
    winclaw = house
    go = output.parent.parent / "go"
    winclaw.configure(
        agent=process(
            python(
                f"import os, time\nprint('before', flush=True)\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)\n"
                "print('after', flush=True)\ntime.sleep(60)"
            )
        )
    )
    winclaw.start()
    winclaw.becomes("agent", "running")
    until(lambda: output.exists() and b"\n" in output.read_bytes())
    rotate(output, 2)
    assert output.stat().st_size == 0
    go.touch()
    until(lambda: b"\n" in output.read_bytes())
    assert output.with_name(f"{OUTPUT}.1").read_text().split() == ["before"]
    assert output.read_text().split() == ["after"]


def test_a_flood_is_told_once_and_counted(house: House, output: Path) -> None:
    reader = follower(house)
    append(output, "".join(f"ERROR number {n} went wrong\n" for n in range(20_000)))
    look(reader)
    assert messages(house) == ["number 0 went wrong"]


def test_the_watch_reads_what_all_processes_write(house: House, output: Path) -> None:
    watch = OutputWatch(house.folder, house.core, every_s=0.01)
    watch.start()
    append(output, "Traceback (most recent call last):\n  File 'x'\nValueError: bad\n")
    until(lambda: messages(house) == ["bad"])
    append(output, "ERROR last words\n")
    watch.stop()
    look(follower(house))  # what might have gone on is left to the next WinClaw
    assert messages(house) == ["bad", "last words"]


def test_the_end_of_the_output_is_shown_without_what_only_terminals_understand(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    assert tail_of(path) == ""
    path.write_bytes(b"first line\n\x1b[31mred\x1b[0m \x1b]0;title\x07\x00\xff\r\nlast")
    assert tail_of(path) == "first line\nred \ufffd\nlast"
    assert tail_of(path, 10) == "last"
