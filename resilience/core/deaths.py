"""What is told of a WinClaw that ended without a goodbye: an error, with its threads' stacks and the end of its log. Pure."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from resilience.events import Report

LINES: Final = 50
"""Lines of the log that are kept of a life."""
_KEY: Final = "life:"
_WINCLAW: Final = "winclaw"
_BEGUN: Final = "%Y%m%dT%H%M%S.%fZ"
_NAME: Final = re.compile(r"(\d{8}T\d{6}\.\d{6}Z)-(\d{1,10})")
_MAX_STACK: Final = 100_000
_MAX_LINE: Final = 2_000
_MAX_LOG_BYTES: Final = 50_000
_DUMP: Final = re.compile(r"^(?:Fatal Python error: |Windows fatal exception: |Timeout \()", re.MULTILINE)
_FATAL: Final = re.compile(r"^(?:Fatal Python error|Windows fatal exception): (.+)$", re.MULTILINE)
_RAISED: Final = re.compile(r"^[A-Za-z_][\w.]*(?:: .*)?$")
_CURRENT: Final = "Current thread "
_SHOWN: Final = frozenset({"at", "type", "component", "severity", "message", "stack", "id"})
_UNKNOWN: Final = "WinClaw ended without a goodbye: a crash, a power cut, or somebody ended it"


class Life(Struct, frozen=True, order=True):
    """One run of WinClaw: when it began, and its process."""

    begun: datetime
    pid: int

    @property
    def name(self) -> str:
        """What files and lines of the log call it; no other life has it."""
        return f"{self.begun.astimezone(UTC).strftime(_BEGUN)}-{self.pid}"


def named(name: str) -> Life | None:
    """The life of that name; None if it is none."""
    found = _NAME.fullmatch(name)
    try:
        return found and Life(datetime.strptime(found[1], _BEGUN).replace(tzinfo=UTC), int(found[2]))
    except ValueError:  # the 39th of May
        return None


class Death(Struct, frozen=True):
    """How a life ended. ``wrote`` is what it left itself of that, ``lines`` are its last of the log, ``at`` is about when."""

    life: Life
    wrote: str
    lines: tuple[dict[str, Any], ...]
    at: datetime


def last_lines(lives: Sequence[Life], lines: Iterable[bytes]) -> dict[Life, list[dict[str, Any]]]:
    """The last lines that each of ``lives`` (the oldest first) has left in the log, whose end ``lines`` are.

    Where a life began, its name stands in the log; what stands before any such line is of the oldest.
    """
    found: dict[Life, deque[dict[str, Any]]] = {life: deque(maxlen=LINES) for life in lives}
    owner = lives[0] if lives else None
    for line in lines:
        try:
            said = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):  # the line in which it died, or the rest of one that was cut
            continue
        if not isinstance(said, dict):
            continue
        if said.get("type") == "log" and isinstance(began := said.get("life"), str):
            owner = named(began)
            if owner in found:
                found[owner].clear()
        if owner in found:
            found[owner].append(said)
    return {life: list(kept) for life, kept in found.items()}


def died_at(life: Life, lines: Sequence[Mapping[str, Any]], seen: Iterable[datetime], before: datetime) -> datetime:
    """About when a life ended: when there was last something of it.

    Args:
        seen: when it was seen in other ways. before: when the next one began, or now; what was seen later was not it.
    """
    spoken = (_moment(said.get("at")) for said in lines)
    known = [at for at in (*seen, *spoken) if at is not None and at <= before]
    return min(max([life.begun, *known]), max(before, life.begun))


def report_of(death: Death, because: str, away_s: float | None) -> Report:
    """The error that a death becomes; however often it is told, it is stored once.

    Args:
        because: what the guardian saw of it, if it did: ``it was killed by SIGKILL``.
        away_s: how long nobody has lived here since, if that is known.
    """
    message = f"WinClaw{because.removeprefix('it')}" if because.startswith("it ") else because or _UNKNOWN
    if died_of := _headline(death.wrote):
        message = f"{message}: {died_of}"
    facts: dict[str, Any] = {"pid": death.life.pid, "began": death.life.begun.isoformat()}
    if away_s is not None:
        facts["away_s"] = round(away_s, 1)
    if log := _log(death.lines):
        facts["log"] = log
    return Report(
        type="ProcessError", message=message[:10_000], component=_WINCLAW, operation="live", severity="CRITICAL", at=death.at,
        key=f"{_KEY}{death.life.name}", stack=most_telling(death.wrote), metadata=facts,
    )  # fmt: skip


def is_death(component: str, key: str | None) -> bool:
    """Whether an error is a death of WinClaw's: people are told of that as such, not as of an error."""
    return component == _WINCLAW and key is not None and key.startswith(_KEY)


def most_telling(wrote: str, room: int = _MAX_STACK) -> str:
    """What fits of what a life left of its end: of several dumps the last, and of its threads first the one at fault."""
    wrote = wrote.strip()
    if len(wrote) <= room:
        return wrote
    begins = [found.start() for found in _DUMP.finditer(wrote)]
    if not begins:  # the traceback of an exception, whose end says which
        return wrote[-room:]
    head, *threads = wrote[begins[-1] :].split("\n\n")
    threads.sort(key=lambda one: not one.startswith(_CURRENT))
    return "\n\n".join([head, *threads])[:room]


def _headline(wrote: str) -> str:
    """What it died of in a few words, if that was written."""
    if fatal := _FATAL.findall(wrote):
        return str(fatal[-1]).strip()
    last = wrote.rstrip().rpartition("\n")[2]
    return last[:500] if wrote.startswith("Traceback ") and _RAISED.match(last) else ""


def _log(lines: Iterable[Mapping[str, Any]]) -> str:
    """The lines for people, the last ones as far as there is room."""
    kept: deque[str] = deque()
    left = _MAX_LOG_BYTES
    for said in reversed([*lines]):
        line = _line(said)
        left -= len(msgspec.json.encode(line)) + 2
        if left < 0:
            break
        kept.appendleft(line)
    return "\n".join(kept)


def _line(said: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in said.items() if name not in _SHOWN}
    words = str(said["message"]) if said.get("message") else msgspec.json.encode(rest).decode() if rest else ""
    what = said.get("severity") if said.get("type") == "log" else said.get("type")
    line = f"{said.get('at', '')} {what} {said.get('component', '')}: {words}"[:_MAX_LINE].replace("\0", "")
    stack = str(said.get("stack") or "")
    return f"{line}\n{stack[-_MAX_LINE:]}" if stack else line


def _moment(text: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
