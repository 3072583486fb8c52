"""A WINCLAW_HOME with something of everything, its export, and a comparison that owes the product nothing, for tests."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from resilience.agent.spool import Spool
from resilience.config.version import ConfigVersion
from resilience.config.versions import Versions, digest
from resilience.exporting.archive import Archive
from resilience.exporting.bundle import Manifest
from resilience.exporting.export import Wanted, export
from resilience.exporting.restore import Restored, restore
from resilience.journal.journal import Journal
from resilience.outbox.file import file_of as outbox_file
from resilience.outbox.store import OutboxStore
from resilience.recovery.checkpoints import CheckpointManager
from resilience.testing import FakeClock
from resilience.transactions.file import Row, TransactionFile, file_of
from resilience.transactions.steps import Step
from tests.resilience.records import NOW, an_error, an_event

CONFIG = """error_handling:
  # the key is env:OPENCLAW_TOKEN
  redaction:
    names: [passphrase]
  processes:
    gateway:
      command: [openclaw, gateway]
      environment: { OPENCLAW_TOKEN: "env:OPENCLAW_TOKEN", MODE: quiet }
"""


class Machine:
    """A home folder in which a WinClaw and an agent have worked; nothing of them runs any more, nor is anything closed badly."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, FakeClock(NOW)
        folder.mkdir(mode=0o700)
        self.checkpoints = CheckpointManager(folder / "checkpoints", clock=self.clock)
        self.outbox = OutboxStore(outbox_file(folder / "outbox", "mailer"), self.clock, print)
        self.transactions = TransactionFile(file_of(folder / "transactions", "mailer"), self.clock, print)

    def journal(self, errors: int = 20, **state: Any) -> None:
        """Has the journal hold so many more errors, and ``state``."""
        journal = Journal(self.folder / "journal.db", NOW)
        records = [an_error(message=f"error {n} ö", fingerprint=f"f{n % 3}", detail=b'{"stack":"x\xc3\xb6"}') for n in range(errors)]
        journal.commit([*records, an_event()], state)
        journal.close()

    def config(self, text: str = CONFIG, number: int = 1, **version: Any) -> None:
        """Writes the user's file, and keeps it as a version."""
        (self.folder / "error_handling_config.yaml").write_text(text, "utf-8", newline="\n")
        Versions(self.folder, self.clock).add(ConfigVersion(number=number, sha256=digest(text), author="me", **version), text)

    def message(self, payload: Any, key: str = "m1") -> None:
        """Has a message wait."""
        lifetime = (NOW, self.clock.now().replace(year=2030))
        assert self.outbox.add("courier", key, json.dumps(payload), lifetime, 100)
        self.outbox.close()

    def transaction(self, kept: Any, id_: str = "t1") -> None:
        """Leaves a transaction open, with a step that was done."""
        self.transactions.begin(Row(id_, "mailer", "send", None, "f" * 16, "running", True, NOW.isoformat()), NOW)
        self.transactions.record(id_, Step(1, "create", "undo-draft", True, "k1", "done", json.dumps(kept)))
        self.transactions.close()

    def report(self, *reports: dict[str, Any]) -> None:
        """Leaves reports of an agent that died."""
        (self.folder / "spool").mkdir(exist_ok=True)
        spool = Spool(self.folder / "spool")
        for one in reports:
            spool.append(one)
        spool.close()

    def write(self, name: str, content: Any) -> None:
        """Writes another file: as it is, or as JSON."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())

    def export(self, target: Path, **wanted: Any) -> Manifest:
        """Exports it."""
        return export(self.folder, target, self.clock, Wanted(**wanted))


def a_machine(folder: Path) -> Machine:
    """One with something of everything, and no secret in it."""
    one = Machine(folder)
    one.journal(standing={"level": 5}, lives={"crashes": [], "running": False})
    one.config()
    for number in range(3):
        one.checkpoints.create_checkpoint("component", "memory", {"notes": ["ö", number], "odd": "\x01"}, {"why": "test"})
    one.checkpoints.create_checkpoint("session", "Chat/1", {"long": ["the same again"] * 1000})
    one.message({"to": "ann"})
    one.transaction({"draft": 7})
    one.report({"type": "ValueError", "message": "late", "key": "r1"})
    one.write("held.json", {"level": "SAFE_MODE", "cause": "a person"})
    one.write("processes/gateway/process.json", {"identity": {"pid": 5, "started": 1.5, "token": "a:b:c"}, "run": 3, "stopped": True})
    one.write("processes/gateway/output.log", b"hello")
    for name in ("endpoint.json", "operator.json"):
        one.write(name, {"secret": "abc"})
    one.write("logs/winclaw.jsonl", b"{}\n")
    one.write("logs/crash-20260101-1.txt", b"a fault")
    one.write("backups/journal-20260101-000000.db", b"x")
    one.write("alive", b"")
    return one


def restored(file: Path, folder: Path, **chosen: Any) -> Restored:
    """Restores ``file`` to ``folder``."""
    folder.mkdir(exist_ok=True)
    with Archive(file) as archive:
        archive.prove()
        return restore(archive, folder, NOW, **chosen)


def rows_of(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables of a database, but for what SQLite's own and the full-text index keep."""
    with reading(path) as conn:
        names = [row[0] for row in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: sorted(conn.execute(f"SELECT * FROM {name}").fetchall(), key=repr)
            for name in names
            if not name.startswith(("sqlite_", "errors_fts"))
        }


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as conn:
        yield conn


def contents(folder: Path) -> dict[str, Any]:
    """What stands in a folder, by name: of databases their rows, of other files their bytes; nothing of empty files."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.endswith(("-wal", "-shm", ".lock", ".mending")):
            content = rows_of(path) if path.suffix == ".db" and "backups" not in name else path.read_bytes()
            if content:
                found[name] = content
    return found


def process_record(content: bytes) -> dict[str, Any]:
    record: dict[str, Any] = msgspec.json.decode(content)
    return record


def is_private(path: Path) -> bool:
    """Whether nobody but this user may read it; where the system says so by the mode."""
    return os.name == "nt" or path.stat().st_mode & 0o077 == 0
