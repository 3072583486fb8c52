"""How it stands with the journal: when it is due for what, and the words for what came back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from resilience.journal.health import BackedUp, Checked, Health, Repaired

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("ago", "due"),
    [(timedelta(0), False), (6 * HOUR - timedelta(seconds=1), False), (6 * HOUR, True), (7 * HOUR, True), (-HOUR, True)],
)
def test_a_check_is_due_when_its_time_is_over_or_lies_ahead(ago: timedelta, due: bool) -> None:
    health = Health().after(Checked(at=NOW - ago, seconds=1.5))
    assert health.is_check_due(NOW, 6) is due
    assert health.after(BackedUp(at=NOW - ago, file="a")).is_backup_due(NOW, 6) is due


def test_what_was_never_done_is_due() -> None:
    assert Health().is_check_due(NOW, 6)
    assert Health().is_backup_due(NOW, 6)


def test_no_backup_is_due_while_something_has_yet_to_be_brought_back() -> None:
    assert not Health().set_aside("d.db").is_backup_due(NOW, 6)


@pytest.mark.parametrize(("every_h", "minutes", "due"), [(24, 9, False), (24, 10, True), (0.1, 5, False), (0.1, 6, True)])
def test_a_backup_that_failed_is_tried_again_soon(every_h: float, minutes: int, due: bool) -> None:
    health = Health().after(BackedUp(at=NOW - timedelta(days=3), file="good")).after(BackedUp(at=NOW - timedelta(minutes=minutes), why="full"))
    assert health.is_backup_due(NOW, every_h) is due
    assert health.backup is not None
    assert (health.backup.file, health.backup_failed is not None) == ("good", True)
    again = health.after(BackedUp(at=NOW, file="new"))
    assert again.backup_failed is None
    assert not again.is_backup_due(NOW, every_h)


def test_a_file_that_is_set_aside_is_to_be_repaired_once_and_the_new_one_to_be_checked() -> None:
    health = Health().after(Checked(at=NOW)).set_aside("a.db").set_aside("b.db").set_aside("a.db")
    assert (health.to_repair, health.checked) == (("a.db", "b.db"), None)
    repaired = Repaired(at=NOW, file="a.db", errors=3)
    after = health.after(repaired)
    assert (after.to_repair, after.repaired) == (("b.db",), repaired)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"errors": 1, "events": 2}, "1 error and 2 events were brought back; nothing else is known to be lost."),
        ({"errors": 2, "events": 1, "from_backups": 1}, "2 errors and 1 event were brought back, 1 of them from a backup; nothing else is known to be lost."),
        ({"lost": 7}, "0 errors and 0 events were brought back; up to 7 could not be."),
        ({"lost": None}, "0 errors and 0 events were brought back; nobody can tell how much was lost."),
    ],
)  # fmt: skip
def test_what_came_back_in_words(fields: dict[str, int | None], said: str) -> None:
    assert Repaired(at=NOW, file="a.db", **fields).said == said  # type: ignore[arg-type]


def test_the_view_has_it_all() -> None:
    health = Health().after(Checked(at=NOW, finding="", seconds=2.0)).set_aside("a.db")
    assert health.view() == {"checked": None, "backup": None, "backup_failed": None, "to_repair": ("a.db",), "repaired": None}
    assert health.after(Checked(at=NOW, seconds=2.0)).view()["checked"] == {"at": "2026-01-01T12:00:00Z", "finding": "", "seconds": 2.0}
