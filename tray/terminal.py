"""The command line's own ends: what it says at the terminal, and what it asks the running app."""

from __future__ import annotations

import sys
import unicodedata
from contextlib import suppress
from typing import Any, Final, NoReturn

import click

from resilience import home

NOT_RUNNING: Final = 3


def ask(method: str, path: str, body: dict[str, Any] | None = None, timeout_s: float = 10) -> dict[str, Any]:
    """What the running app answers, which has to be good news; else ends the program with what it said."""
    status_code, answer = exchange(method, path, body, timeout_s)
    require_success(status_code, answer)
    return answer


def exchange(method: str, path: str, body: dict[str, Any] | None, timeout_s: float = 10) -> tuple[int, dict[str, Any]]:
    """What the running app answers, with its HTTP status; where none runs, ends the program."""
    answered = reached(method, path, body, timeout_s)
    if answered is None:
        fail("WinClaw is not running. Start it with: winclaw run", NOT_RUNNING)
    return answered


def reached(
    method: str, path: str, body: dict[str, Any] | None = None, timeout_s: float = 10
) -> tuple[int, dict[str, Any]] | None:
    """What the running app answers; None: none runs."""
    from resilience.agent.wire import UnreachableError, Wire  # noqa: PLC0415 -- the guardian, who lives long, asks nobody

    try:
        return Wire(home.find(), operator=True, timeout_s=timeout_s).ask(method, path, body)
    except UnreachableError:
        return None


def require_success(status_code: int, answer: dict[str, Any]) -> None:
    """Ends the program with what was answered, where that is a refusal."""
    if status_code >= 400:
        fail(f"{answer.get('title', f'HTTP status {status_code}')}: {answer.get('detail', '')}")


def fail(message: str, code: int = 1) -> NoReturn:
    """Says why it ends, and ends the program."""
    if sys.stderr is not None:
        click.echo(_clean(message), err=True)
    sys.exit(code)


def _clean(text: str) -> str:
    return "".join(one if one.isprintable() or one in "\n\t" or unicodedata.category(one) == "Zs" else "?" for one in text)


def say(message: str) -> None:
    """Says it at the console, if there is one, and it has not been closed; without what only terminals understand."""
    if sys.stdout is not None:
        with suppress(OSError):
            click.echo(_clean(message))
