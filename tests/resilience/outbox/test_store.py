"""What stands in the outbox's file of a message."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from resilience.outbox.store import waiting_in
from tests.resilience.outbox.conftest import Desk


def test_what_was_sent_leaves_no_payload_behind(desk: Desk) -> None:
    desk.outbox.send("mail", "a secret")
    desk.register("mail")
    desk.run()
    with contextlib.closing(sqlite3.connect(desk.outbox.path)) as conn:
        assert conn.execute("SELECT state, payload FROM messages").fetchall() == [("sent", "")]


def test_a_message_is_claimed_by_one_only(desk: Desk) -> None:
    desk.outbox.send("mail", 1)
    store = desk.outbox._store
    [head] = store.heads()
    assert store.claim(head, in_doubt=False) == "1"
    assert store.claim(head, in_doubt=False) is None
    assert store.claim(store.heads()[0], in_doubt=False) is None


def test_looking_what_waits_makes_no_file(tmp_path: Path) -> None:
    """Another process may set a file aside between the listing and the look; an empty one would be called damaged."""
    assert waiting_in(tmp_path / "agent.db") is None
    assert list(tmp_path.iterdir()) == []


def test_what_waits_is_counted(desk: Desk) -> None:
    desk.outbox.send("mail", 1)
    assert waiting_in(desk.outbox.path) == {"mail": 1}
