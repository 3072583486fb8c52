"""Errors in what a program writes: tracebacks, stacks, structured logs, and lines that say so. Pure and incremental.

Whatever comes is taken: a line without end, rubbish, a flood. Memory and time per byte are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from resilience.detection.lines import ERROR_NAME, UNNAMED, Said, clean, error_in, named_error
from resilience.events import Cause, Report, SeverityName

_MOST_LINE: Final = 64 * 1024
_MOST_LINES: Final = 400
_TRACEBACK: Final = "Traceback (most recent call last):"
_CONNECTORS: Final = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)
_PYTHON_END: Final = re.compile(r"^((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)(?:: (.*))?$")
_AT: Final = re.compile(r"^\s+at \S|^\s+\.\.\. \d+ more|^\s+--- ")
_PROPERTY: Final = re.compile(r"^\s+\[?(code|status|statusCode|errno|syscall)\]?: '?([\w-]{1,60})'?,?$")
_MORE: Final = re.compile(r"^\s+\S|^\}$|^Caused by: |^\s*$|^Node\.js v\d")
_CAUSE: Final = re.compile(rf"^\s*(?:\[cause\]|Caused by): ({ERROR_NAME}|Error)(?: \[\w+\])?(?:: (.*?))?\s*\{{?$")
_GROUP: Final = re.compile(r"^\s*[|+]")


class Finding(Struct, frozen=True):
    """An error that was read; ``offset`` is where in the stream its first byte stood."""

    type: str
    message: str
    severity: SeverityName
    offset: int
    stack: str = ""
    facts: Mapping[str, Any] = {}
    cause: Cause | None = None


class _Held(Struct, frozen=True):
    """A line that tells of an error, while a stack may follow; ``counts`` is whether it does so without one, too."""

    offset: int
    line: str
    said: Said
    counts: bool = True


class OutputReader:
    """Reads one stream. What a block of lines means is known when it has ended: with the next line, or by ``flush``.

    Args:
        offset: where in the stream the first byte that comes stands.
    """

    def __init__(self, offset: int = 0) -> None:
        self._offset = offset  # of the first byte in _rest
        self._rest = bytearray()
        self._skipped = 0  # bytes of the line that begins there, but are not kept
        self._held: _Held | None = None
        self._block: _Python | _Stack | None = None

    @property
    def settled(self) -> int:
        """Up to where everything was given out: from there on it must be read again after a restart."""
        if self._block is not None:
            return self._block.offset
        return self._held.offset if self._held is not None else self._offset

    def feed(self, chunk: bytes) -> list[Finding]:
        """Takes what came next; gives what is known to be an error now."""
        *ended, last = chunk.split(b"\n")
        found: list[Finding] = []
        for part in ended:
            self._keep(part)
            begin, line = self._offset, clean(bytes(self._rest))
            self._offset += len(self._rest) + self._skipped + 1
            self._rest.clear()
            self._skipped = 0
            found += self._line(begin, line)
        self._keep(last)
        return found

    def flush(self) -> list[Finding]:
        """Gives out what was held back for the lines that might follow; called when it has been quiet for a while."""
        return [*self._end_block(), *self._let_go()]

    def _keep(self, part: bytes) -> None:
        """Keeps the beginning of a line that has not ended; of a very long one no more than that."""
        room = max(_MOST_LINE - len(self._rest), 0)
        self._rest += part[:room]
        self._skipped += max(len(part) - room, 0)

    def _line(self, offset: int, line: str) -> Iterator[Finding]:
        if self._block is not None:
            if self._block.takes(line):
                return
            yield from self._end_block()
        if line.rstrip().endswith(_TRACEBACK):
            intro, self._held = self._held, None
            self._block = _Python(intro.offset if intro else offset, line, intro.said if intro else None)
            return
        if self._held is not None and _AT.match(line):
            self._block, self._held = _Stack(self._held), None
            self._block.takes(line)
            return
        yield from self._let_go()
        if (said := error_in(line)) is not None:
            self._held = _Held(offset, line, said)
        elif (named := named_error(line)) is not None:
            self._held = _Held(offset, line, named, counts=False)

    def _let_go(self) -> Iterator[Finding]:
        if self._held is not None:
            held, self._held = self._held, None
            if held.counts:
                yield _finding(held.offset, held.said)

    def _end_block(self) -> Iterator[Finding]:
        if self._block is not None:
            block, self._block = self._block, None
            yield block.finding()


class _Python:
    """A Python traceback with what led to it, up to the line that names the exception; or a group of exceptions."""

    def __init__(self, offset: int, first: str, intro: Said | None) -> None:
        self.offset = offset
        at = first.index(_TRACEBACK)
        self._is_group = "Exception Group" in first
        self._prefix = at if first[:at].isspace() else 0
        self._intro = intro
        self._lines = [first]
        self._links: list[tuple[str, str]] = []
        self._in_frames = True
        self._goes_on = False

    def takes(self, line: str) -> bool:
        """Whether the line belongs to it."""
        if self._is_group:
            return self._takes_of_group(line)
        text = line[self._prefix :] if line[: self._prefix].isspace() else line
        if self._in_frames:
            if text[:1] in (" ", "\t", ""):
                return self._add(line)
            if (end := _PYTHON_END.match(text)) is None:
                return False
            self._links.append((end[1], end[2] or ""))
            self._in_frames = False
            return self._add(line)
        if text.strip() in _CONNECTORS:
            self._goes_on = True
            return self._add(line)
        if _TRACEBACK in text and self._goes_on:
            self._in_frames, self._goes_on = True, False
            return self._add(line)
        return not text.strip() and self._add(line)

    def _takes_of_group(self, line: str) -> bool:
        if not _GROUP.match(line):
            return False
        text = line.strip().lstrip("|+- ")
        if not self._links and line.strip()[:2] == "| " and line.strip()[2:3] != " " and (end := _PYTHON_END.match(text)):
            self._links.append((end[1], end[2] or ""))
        return self._add(line)

    def _add(self, line: str) -> bool:
        if len(self._lines) < _MOST_LINES:
            self._lines.append(line)
        return True

    def finding(self) -> Finding:
        """What it tells."""
        kind, message = self._links[-1] if self._links else (UNNAMED, "a traceback without an end")
        cause: Cause | None = None
        for name, why in self._links[:-1][-20:]:
            cause = Cause(type=name[:200], message=why[:2000], cause=cause)
        severity: SeverityName = self._intro.severity if self._intro is not None else "ERROR"
        facts = {"logged": self._intro.message} if self._intro is not None and self._intro.message else {}
        return Finding(kind[:200], (message or kind)[:2000], severity, self.offset, _joined(self._lines), facts, cause)


class _Stack:
    """A stack as Node, Java and .NET write it: the error's line, ``at`` …, its causes and properties."""

    def __init__(self, held: _Held) -> None:
        self.offset = held.offset
        self._said = replace(named, severity=held.said.severity) if (named := named_error(held.line)) is not None else held.said
        self._facts = dict(held.said.facts)
        self._lines = [held.line]
        self._causes: list[Cause] = []
        self._braces = False

    def takes(self, line: str) -> bool:
        """Whether the line belongs to it."""
        if _AT.match(line):
            self._braces |= line.endswith("{")
        elif (cause := _CAUSE.match(line)) is not None:
            self._causes.append(Cause(type=cause[1][:200], message=(cause[2] or "")[:2000]))
            self._braces |= line.endswith("{")
        elif self._braces and (fact := _PROPERTY.match(line)) is not None:
            name = "status" if fact[1] == "statusCode" else fact[1]
            value: str | int = int(fact[2]) if name == "status" and fact[2].isdigit() else fact[2]
            if name in ("code", "status") and not self._causes:
                self._facts.setdefault(name, value)
            elif name == "code" and self._causes:
                last = self._causes[-1]
                self._causes[-1] = Cause(type=last.type, message=last.message, metadata={**last.metadata, "code": value})
        elif not (self._braces and _MORE.match(line)) and line.strip():
            return False
        if len(self._lines) < _MOST_LINES:
            self._lines.append(line)
        return True

    def finding(self) -> Finding:
        """What it tells."""
        cause: Cause | None = None
        for one in reversed(self._causes[:20]):
            cause = Cause(type=one.type, message=one.message, metadata=one.metadata, cause=cause)
        said = self._said
        message = said.message or said.type
        return Finding(said.type, message, said.severity, self.offset, _joined(self._lines), self._facts, cause)


def _finding(offset: int, said: Said) -> Finding:
    """What one line tells. A stack in a field of a structured log names the error where no other field does."""
    finding = Finding(said.type, said.message, said.severity, offset, said.stack, said.facts)
    if said.type != UNNAMED or not said.stack:
        return finding
    reader = OutputReader()
    told = [*reader.feed(said.stack.encode("utf-8", "replace") + b"\n"), *reader.flush()]
    named = next((one for one in reversed(told) if one.type != UNNAMED), None)
    if named is None:
        return finding
    facts = {**named.facts, **said.facts, "logged": said.message}
    return replace(finding, type=named.type, message=named.message, facts=facts, cause=named.cause)


def _joined(lines: list[str]) -> str:
    return "\n".join(lines).rstrip()[:100_000]


def as_report(finding: Finding, component: str, key: str) -> Report:
    """The finding as an error of ``component``; the same one, read again, is stored once by its ``key``."""
    return Report(
        type=finding.type, message=finding.message, component=component, operation="output", severity=finding.severity,
        key=key, stack=finding.stack, cause=finding.cause, metadata={**finding.facts, "read_at": finding.offset},
    )  # fmt: skip
