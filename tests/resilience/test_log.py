from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from resilience.events import Event
from resilience.log import EventLog
from resilience.redaction import Redactor


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def an_event(number: int, **body: object) -> Event:
    return Event(number, "2026-01-01T00:00:00.000000Z", "error", "gpt-5.2", body)


def test_events_and_messages_are_one_json_object_a_line(tmp_path: Path) -> None:
    with EventLog(tmp_path / "logs", Redactor()) as log:
        log.events([an_event(1, message="line one\nline two \N{CRAB}")])
        logging.getLogger("winclaw.test").warning("token=abcdef %s", "given")
    first, second = lines(log.path)
    assert (first["id"], first["message"]) == (1, "line one\nline two \N{CRAB}")
    assert second["severity"] == "WARNING"
    assert second["component"] == "winclaw.test"
    assert "abcdef" not in str(second["message"])


def test_an_exception_is_logged_with_its_stack(tmp_path: Path) -> None:
    with EventLog(tmp_path / "logs", Redactor()) as log:
        try:
            raise ValueError("inner sk-abcdefghijklmnopqrstu")
        except ValueError:
            logging.getLogger("winclaw.test").exception("it failed")
    said = lines(log.path)[0]
    assert said["message"] == "it failed"
    assert "test_log.py" in str(said["stack"])
    assert "sk-abcdef" not in str(said["stack"])


def test_files_are_rotated_by_size_and_bounded_in_number(tmp_path: Path) -> None:
    with EventLog(tmp_path / "logs", Redactor(), max_file_mb=0.002, files=2) as log:
        log.events(an_event(number, message="x" * 100) for number in range(200))
    files = sorted(file.name for file in (tmp_path / "logs").iterdir())
    assert files == ["winclaw.jsonl", "winclaw.jsonl.1", "winclaw.jsonl.2"]
    assert all(file.stat().st_size <= 2200 for file in (tmp_path / "logs").iterdir())
    assert lines(log.path)[-1]["id"] == 199


def test_a_disk_that_refuses_takes_nobody_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with EventLog(tmp_path / "logs", Redactor()) as log:
        log.path.mkdir()  # nothing can be written there
        log.events([an_event(1)])
    assert log.path.is_dir()
    assert "Traceback" not in capsys.readouterr().out


def test_after_it_is_closed_nothing_listens_any_more(tmp_path: Path) -> None:
    with EventLog(tmp_path / "logs", Redactor()) as log:
        pass
    logging.getLogger("winclaw.test").warning("nobody hears this")
    assert not log.path.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a file that is always full")
def test_a_full_disk_does_not_keep_it_from_ending(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor hides why all ends."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "winclaw.jsonl").symlink_to("/dev/full")
    with pytest.raises(LookupError, match="the reason"), EventLog(tmp_path / "logs", Redactor()) as log:
        log.events([an_event(1)])
        raise LookupError("the reason")
    assert "No space left" in capsys.readouterr().err
