"""WINCLAW_HOME: where it is, what is in it, and keeping it to this user alone.

Standard library only: an agent that has nothing but this package finds the tray through it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

_TRIES: Final = 50
_PAUSE_S: Final = 0.02
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
CONFIG, JOURNAL, LOGS, ENDPOINT, OPERATOR, SPOOL, HELD, OUTBOX, PROCESSES, ALIVE, CHECKPOINTS, TRANSACTIONS, BACKUPS, VERSIONS = (
    "error_handling_config.yaml", "journal.db", "logs", "endpoint.json", "operator.json", "spool", "held.json", "outbox",
    "processes", "alive", "checkpoints", "transactions", "backups", "config_versions",
)  # fmt: skip


def find() -> Path:
    """The home folder, absolute: ``WINCLAW_HOME`` if set, else the platform's folder for a user's local data.

    A relative one is taken from where the process was when it first asked; where it goes later changes nothing.
    """
    if chosen := os.environ.get("WINCLAW_HOME"):
        path = Path(chosen).expanduser()
        return path if path.is_absolute() else _made_absolute(path)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "WinClaw"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "WinClaw"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "winclaw"


@functools.cache
def _made_absolute(path: Path) -> Path:
    return path.absolute()


def make_private_folder(path: Path) -> Path:
    """Makes ``path`` (and its parents) a folder that only this user can enter; returns it.

    Raises:
        OSError: the folder cannot be made; nothing else is tried.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    keep_private(path)
    return path


def keep_private(path: Path) -> None:
    """Takes all rights on ``path`` from everybody but its owner (and, on Windows, the system)."""
    if sys.platform == "win32":
        _set_windows_acl(path)
    else:
        path.chmod(0o700 if path.is_dir() else 0o600)


def write_private(path: Path, content: str | bytes) -> None:
    """Writes ``path`` in one step (never half a file), readable by this user alone; on disk when it returns."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # made with 0600
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:  # as given: a copy's line ends are not doubled
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        keep_private(temporary)
        _patiently(functools.partial(temporary.replace, path))
        sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def remove(path: Path) -> None:
    """Deletes the file at ``path``, if there is one.

    Raises:
        OSError: it cannot be.
    """
    _patiently(functools.partial(path.unlink, missing_ok=True))


def _patiently(do: Callable[[], object]) -> None:
    """Does it; on Windows a file can be neither replaced nor deleted while somebody is reading it, so again, for a while."""
    for _ in range(_TRIES if sys.platform == "win32" else 0):
        with contextlib.suppress(PermissionError):
            do()
            return
        threading.Event().wait(_PAUSE_S)
    do()


def put_new(new: Path, path: Path) -> None:
    """Gives the file ``new`` the name ``path``, for good; ``new`` may still be there beside it.

    Raises:
        FileExistsError: there is one of that name, which stays as it is.
    """
    if sys.platform == "win32":
        new.rename(path)  # refuses to replace a file, here
        return
    try:
        path.hardlink_to(new)  # as does this
    except FileExistsError:
        raise
    except OSError as error:  # a file system without links, where only a look can tell
        if path.exists():
            raise FileExistsError(f"there is {path} already") from error
        new.rename(path)
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Has on disk what somebody else has written into the file ``path``."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Has the names of the files in ``path`` on disk; where the system knows no such thing, they are without it."""
    if sys.platform == "win32":
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def file_name(name: str, kind: str) -> str:
    """A name for the file of what is called ``name``, without its ending: every system takes it, and no other name has it.

    Args:
        kind: what long and odd names begin with.
    """
    quoted = quote(name, safe="", errors="surrogatepass")
    if name and not name.endswith(".") and quoted == quoted.lower() and len(quoted) <= 100 and not _RESERVED.fullmatch(quoted):
        return quoted
    distinct = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]  # a and A are one file on Windows
    return f"{kind}-{quoted[:100]}-{distinct}"


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in ``path``; None where there is none, or it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


if sys.platform == "win32":

    def _set_windows_acl(path: Path) -> None:
        """Full control for this user and the system, inherited below, nothing from above."""
        import ctypes  # noqa: PLC0415 -- only here, only on Windows
        from ctypes import wintypes  # noqa: PLC0415

        advapi, kernel = ctypes.WinDLL("advapi32", use_last_error=True), ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.LocalFree.argtypes = [ctypes.c_void_p]
        kernel.GetCurrentProcess.restype = wintypes.HANDLE
        kernel.CloseHandle.argtypes = [wintypes.HANDLE]
        advapi.OpenProcessToken.argtypes = [wintypes.HANDLE, wintypes.DWORD, ctypes.POINTER(wintypes.HANDLE)]
        advapi.GetTokenInformation.argtypes = [
            wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD, ctypes.POINTER(wintypes.DWORD),
        ]  # fmt: skip
        advapi.ConvertSidToStringSidW.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)]
        advapi.SetFileSecurityW.argtypes = [wintypes.LPCWSTR, wintypes.DWORD, ctypes.c_void_p]

        def must(worked: int) -> None:
            if not worked:
                raise ctypes.WinError(ctypes.get_last_error())

        token_query, token_user, dacl_and_protected = 0x8, 1, 0x4 | 0x80000000
        token, size, name, descriptor = wintypes.HANDLE(), wintypes.DWORD(), ctypes.c_void_p(), ctypes.c_void_p()
        user = (ctypes.c_void_p * 64)()  # TOKEN_USER: a pointer to the SID first, the SID itself behind it
        must(advapi.OpenProcessToken(kernel.GetCurrentProcess(), token_query, ctypes.byref(token)))
        try:
            must(advapi.GetTokenInformation(token, token_user, user, ctypes.sizeof(user), ctypes.byref(size)))
            must(advapi.ConvertSidToStringSidW(user[0], ctypes.byref(name)))
            inherit = "OICI" if path.is_dir() else ""
            rules = f"D:P(A;{inherit};FA;;;{ctypes.wstring_at(name.value or 0)})(A;{inherit};FA;;;SY)"
            must(advapi.ConvertStringSecurityDescriptorToSecurityDescriptorW(rules, 1, ctypes.byref(descriptor), None))
            must(advapi.SetFileSecurityW(str(path), dacl_and_protected, descriptor))
        finally:
            kernel.LocalFree(descriptor)
            kernel.LocalFree(name)
            kernel.CloseHandle(token)
