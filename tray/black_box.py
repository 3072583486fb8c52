"""The black box: what WinClaw leaves of its own end, however that comes, and what it finds of those before it.

Each life has a file of its own beside the log. Python's ``faulthandler`` writes there where each thread stands when the
process dies of a fault, or has given no sign of life for too long; that takes neither the lock of the interpreter nor memory.
A life that ends as it should takes its file away, so whatever lies there is of one that did not.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any, Final, NoReturn, TypeGuard

from resilience import home
from resilience.core.core import Core, CoreBusyError
from resilience.core.deaths import Death, Life, died_at, last_lines, named, report_of
from resilience.events import Report
from resilience.journal.journal import JournalError

HANGS_AFTER_S: Final = 40.0
"""Without a sign of life for so long, the threads are written down: before the guardian, who waits for a minute, ends it."""
_BEFORE, _AFTER = "crash-", ".txt"
_MOST: Final = 10
_MOST_FILES: Final = 20
"""So many are left where no start comes far enough to tell of them."""
_MAX_BYTES: Final = 1_000_000
_log = logging.getLogger("winclaw.crash")


class BlackBox:
    """The file of this life, and what those before it have left.

    Args:
        folder: WINCLAW_HOME, whose lock is held: whoever left a file there is dead. log: the file of the log.

    Attributes:
        life: this one. deaths: those that have yet to be told of, the oldest first.
    """

    def __init__(self, folder: Path, log: Path, now: datetime) -> None:
        self.life = Life(now, os.getpid())
        logs = home.make_private_folder(log.parent)
        self._path = logs / f"{_BEFORE}{self.life.name}{_AFTER}"
        self._former = sorted((life, path) for path in logs.glob(f"{_BEFORE}*{_AFTER}") if (life := _life(path)) is not None)
        for _, path in self._former[:-_MOST_FILES]:
            with suppress(OSError):
                path.unlink()
        self.deaths = _deaths(self._former[-_MOST:], log, folder / home.ALIVE, now)
        self._file: FileIO | None = None
        self._hangs_after_s: float | None = None  # while it records
        self._seen = 0

    def begin(self) -> BlackBox:
        """Begins the file. Where the disk takes none, this life leaves less behind, and goes on."""
        try:
            self._file = FileIO(str(self._path), "a", opener=lambda name, flags: os.open(name, flags, 0o600))
        except OSError as error:
            _log.warning("there is no black box in this life: %s", error)
        return self

    def begin_in(self, stack: ExitStack, *, whole: bool) -> BlackBox:
        """Begins the file, which ends with ``stack``; and with ``whole``, records until then."""
        stack.push(self.begin().leave)
        if whole:
            stack.enter_context(self.recording())
        return self

    def reports(self, because: str, away_s: float | None) -> list[Report]:
        """The errors that the deaths become.

        Args:
            because: what the guardian saw of the last one. away_s: how long nobody has lived here.
        """
        last = len(self.deaths) - 1
        return [
            report_of(one, because if number == last else "", away_s if number == last else None)
            for number, one in enumerate(self.deaths)
        ]

    def tell(self, core: Core, because: str, away_s: float | None) -> list[int]:
        """Stores what ``reports`` gives, and forgets it when it is on disk; returns the numbers of the errors.

        Where the disk takes nothing now, the next start tells it.
        """
        if not self.deaths:
            return []
        try:
            told = core.report(self.reports(because, away_s)).result(10)
        except (CoreBusyError, JournalError, TimeoutError) as error:
            _log.warning("how WinClaw died cannot be stored now: %s", error)
            return []
        self.forget()
        return told

    def forget(self) -> None:
        """Those before this one are in the journal now."""
        for _, path in self._former:
            with suppress(OSError):  # told again at the next start, under the same key
                path.unlink(missing_ok=True)
        self._former, self.deaths = [], []

    @contextmanager
    def recording(self, hangs_after_s: float = HANGS_AFTER_S) -> Iterator[None]:
        """Inside, whatever this process dies of is written down; it is for a process that is WinClaw and nothing else."""
        if self._file is None:
            yield
            return
        hooks = threading.excepthook, sys.unraisablehook
        threading.excepthook, sys.unraisablehook = _raised_in_thread, _unraisable
        faulthandler.enable(self._file)
        self._hangs_after_s = hangs_after_s
        self.sign()
        try:
            yield
        finally:
            threading.excepthook, sys.unraisablehook = hooks
            self._record_no_more()

    def sign(self) -> None:
        """There was a sign of life: the wait for the next begins, and what this life has survived goes into the log."""
        if self._file is None or self._hangs_after_s is None:
            return
        faulthandler.dump_traceback_later(self._hangs_after_s, file=self._file)
        size = os.fstat(self._file.fileno()).st_size
        if size and size == self._seen:  # since the sign before this one: nobody is writing any more
            _log.error("WinClaw went on after this:\n%s", _text(self._path))
            self._file.truncate(0)
            size = 0
        self._seen = size

    def fell(self, error: BaseException) -> None:
        """Writes down the exception that is the end of this life."""
        if self._file is not None:
            with suppress(OSError):
                self._file.write("".join(traceback.format_exception(error)).encode("utf-8", "backslashreplace"))

    def fall(self, last: Callable[[], object], error: Exception) -> NoReturn:
        """Ends this process by an exception that nobody expected, as a crash: whoever starts WinClaw again has to see one.

        Args:
            last: what is to be done before, so that the log is on disk.
        """
        say_end(type(error), error)
        self.fell(error)
        last()
        sys.excepthook(type(error), error, error.__traceback__)
        os._exit(1)

    def leave(self, _: object, error: BaseException | None, __: object) -> None:
        """Ends this life, as the last thing in it; one that an exception ends by surprise leaves its file behind."""
        if is_surprise(error):
            self.fell(error)
            self._end()
        else:
            self.goodbye()

    def goodbye(self) -> None:
        """This life ends as it should."""
        self._end()
        with suppress(OSError):
            home.remove(self._path)

    def _record_no_more(self) -> None:
        if self._hangs_after_s is not None:  # else it is not ours, but that of whoever runs a WinClaw in his process
            self._hangs_after_s = None
            faulthandler.cancel_dump_traceback_later()
            faulthandler.disable()

    def _end(self) -> None:
        self._record_no_more()
        if self._file is not None:
            self._file.close()  # on Windows nobody can delete it before
            self._file = None


def is_surprise(error: BaseException | None) -> TypeGuard[Exception]:
    """Whether an exception is a defect, and not a reason for which WinClaw cannot run, or a wish to end."""
    return isinstance(error, Exception) and not isinstance(error, (OSError, JournalError))


def say_end(_: object, error: BaseException | None, __: object = None) -> None:
    """Has an exception in the log by which WinClaw ends, if it is a surprise."""
    if is_surprise(error):
        _log.critical("an exception ends WinClaw", exc_info=error)


def _life(path: Path) -> Life | None:
    return named(path.name.removeprefix(_BEFORE).removesuffix(_AFTER))


def _deaths(former: list[tuple[Life, Path]], log: Path, alive: Path, now: datetime) -> list[Death]:
    if not former:
        return []
    lives = [life for life, _ in former]
    lines = last_lines(lives, _ends_of(log.with_name(f"{log.name}.1"), log))
    ends = [*(life.begun for life in lives[1:]), now]
    return [
        Death(life, _text(path), tuple(lines[life]), died_at(life, lines[life], _touched(path, alive), end))
        for (life, path), end in zip(former, ends, strict=True)
    ]


def _ends_of(*logs: Path) -> Iterator[bytes]:
    for log in logs:
        with suppress(OSError), log.open("rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - _MAX_BYTES, 0))
            yield from file


def _touched(*paths: Path) -> Iterator[datetime]:
    for path in paths:
        with suppress(OSError):
            yield datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _raised_in_thread(what: threading.ExceptHookArgs) -> None:
    if what.exc_type is not SystemExit:
        error = what.exc_value or what.exc_type()
        name = what.thread.name if what.thread else "that is gone"
        _log.critical("an exception ends the thread %s", name, exc_info=(what.exc_type, error, what.exc_traceback))
    threading.__excepthook__(what)


def _unraisable(what: Any) -> None:
    if what.exc_value is not None:
        said = what.exc_type, what.exc_value, what.exc_traceback
        _log.error("%s: %.200r", what.err_msg or "an exception that nobody could catch, in", what.object, exc_info=said)
    sys.__unraisablehook__(what)
