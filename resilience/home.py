"""WINCLAW_HOME: where it is, what is in it, and keeping it to this user alone.

Standard library only: an agent that has nothing but this package finds the tray through it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

CONFIG, JOURNAL, LOGS, ENDPOINT, OPERATOR, SPOOL = (
    "error_handling_config.yaml", "journal.db", "logs", "endpoint.json", "operator.json", "spool",
)  # fmt: skip


def find() -> Path:
    """The home folder: ``WINCLAW_HOME`` if set, else the platform's folder for a user's local data."""
    if chosen := os.environ.get("WINCLAW_HOME"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "WinClaw"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "WinClaw"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "winclaw"


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


def write_private(path: Path, content: str) -> None:
    """Writes ``path`` in one step (never half a file), readable by this user alone."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # made with 0600
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        keep_private(temporary)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in ``path``; None where there is none, or it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


if sys.platform == "win32":

    def _set_windows_acl(path: Path) -> None:
        """Full control for the owner and the system, inherited below, nothing from above."""
        import ctypes  # noqa: PLC0415 -- only here, only on Windows
        from ctypes import wintypes  # noqa: PLC0415

        advapi, kernel = ctypes.WinDLL("advapi32", use_last_error=True), ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.LocalFree.argtypes = [ctypes.c_void_p]
        advapi.SetFileSecurityW.argtypes = [wintypes.LPCWSTR, wintypes.DWORD, ctypes.c_void_p]
        inherit = "OICI" if path.is_dir() else ""
        rules = f"D:P(A;{inherit};FA;;;OW)(A;{inherit};FA;;;SY)"
        descriptor = ctypes.c_void_p()
        if not advapi.ConvertStringSecurityDescriptorToSecurityDescriptorW(rules, 1, ctypes.byref(descriptor), None):
            raise ctypes.WinError(ctypes.get_last_error())
        try:
            dacl_and_protected = 0x4 | 0x80000000
            if not advapi.SetFileSecurityW(str(path), dacl_and_protected, descriptor):
                raise ctypes.WinError(ctypes.get_last_error())
        finally:
            kernel.LocalFree(descriptor)
