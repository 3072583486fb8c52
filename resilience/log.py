"""The log on disk: one JSON object a line, rotated by size, written by a thread of its own."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path
from queue import Queue
from typing import Any, Final

import msgspec

from resilience.clock import as_text
from resilience.events import Event
from resilience.redaction import Redactor

LOG: Final = "winclaw.jsonl"


class EventLog:
    """Events and the program's own messages in ``folder/winclaw.jsonl``.

    Nobody waits for it: lines are handed to its thread, and past 10,000 waiting lines (a disk that hangs) further
    ones are dropped, for what they say is in the journal.

    Args:
        max_file_mb: size at which a file is put aside as ``winclaw.jsonl.1``.
        files: how many of those are kept.
    """

    def __init__(self, folder: Path, redactor: Redactor, max_file_mb: float = 10, files: int = 5) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.path = folder / LOG
        writer = RotatingFileHandler(
            self.path, maxBytes=int(max_file_mb * 1_000_000), backupCount=files, encoding="utf-8", delay=True
        )
        writer.setFormatter(_Line(redactor))
        self._queue: Queue[logging.LogRecord] = Queue(maxsize=10_000)
        self._handler = _Handover(self._queue)
        self._listener = QueueListener(self._queue, writer)
        self._writer = writer

    def __enter__(self) -> EventLog:
        logging.getLogger().addHandler(self._handler)
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begins(self, life: str) -> None:
        """Notes that a life of WinClaw begins here: what stands above is of another one."""
        record = logging.LogRecord("winclaw.life", logging.INFO, "", 0, "WinClaw begins", None, None)
        record.life = life
        self._handler.handle(record)

    def close(self) -> None:
        """Writes what waits, and ends; no more is taken. On a full disk the last lines may be lost, and nothing else."""
        logging.getLogger().removeHandler(self._handler)
        self._listener.stop()
        with contextlib.suppress(OSError):
            self._writer.close()

    def events(self, events: Iterable[Event]) -> None:
        """Writes ``events``, which are redacted already."""
        for event in events:
            record = logging.LogRecord("winclaw.event", logging.INFO, "", 0, "%s", None, None)
            record.event = event.view()
            self._handler.handle(record)


class _Handover(QueueHandler):
    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Writes the stack out here, where it happened; the thread that writes gets words only."""
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_info = None
        return record

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- the name is the standard library's
        """The queue is full: the line is dropped, as promised above."""


class _Line(logging.Formatter):
    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, Any] | None = getattr(record, "event", None)
        if said is None:
            said = {
                "at": as_text(datetime.fromtimestamp(record.created, UTC)), "type": "log", "component": record.name,
                "severity": record.levelname, "message": self._redactor.text(record.getMessage()),
            }  # fmt: skip
            if (life := getattr(record, "life", None)) is not None:
                said["life"] = life
            if record.exc_text:
                said["stack"] = self._redactor.text(record.exc_text)
        return msgspec.json.encode(said).decode()

