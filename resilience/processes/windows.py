"""Programs on Windows: each in a job of its own, which ends with it; its end is told by its handle."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import subprocess
import sys
import threading
from ctypes import wintypes
from pathlib import Path
from typing import IO, Any, ClassVar, Final

import psutil

from resilience.processes.identity import Identity

assert sys.platform == "win32"

import _winapi  # noqa: E402 -- only Windows has them
import msvcrt  # noqa: E402

import pywintypes  # noqa: E402
import win32api  # noqa: E402
import win32con  # noqa: E402
import win32file  # noqa: E402
import win32job  # noqa: E402

SEND_BREAK: Final = "--send-break"
"""What asks this very program to press Ctrl-Break for the process whose number follows."""
_BREAK_WITHIN_S: Final = 20.0
_HELPER_WITHIN_S: Final = 30.0  # more than it gives itself
_JOB_LIST, _EXTENDED_STARTUP = 0x2000D, 0x80000
_log = logging.getLogger("winclaw.processes")

_FILE_APPEND_DATA, _SYNCHRONIZE, _QUERY_LIMITED_INFORMATION = 0x4, 0x100000, 0x1000
_SUSPENDED: Final = 0x4  # so that nothing it starts escapes its job
OF_ITS_OWN: Final[dict[str, Any]] = {
    "creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW | _SUSPENDED,
}


def appending(path: Path) -> IO[bytes]:
    """``path``, open so that whatever writes to it writes at its end, also after somebody has emptied it."""
    share = win32con.FILE_SHARE_READ | win32con.FILE_SHARE_WRITE | win32con.FILE_SHARE_DELETE
    access = _FILE_APPEND_DATA | _SYNCHRONIZE
    handle = win32file.CreateFile(str(path), access, share, None, win32con.OPEN_ALWAYS, win32con.FILE_ATTRIBUTE_NORMAL, None)
    return os.fdopen(msvcrt.open_osfhandle(handle.Detach(), os.O_APPEND), "ab", buffering=0)


def job_for(child: subprocess.Popen[bytes], job: Any = None) -> Any:
    """A job, ``job`` or a new one, with the suspended ``child`` in it, which then begins to run."""
    job = job or win32job.CreateJobObject(None, "")
    try:
        win32job.AssignProcessToJobObject(job, int(child._handle))  # type: ignore[attr-defined]
    except pywintypes.error:  # we are in a job ourselves that allows no other: token and watchers have to do
        _log.warning("process %s could not be put into a job", child.pid, exc_info=True)
    psutil.Process(child.pid).resume()
    return job


def job_around(process: psutil.Process) -> object:
    """A job with a running process and what it has started: that of the earlier WinClaw cannot be found again.

    The earlier one may have ended before it woke the process: then it begins to run.
    """
    job = win32job.CreateJobObject(None, "")
    with contextlib.suppress(psutil.Error):
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(pywintypes.error):  # it has ended
                handle = win32api.OpenProcess(win32con.PROCESS_SET_QUOTA | win32con.PROCESS_TERMINATE, False, one.pid)
                win32job.AssignProcessToJobObject(job, handle)
    with contextlib.suppress(psutil.Error):
        process.resume()
    return job


def wait_for(child: subprocess.Popen[bytes], job: object) -> int:
    """The exit code of a child, when it and the rest of its job have ended."""
    code = child.wait()
    end_group(child.pid, job)
    return code


def wait_for_stranger(identity: Identity) -> int | None:
    """The exit code of what is no child of ours, when it has ended."""
    try:
        handle = _winapi.OpenProcess(_SYNCHRONIZE | _QUERY_LIMITED_INFORMATION, False, identity.pid)
    except OSError:
        return None
    try:
        _winapi.WaitForSingleObject(handle, _winapi.INFINITE)
        return int(_winapi.GetExitCodeProcess(handle))
    finally:
        _winapi.CloseHandle(handle)


def end_group(pid: int, job: object) -> None:  # noqa: ARG001 -- POSIX needs it
    """Kills everything that is in a job."""
    with contextlib.suppress(pywintypes.error):
        win32job.TerminateJobObject(job, 1)


def ask_to_stop(pid: int, signal_name: str) -> None:  # noqa: ARG001 -- Windows has but one
    """Has Ctrl-Break pressed on a process's console; only who is on the same one can, so a helper goes there."""
    command = [sys.executable, *([] if hasattr(sys, "frozen") else ["-m", __name__]), SEND_BREAK, str(pid)]

    def ask() -> None:
        try:
            run_helper(command, _HELPER_WITHIN_S)
        except OSError:  # it is killed when patience ends
            _log.warning("nobody could be sent to press Ctrl-Break for process %s", pid, exc_info=True)

    threading.Thread(target=ask, name=f"break-{pid}", daemon=True).start()


