"""The document's ``ExecutionSandbox`` (§7.2): runs a program or a Python function in a child process, under limits.

The caller's thread watches it. When it ends, hits a limit or is cancelled, or the caller's own process dies, everything that it
has started ends with it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from resilience.clock import Clock, SystemClock
from resilience.sandbox.calling import call
from resilience.sandbox.folders import own_folder, remove, remove_orphans
from resilience.sandbox.limits import ResourceLimitExceeded, ResourceLimits, SandboxError, SandboxResult
from resilience.sandbox.pipes import Pipes

T = TypeVar("T")
_FIRST_LOOK_S: Final = 0.01
_LOOK_S: Final = 0.05
_MB: Final = 1024 * 1024
_KEPT: Final = ("PATH", "PATHEXT", "SYSTEMROOT", "WINDIR", "COMSPEC", "SYSTEMDRIVE", "LANG", "LC_ALL", "TZ")
_SHELLS: Final = frozenset(
    {"sh", "bash", "dash", "zsh", "fish", "ksh", "csh", "tcsh", "busybox", "cmd", "powershell", "pwsh", "wsl",
     "wscript", "cscript"}
)  # fmt: skip
_SIGNALLED: Final = {
    -signal.Signals[name]: limit
    for name, limit in (("SIGXCPU", "max_cpu_seconds"), ("SIGXFSZ", "max_disk_io_mb"))
    if name in signal.Signals.__members__
}
"""The limits that end a program with a signal, by its exit status then; Windows has no such signals."""

Refusal = Callable[[str], Exception | None]
"""Asked with ``code``, ``shell`` or ``network``: why that is not allowed now; None where it is."""


class ExecutionSandbox:
    """Runs programs and functions under limits. May be used from any thread; each run is one of its own.

    Raises:
        ImportError: psutil is missing.

    Args:
        limits: what holds where a run does not say otherwise.
        refusal: asked before a run, and again and again while it goes on, whether its kind is allowed (by default all is).
    """

    def __init__(
        self, limits: ResourceLimits | None = None, *, refusal: Refusal | None = None, clock: Clock | None = None
    ) -> None:
        if find_spec("psutil") is None:
            raise ImportError('the sandbox needs psutil; install it with: pip install "winclaw[sandbox]"')
        self.limits = (limits or ResourceLimits()).sound()
        self._refusal = refusal or (lambda _: None)
        self._clock = clock or SystemClock()
        self._has_cleared = False

    def run(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        input: bytes = b"",  # noqa: A002 -- as of subprocess
        environment: Mapping[str, str] | None = None,
        limits: ResourceLimits | None = None,
    ) -> SandboxResult:
        """Runs a program in a folder of its own, with a clean environment, and waits for its end.

        Args:
            command: the program and its arguments, each an entry of its own, text or a path; no shell is in between.
            input: what it reads. environment: variables beside ``PATH``, language and temporary folder.

        Raises:
            ResourceLimitExceeded: it says which; everything has ended. FeatureDisabledError: the level does not allow it.
            OSError: there is no such program, or it cannot be started. ValueError: there is no command.
            SandboxError: what guards the program died, so nobody knows how the program ended; it has ended, too.
        """
        return self._run(command, input, environment, limits, threading.Event())

    async def run_async(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        input: bytes = b"",  # noqa: A002
        environment: Mapping[str, str] | None = None,
        limits: ResourceLimits | None = None,
    ) -> SandboxResult:
        """``run`` for coroutines; who cancels it ends the program with everything that it has started."""
        return await _in_thread(lambda gone: self._run(command, input, environment, limits, gone))

    def run_python(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Calls ``function(*args, **kwargs)`` in a Python of its own; what it gives back must be something that JSON can hold.

        Raises:
            SandboxError: it raised, or ended without an answer. ValueError: nobody could find it again by its name.
            Otherwise as ``run``.
        """
        return self._call(function, args, kwargs, threading.Event())

    async def run_python_async(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """``run_python`` for coroutines; who cancels it ends the function with everything that it has started."""
        return await _in_thread(lambda gone: self._call(function, args, kwargs, gone))

    def _call(self, function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], gone: threading.Event) -> T:
        return call(lambda command: self._run(command, b"", None, None, gone), self.limits, function, args, kwargs)

    def _run(
        self, command: Sequence[str | os.PathLike[str]], given: bytes, environment: Mapping[str, str] | None,
        limits: ResourceLimits | None, gone: threading.Event,
    ) -> SandboxResult:  # fmt: skip
        if isinstance(command, str) or not command or not command[0]:
            raise ValueError("command is a list: the program, and each argument an entry of its own")
        words = [os.fspath(one) for one in command]
        limits = limits.sound() if limits is not None else self.limits
        kinds = ["code", *(["shell"] if Path(words[0]).name.lower().removesuffix(".exe") in _SHELLS else [])]
        for kind in kinds:
            if (why := self._refusal(kind)) is not None:
                raise why
        network = limits.max_network_connections > 0 and self._refusal("network") is None
        if not network:
            limits = replace(limits, max_network_connections=0)
        if not self._has_cleared:
            self._has_cleared = True
            remove_orphans()
        with own_folder() as folder:
            return self._watch(words, given, _clean(folder, environment), folder, limits, kinds, gone, network=network)

    def _watch(
        self, command: list[str], given: bytes, environment: dict[str, str], folder: Path, limits: ResourceLimits,
        kinds: list[str], gone: threading.Event, *, network: bool,
    ) -> SandboxResult:  # fmt: skip
        from resilience.sandbox.tree_watch import TreeWatch  # noqa: PLC0415 -- from here on psutil is needed

        if sys.platform == "win32":
            from resilience.sandbox import windows as system  # noqa: PLC0415
        else:
            from resilience.sandbox import posix as system  # noqa: PLC0415
        begin_s = self._clock.monotonic()
        child = system.Child(command, environment, folder, limits, network=network)
        pipes = Pipes(int(limits.max_output_mb * _MB))
        hit: tuple[str, float] | None = None
        ended_for: Exception | None = None
        try:
            pipes.start(child.process, given)
            watch = TreeWatch(child.process.pid, limits, counts_head=system.COUNTS_HEAD)
            pause_s = _FIRST_LOOK_S
            while not _has_ended(child.process, pause_s):
                pause_s = min(2 * pause_s, _LOOK_S)
                seconds = self._clock.monotonic() - begin_s
                hit = hit or pipes.hit() or _whole(child.hit(), limits) or watch.look()
                if hit is None and seconds > limits.wall_seconds:
                    hit = "wall_seconds", seconds
                ended_for = next((why for kind in kinds if (why := self._refusal(kind)) is not None), None)
                if hit is not None or ended_for is not None or gone.is_set():
                    child.strike()
                    watch.kill()
                    child.end()
                    break
        except BaseException:  # also KeyboardInterrupt: nothing may go on
            child.end()
            raise
        finally:
            hit = hit or _whole(child.hit(), limits)
            told = child.outcome()
            pipes.close()
        seconds, left_mb = self._clock.monotonic() - begin_s, remove(folder) / _MB
        if ended_for is not None:
            raise ended_for
        code: int | None = told["code"]
        stdout, stderr = bytes(pipes.stdout), bytes(pipes.stderr)
        cpu_s, peak_mb = max(float(told["cpu_s"]), watch.cpu_s), max(float(told["peak_kb"]) / 1024, watch.peak_mb)
        hit = hit or pipes.hit() or _hit_at_end(code, cpu_s, peak_mb, left_mb, limits)
        if hit is not None:
            raise ResourceLimitExceeded(hit[0], getattr(limits, hit[0]), hit[1], stdout, stderr)
        if code is None:
            last, status = stderr.decode(errors="replace").strip()[-1000:], child.process.returncode
            raise SandboxError("GuardDied", f"its guard ended with exit status {status}, and said nothing of the program. {last}")
        return SandboxResult(
            returncode=code, stdout=stdout, stderr=stderr, seconds=seconds, cpu_seconds=cpu_s,
            peak_memory_mb=peak_mb,
            network="allowed" if network else "cut off" if told["network_cut_off"] else "watched",
        )  # fmt: skip


