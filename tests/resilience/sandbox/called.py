"""Functions that tests have called in the sandbox."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path
from typing import Any


class Sums:
    @staticmethod
    def add(left: int, right: int = 1) -> dict[str, int]:
        return {"sum": left + right}


def fail() -> None:
    raise KeyError("no such thing")


def give_back_an_object() -> object:
    return object()


def exit_at_once() -> None:
    os._exit(3)


def eat_memory() -> int:
    return len([bytearray(10_000_000) for _ in range(400)])


def open_many() -> int:
    return len([os.open(os.devnull, os.O_RDONLY) for _ in range(400)])


def write_much() -> None:
    with Path("big").open("wb") as file:
        for _ in range(100):
            file.write(b"x" * 1_000_000)
            file.flush()


def connect(port: int) -> str:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            time.sleep(30)
    except OSError as error:
        return type(error).__name__
    return "connected"


def _answer() -> Path:
    return Path(sys.argv[1]) / "answer"


def forged(answer: str) -> None:
    _answer().write_text(answer)
    os._exit(0)


def leave_a_pipe() -> None:
    _answer().unlink()
    os.mkfifo(_answer())
    os._exit(0)


def leave_a_link(to: str) -> None:
    _answer().unlink()
    _answer().symlink_to(to)
    os._exit(0)


def environment() -> dict[str, Any]:
    return {**os.environ, "cwd": str(Path.cwd())}
