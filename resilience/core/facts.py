"""What holds in memory where the disk takes nothing (§9): what has happened has happened, a command can be refused. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from resilience.core.inputs import (
    Announcement,
    Choice,
    Errors,
    Input,
    Sending,
    TellingTold,
)
from resilience.core.keeping import changed
from resilience.core.state import State
from resilience.degradation.levels import DegradationLevel
from resilience.events import EventType, Heartbeat
from resilience.journal.schema import Record


class Fact(NamedTuple):
    """What of an input holds (None: nothing), and whether it is taken, or has to be told again for the rest of it."""

    holds: Input | None
    taken: bool


def as_fact(an_input: Input) -> Fact:
    """What of ``an_input`` holds though nothing can be written.

    Reports stay with the agents, who send them again; so does what an agent tried in Safe Mode. A message that is about to be
    sent has to be claimed on disk, or a crash would send it twice. Commands fail, but Safe Mode comes on.
    """
    match an_input:
        case Choice(level=DegradationLevel.SAFE_MODE):
            return Fact(an_input, taken=False)
        case Heartbeat(audit=audit) if audit:
            return Fact(replace(an_input, audit=()), taken=False)
        case Errors() | Sending() | TellingTold() | Announcement(type=EventType.COMMAND):
            return Fact(None, taken=False)
        case _ if hasattr(an_input, "actor"):  # a command
            return Fact(None, taken=False)
        case _:
            return Fact(an_input, taken=True)


def prove(before: State, after: State, records: list[Record]) -> None:
    """Sees that what has become of ``before`` can be written one day, or it would keep all that follows from being so.

    Raises:
        UnicodeEncodeError: there is half a character in it.
    """
    msgspec.json.encode(changed(before, after))
    for one in records:
        _encoded(*one)


def _encoded(*values: Any) -> None:
    for value in values:
        if isinstance(value, str):
            value.encode()