def run_helper(command: list[str], within_s: float, flags: int = 0) -> int | None:
    """The exit code of a helper that has no console; None: it took longer than ``within_s``, and was ended.

    It ends with us, too, from its first moment: Windows starts it suspended and has its starter wake it. If that ends in
    between, a helper that is in no job stands still for ever, before it could watch over itself.

    Raises:
        OSError: it could not be started.
    """
    job = win32job.CreateJobObject(None, "")
    told = win32job.QueryInformationJobObject(job, win32job.JobObjectExtendedLimitInformation)
    told["BasicLimitInformation"]["LimitFlags"] |= win32job.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
    win32job.SetInformationJobObject(job, win32job.JobObjectExtendedLimitInformation, told)
    try:
        process = _start_in(int(job), command, subprocess.DETACHED_PROCESS | flags)
        try:
            if _winapi.WaitForSingleObject(process, int(within_s * 1000)) == _winapi.WAIT_OBJECT_0:
                return int(_winapi.GetExitCodeProcess(process))
        finally:
            _winapi.CloseHandle(process)
        _log.warning("%s has not ended within %g s, and is ended", command, within_s)
        return None
    finally:
        job.Close()  # which ends what is in it


class _Startup(ctypes.Structure):
    """STARTUPINFOEXW."""

    _fields_: ClassVar = [
        ("size", wintypes.DWORD), ("names", wintypes.LPWSTR * 3), ("numbers", wintypes.DWORD * 8), ("words", wintypes.WORD * 2),
        ("reserved", ctypes.c_void_p), ("streams", wintypes.HANDLE * 3), ("attributes", ctypes.c_void_p),
    ]  # fmt: skip


class _Started(ctypes.Structure):
    """PROCESS_INFORMATION."""

    _fields_: ClassVar = [
        ("process", wintypes.HANDLE), ("thread", wintypes.HANDLE), ("pid", wintypes.DWORD), ("thread_id", wintypes.DWORD),
    ]  # fmt: skip


def _start_in(job: int, command: list[str], flags: int) -> int:
    """The handle of a new process that inherits nothing and is in ``job`` from its birth, which ``subprocess`` cannot do.

    Raises:
        OSError: it could not be started.
    """
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    jobs, size = (wintypes.HANDLE * 1)(job), ctypes.c_size_t()
    kernel.InitializeProcThreadAttributeList(None, 1, 0, ctypes.byref(size))
    attributes = ctypes.create_string_buffer(size.value)
    startup, started = _Startup(size=ctypes.sizeof(_Startup), attributes=ctypes.addressof(attributes)), _Started()
    if not kernel.InitializeProcThreadAttributeList(attributes, 1, 0, ctypes.byref(size)):
        raise ctypes.WinError(ctypes.get_last_error())
    try:
        done = kernel.UpdateProcThreadAttribute(
            attributes, 0, ctypes.c_size_t(_JOB_LIST), jobs, ctypes.c_size_t(ctypes.sizeof(jobs)), None, None
        ) and kernel.CreateProcessW(
            None, ctypes.create_unicode_buffer(subprocess.list2cmdline(command)), None, None, False,
            flags | _EXTENDED_STARTUP, None, None, ctypes.byref(startup), ctypes.byref(started),
        )  # fmt: skip
        if not done:
            raise ctypes.WinError(ctypes.get_last_error())
    finally:
        kernel.DeleteProcThreadAttributeList(attributes)
    _winapi.CloseHandle(started.thread)
    return int(started.process)


def send_break(pid: int) -> None:
    """What the helper does: goes to the console of process ``pid``, presses Ctrl-Break, and ends this with 0; 1: it could not."""
    def end(code: int) -> None:  # at once: an orderly end can wait for ever for a console that does not answer, or has gone
        _winapi.TerminateProcess(_winapi.GetCurrentProcess(), code)

    overdue = threading.Timer(_BREAK_WITHIN_S, end, [1])
    overdue.daemon = True
    overdue.start()
    kernel = ctypes.windll.kernel32
    kernel.FreeConsole()
    done = kernel.AttachConsole(pid) and kernel.SetConsoleCtrlHandler(None, 1) and kernel.GenerateConsoleCtrlEvent(1, pid)
    end(0 if done else 1)


if __name__ == "__main__" and sys.argv[1:2] == [SEND_BREAK]:
    send_break(int(sys.argv[2]))
