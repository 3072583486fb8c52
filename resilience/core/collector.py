"""Brings in what agents left on disk: reports of those that died, and how many messages wait in outboxes."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec

from resilience.agent.spool import Spool
from resilience.core.core import Core, CoreBusyError
from resilience.core.inputs import Waiting
from resilience.core.intake import UnfitReportError, check
from resilience.events import Report
from resilience.journal.journal import JournalError
from resilience.outbox.store import waiting_in
from resilience.repeating import Repeating

_EVERY_S: Final = 1.0
# What is committed shows in a file's size and time before it can be read: SQLite writes it, waits for the disk, and then lets
# others see it. So a changed outbox is counted again at so many looks more.
_LOOKS: Final = 10
_log = logging.getLogger("winclaw.collector")


class Collector:
    """Looks at start and every second: reports what is in abandoned spool files, and counts the messages that wait.

    Args:
        folder: where agents keep their spools. outboxes: where they keep their messages.
    """

    def __init__(self, folder: Path, outboxes: Path, core: Core) -> None:
        self._outboxes, self._core = outboxes, core
        self._seen = dict[Path, tuple[int, int]]()
        self._looks_left = _LOOKS
        self._counts = dict[Path, dict[str, int]]()
        self._told: dict[str, int] | None = None
        self._spool = Spool(folder)
        self._decode = msgspec.json.Decoder(Report).decode
        self._repeating = Repeating("collector", _EVERY_S, self._look)
        self.start = self._repeating.start

    def stop(self) -> None:
        """Ends; what could not be brought in stays on disk."""
        self._repeating.stop()
        self._spool.close()

    def _look(self) -> None:
        try:
            self._count_waiting()
            self.collect()
        except (CoreBusyError, JournalError, TimeoutError) as error:
            _log.warning("abandoned reports have to wait: %s", error)

    def _count_waiting(self) -> None:
        """Counts the messages that wait, if outboxes have changed in one of the last looks, and tells the core a new count.

        Of an outbox that cannot be read now the last count holds, and the next look tries again.

        Raises:
            CoreBusyError, JournalError: the core takes no more just now.
        """
        seen = dict[Path, tuple[int, int]]()
        for path in sorted(self._outboxes.glob("*.db*")):
            with contextlib.suppress(OSError):  # it has just gone
                stat = path.stat()
                seen[path] = stat.st_mtime_ns, stat.st_size
        if seen == self._seen and self._looks_left == 0:
            return
        looks_left = self._looks_left - 1 if seen == self._seen else _LOOKS
        counts = dict[Path, dict[str, int]]()
        for path in seen:
            if path.suffix == ".db" and ".damaged-" not in path.name:
                found = waiting_in(path)
                looks_left = _LOOKS if found is None else looks_left
                counts[path] = self._counts.get(path, {}) if found is None else found
        waiting = dict(sum(map(Counter, counts.values()), Counter[str]()))
        if waiting != self._told:
            self._core.tell(Waiting(waiting)).result(10)
            self._told = waiting
        self._seen, self._looks_left, self._counts = seen, looks_left, counts

    def collect(self) -> None:
        """Brings in everything that is abandoned now.

        Raises:
            CoreBusyError, JournalError: the core takes no more just now; nothing is lost.
        """
        self._spool.adopt()
        while lines := self._spool.peek():
            reports, unfit = list[Report](), list[tuple[bytes, Exception]]()
            for line in lines:
                try:
                    report = self._decode(line)
                    check(report, self._core.clock.now(), self._core.max_age)
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, UnfitReportError) as error:
                    unfit.append((line, error))
                else:
                    reports.append(report)
            self._core.report(reports).result(10)
            for line, why in unfit:  # once, now that this is not tried again
                _log.warning("an abandoned report is unfit, kept in refused.jsonl: %s", why)
                self._spool.refuse(line)
            self._spool.acknowledge(lines)
