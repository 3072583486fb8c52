"""Giving memory that is not used any more back to the system. Standard library only."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys


def give_back() -> int:
    """Collects garbage and hands what is free to the system; returns how many objects were collected."""
    collected = gc.collect()
    with contextlib.suppress(OSError, AttributeError, ValueError):  # only some systems' C libraries can do it
        if sys.platform == "win32":
            kernel32 = ctypes.WinDLL("kernel32")
            kernel32.GetCurrentProcess.restype = ctypes.c_void_p
            everything = ctypes.c_size_t(-1)
            kernel32.SetProcessWorkingSetSize(ctypes.c_void_p(kernel32.GetCurrentProcess()), everything, everything)
        elif sys.platform == "linux":
            ctypes.CDLL("libc.so.6").malloc_trim(0)
    return collected
