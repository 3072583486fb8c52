"""The document's ``ExecutionSandbox`` (§7.2): runs a program or a Python function in a child process, under limits.

The caller's thread watches it. When it ends, hits a limit or is cancelled, or the caller's own process dies, everything that it
has started ends with it.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from msgspec.structs import replace

from resilience.clock import Clock, SystemClock
from resilience.sandbox.limits import ResourceLimitExceeded, ResourceLimits, SandboxError, SandboxResult

T = TypeVar("T")
_FIRST_LOOK_S: Final = 0.01
_LOOK_S: Final = 0.05
_MB: Final = 1024 * 1024
_KEPT: Final = ("PATH", "PATHEXT", "SYSTEMROOT", "WINDIR", "COMSPEC", "SYSTEMDRIVE", "LANG", "LC_ALL", "TZ")
_SHELLS: Final = frozenset(
    {"sh", "bash", "dash", "zsh", "fish", "ksh", "csh", "tcsh", "busybox", "cmd", "powershell", "pwsh", "wsl",
     "wscript", "cscript"}
)  # fmt: skip
_RUNNER: Final = Path(__file__).with_name("runner.py")
_SIGNALLED: Final = {"SIGXCPU": "max_cpu_seconds", "SIGXFSZ": "max_disk_io_mb"}

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

    def run(
        self,
        command: Sequence[str],
        *,
        input: bytes = b"",  # noqa: A002 -- as of subprocess
        environment: Mapping[str, str] | None = None,
        limits: ResourceLimits | None = None,
    ) -> SandboxResult:
        """Runs a program in a folder of its own, with a clean environment, and waits for its end.

        Args:
            command: the program and its arguments, each an entry of its own; no shell is in between.
            input: what it reads. environment: variables beside ``PATH``, language and temporary folder.

        Raises:
            ResourceLimitExceeded: it says which; everything has ended. FeatureDisabledError: the level does not allow it.
            OSError: there is no such program, or it cannot be started. ValueError: there is no command.
        """
        return self._run(command, input, environment, limits, threading.Event())

    async def run_async(
        self,
        command: Sequence[str],
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
        return self._run_python(function, args, kwargs, threading.Event())

    async def run_python_async(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """``run_python`` for coroutines; who cancels it ends the function with everything that it has started."""
        return await _in_thread(lambda gone: self._run_python(function, args, kwargs, gone))

    def _run_python(self, function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], gone: threading.Event) -> T:
        call = pickle.dumps({**_where(function), "path": sys.path, "arguments": pickle.dumps((args, kwargs))})
        folder = Path(tempfile.mkdtemp(prefix="winclaw-call-"))
        try:
            (folder / "call").write_bytes(call)
            done = self._run([sys.executable, "-I", str(_RUNNER), str(folder)], b"", None, None, gone)
            try:
                with (folder / "answer").open("rb") as file:
                    answer = json.loads(file.read(int(self.limits.max_output_mb * _MB)))
            except (OSError, ValueError):
                last = done.stderr.decode(errors="replace").strip()[-1000:]
                raise SandboxError("NoAnswer", f"it ended with exit status {done.returncode}, and no answer. {last}") from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if not isinstance(answer, dict) or not ("value" in answer or "type" in answer):
            raise SandboxError("NoAnswer", "what it left is no answer")
        if "value" in answer:
            value: T = answer["value"]
            return value
        if (limit := str(answer.get("limit"))) in ResourceLimits.__struct_fields__:
            allowed = getattr(self.limits, limit)
            raise ResourceLimitExceeded(limit, allowed, allowed, done.stdout, done.stderr)
        raise SandboxError(str(answer["type"]), str(answer.get("message", "")), str(answer.get("traceback", "")))

    def _run(
        self, command: Sequence[str], given: bytes, environment: Mapping[str, str] | None, limits: ResourceLimits | None,
        gone: threading.Event,
    ) -> SandboxResult:  # fmt: skip
        if isinstance(command, str) or not command or not command[0]:
            raise ValueError("command is a list: the program, and each argument an entry of its own")
        limits = limits.sound() if limits is not None else self.limits
        kinds = ["code", *(["shell"] if Path(command[0]).name.lower().removesuffix(".exe") in _SHELLS else [])]
        self._require(kinds)
        network = limits.max_network_connections > 0 and self._refusal("network") is None
        if not network:
            limits = replace(limits, max_network_connections=0)
        folder = Path(tempfile.mkdtemp(prefix="winclaw-sandbox-"))
        try:
            return self._watch(command, given, _clean(folder, environment), folder, limits, kinds, gone, network=network)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _watch(
        self, command: Sequence[str], given: bytes, environment: dict[str, str], folder: Path, limits: ResourceLimits,
        kinds: list[str], gone: threading.Event, *, network: bool,
    ) -> SandboxResult:  # fmt: skip
        from resilience.sandbox.tree_watch import TreeWatch  # noqa: PLC0415 -- from here on psutil is needed

        if sys.platform == "win32":
            from resilience.sandbox import windows as system  # noqa: PLC0415
        else:
            from resilience.sandbox import posix as system  # noqa: PLC0415
        begin_s = self._clock.monotonic()
        child = system.Child(command, environment, folder, limits, network=network)
        pipes = _Pipes(child.process, given, int(limits.max_output_mb * _MB))
        watch = TreeWatch(child.process.pid, limits, counts_head=system.COUNTS_HEAD)
        hit: tuple[str, float, float] | None = None
        ended_for: Exception | None = None
        try:
            pause_s = _FIRST_LOOK_S
            while not _has_ended(child.process, pause_s):
                pause_s = min(2 * pause_s, _LOOK_S)
                seconds = self._clock.monotonic() - begin_s
                hit = hit or pipes.hit(limits) or watch.look()
                if hit is None and seconds > limits.wall_seconds:
                    hit = "wall_seconds", limits.wall_seconds, seconds
                ended_for = next((why for kind in kinds if (why := self._refusal(kind)) is not None), None)
                if hit is not None or ended_for is not None or gone.is_set():
                    watch.kill()
                    child.end()
                    break
        except BaseException:  # also KeyboardInterrupt: nothing may go on
            child.end()
            raise
        finally:
            told = child.outcome()
            pipes.close()
        if ended_for is not None:
            raise ended_for
        cpu_s, peak_mb = max(float(told["cpu_s"]), watch.cpu_s), max(float(told["peak_kb"]) / 1024, watch.peak_mb)
        if hit is None and (name := told.get("hit")) is not None:
            hit = name, getattr(limits, name), getattr(limits, name)
        hit = hit or pipes.hit(limits) or _hit_at_end(int(told["code"]), cpu_s, peak_mb, _size_mb(folder), limits)
        if hit is not None:
            raise ResourceLimitExceeded(*hit, pipes.stdout, pipes.stderr)
        return SandboxResult(
            returncode=int(told["code"]), stdout=pipes.stdout, stderr=pipes.stderr, seconds=self._clock.monotonic() - begin_s,
            cpu_seconds=cpu_s, peak_memory_mb=peak_mb,
            network="allowed" if network else "cut off" if told["network_cut_off"] else "watched",
        )  # fmt: skip

    def _require(self, kinds: list[str]) -> None:
        for kind in kinds:
            if (why := self._refusal(kind)) is not None:
                raise why


class _Pipes:
    """Reads what a program writes, up to a limit, and gives it what it reads; each on a thread of its own."""

    def __init__(self, process: subprocess.Popen[bytes], given: bytes, most: int) -> None:
        self._most, self._read = most, 0
        self._parts: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        self._pipes = [process.stdout, process.stderr]
        self._threads = [
            threading.Thread(target=self._take, args=(process.stdout, "stdout"), daemon=True),
            threading.Thread(target=self._take, args=(process.stderr, "stderr"), daemon=True),
            threading.Thread(target=self._give, args=(process.stdin, given), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def stdout(self) -> bytes:
        return b"".join(self._parts["stdout"])

    @property
    def stderr(self) -> bytes:
        return b"".join(self._parts["stderr"])

    def hit(self, limits: ResourceLimits) -> tuple[str, float, float] | None:
        """That too much was written, if so."""
        return ("max_output_mb", limits.max_output_mb, self._read / _MB) if self._read > self._most else None

    def close(self) -> None:
        """Waits for the end of what was written; everything that writes must have ended."""
        for thread in self._threads:
            thread.join(2)

    def _take(self, pipe: IO[bytes], name: str) -> None:
        with suppress(OSError, ValueError), pipe:
            while part := os.read(pipe.fileno(), 65_536):
                room = self._most - self._read
                self._read += len(part)
                if room > 0:
                    self._parts[name].append(part[:room])

    def _give(self, pipe: IO[bytes], given: bytes) -> None:
        with suppress(OSError, ValueError), pipe:
            pipe.write(given)


async def _in_thread(run: Callable[[threading.Event], T]) -> T:
    gone = threading.Event()
    running = asyncio.get_running_loop().run_in_executor(None, run, gone)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
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
    code: int, cpu_s: float, peak_mb: float, written_mb: float, limits: ResourceLimits
) -> tuple[str, float, float] | None:
    """The limit that the system has enforced, or that was passed between two looks."""
    if cpu_s > limits.max_cpu_seconds:
        return "max_cpu_seconds", limits.max_cpu_seconds, cpu_s
    if peak_mb > limits.max_memory_mb:
        return "max_memory_mb", limits.max_memory_mb, peak_mb
    if written_mb >= limits.max_disk_io_mb:
        return "max_disk_io_mb", limits.max_disk_io_mb, written_mb
    if code < 0:
        with suppress(ValueError):
            if (name := _SIGNALLED.get(signal.Signals(-code).name)) is not None:
                return name, getattr(limits, name), getattr(limits, name)
    return None


def _size_mb(folder: Path) -> float:
    """How much it has left in its folder."""
    size = 0
    for one in folder.rglob("*"):
        with suppress(OSError):
            size += one.lstat().st_size
    return size / _MB


def _clean(folder: Path, environment: Mapping[str, str] | None) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    here = dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP"), str(folder))
    return {**kept, **here, "PYTHONIOENCODING": "utf-8", "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})}


def _where(function: Callable[..., Any]) -> dict[str, Any]:
    """How the child finds a function again.

    Raises:
        ValueError: it cannot.
    """
    module, names = getattr(function, "__module__", None), str(getattr(function, "__qualname__", "<unknown>")).split(".")
    if module is None or any(name.startswith("<") for name in names):
        what = getattr(function, "__qualname__", repr(function))
        raise ValueError(f"{what} has no name by which another process could find it; make it a function of a module")
    if module != "__main__":
        return {"module": module, "names": names, "file": None}
    file = getattr(sys.modules["__main__"], "__file__", None)
    if file is None:
        raise ValueError(f"{names[0]} was typed in, so another process cannot find it; put it into a file")
    return {"module": module, "names": names, "file": str(Path(file).resolve())}