async def _in_thread(run: Callable[[threading.Event], T]) -> T:
    """What ``run`` gives on a thread of the event loop's. Who cancels it waits until that has ended, if it has begun at all."""
    gone, first = threading.Event(), threading.Lock()  # the lock is taken by what comes first, the beginning or the cancelling

    def begin() -> T:
        if not first.acquire(blocking=False):
            raise asyncio.CancelledError
        return run(gone)

    running = asyncio.get_running_loop().run_in_executor(None, begin)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        if first.acquire(blocking=False):
            running.cancel()
            raise
        gone.set()
        with suppress(Exception):
            await running
        raise


def _has_ended(process: subprocess.Popen[bytes], pause_s: float) -> bool:
    with suppress(subprocess.TimeoutExpired):
        process.wait(pause_s)
        return True
    return False


def _hit_at_end(
    code: int | None, cpu_s: float, peak_mb: float, written_mb: float, limits: ResourceLimits
) -> tuple[str, float] | None:
    """The limit that the system has enforced, or that was passed between two looks; with what was used."""
    if cpu_s > limits.max_cpu_seconds:
        return "max_cpu_seconds", cpu_s
    if peak_mb > limits.max_memory_mb:
        return "max_memory_mb", peak_mb
    if written_mb >= limits.max_disk_io_mb:
        return "max_disk_io_mb", written_mb
    return _whole(_SIGNALLED.get(code or 0), limits)


def _whole(name: str | None, limits: ResourceLimits) -> tuple[str, float] | None:
    """A limit that the system has enforced, all of which was used."""
    return None if name is None else (name, getattr(limits, name))


def _clean(folder: Path, environment: Mapping[str, str] | None) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    here = dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP"), str(folder))
    return {**kept, **here, "PYTHONIOENCODING": "utf-8", "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})}
