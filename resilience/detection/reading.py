"""Errors in what a program writes: tracebacks, stacks, structured logs, and lines that say so. Pure and incremental.

Whatever comes is taken: a line without end, rubbish, a flood. Memory and time per byte are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from resilience.detection.lines import ERROR_NAME, UNNAMED, Finding, clean, error_in, named_error
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


class _Held(Struct, frozen=True):
    """A line that tells of an error, while a stack may follow; ``counts`` is whether it does so without one, too."""

    found: Finding
    line: str
    counts: bool


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
        return self._held.found.offset if self._held is not None else self._offset

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
            self._block = _Python(offset, line, intro.found if intro else None)
            return
        if self._held is not None and _AT.match(line):
            self._block, self._held = _Stack(self._held), None
            self._block.takes(line)
            return
        yield from self._let_go()
        counts = (found := error_in(line)) is not None
        if (found := found or named_error(line)) is not None:
            self._held = _Held(replace(found, offset=offset), line, counts)

    def _let_go(self) -> Iterator[Finding]:
        if self._held is not None:
            held, self._held = self._held, None
            if held.counts:
                yield _named_by_its_stack(held.found)

    def _end_block(self) -> Iterator[Finding]:
        if self._block is not None:
            block, self._block = self._block, None
            yield block.finding()


class _Block:
    """Lines that belong together; of a long one the beginning is kept."""

    def __init__(self, offset: int, first: str) -> None:
        self.offset = offset
        self._lines = [first]

    def _add(self, line: str) -> bool:
        if len(self._lines) < _MOST_LINES:
            self._lines.append(line)
        return True

    def _text(self) -> str:
        return "\n".join(self._lines).rstrip()[:100_000]


class _Python(_Block):
    """A Python traceback with what led to it, up to the line that names the exception; or a group of exceptions."""

    def __init__(self, offset: int, first: str, intro: Finding | None) -> None:
        super().__init__(intro.offset if intro is not None else offset, first)
        at = first.index(_TRACEBACK)
        self._is_group = "Exception Group" in first
        self._prefix = at if first[:at].isspace() else 0
        self._intro = intro
        self._links: list[Cause] = []
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
            self._in_frames = False
            return self._takes_name(text) and self._add(line)
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
        text = line.strip()
        if not self._links and text[:2] == "| " and text[2:3] != " ":
            self._takes_name(text.lstrip("|+- "))
        return self._add(line)

    def _takes_name(self, text: str) -> bool:
        """Whether the text names an exception; if so, that is the next link."""
        if (end := _PYTHON_END.match(text)) is None:
            return False
        self._links.append(Cause(type=end[1][:200], message=(end[2] or "")[:2000]))
        return True

    def finding(self) -> Finding:
        """What it tells."""
        *led_to_it, last = self._links or [Cause(type=UNNAMED, message="a traceback without an end")]
        severity: SeverityName = self._intro.severity if self._intro is not None else "ERROR"
        facts = {"logged": self._intro.message} if self._intro is not None and self._intro.message else {}
        cause = _chained(reversed(led_to_it))
        return Finding(last.type, last.message or last.type, severity, self.offset, self._text(), facts, cause)


class _Stack(_Block):
    """A stack as Node, Java and .NET write it: the error's line, ``at`` …, its causes and properties."""

    def __init__(self, held: _Held) -> None:
        super().__init__(held.found.offset, held.line)
        self._found = named_error(held.line) or held.found
        self._severity, self._facts = held.found.severity, dict(held.found.facts)
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
                self._causes[-1] = replace(self._causes[-1], metadata={**self._causes[-1].metadata, "code": value})
        elif not (self._braces and _MORE.match(line)) and line.strip():
            return False
        return self._add(line)

    def finding(self) -> Finding:
        """What it tells."""
        found, cause = self._found, _chained(self._causes)
        message = found.message or found.type
        return Finding(found.type, message, self._severity, self.offset, self._text(), self._facts, cause)


def _chained(causes: Iterable[Cause]) -> Cause | None:
    """Causes, the nearest first, as one that has the next one as its own; the twenty nearest are kept."""
    chain: Cause | None = None
    for one in reversed([*islice(causes, 20)]):
        chain = replace(one, cause=chain)
    return chain


def _named_by_its_stack(found: Finding) -> Finding:
    """A stack in a field of a structured log names the error where no other field does."""
    if found.type != UNNAMED or not found.stack:
        return found
    reader = OutputReader()
    told = [*reader.feed(found.stack.encode("utf-8", "replace") + b"\n"), *reader.flush()]
    named = next((one for one in reversed(told) if one.type != UNNAMED), None)
    if named is None:
        return found
    facts = {**named.facts, **found.facts, "logged": found.message}
    return replace(found, type=named.type, message=named.message, facts=facts, cause=named.cause)


def as_report(finding: Finding, component: str, key: str) -> Report:
    """The finding as an error of ``component``; the same one, read again, is stored once by its ``key``."""
    return Report(
        type=finding.type, message=finding.message, component=component, operation="output", severity=finding.severity,
        key=key, stack=finding.stack, cause=finding.cause, metadata={**finding.facts, "read_at": finding.offset},
    )  # fmt: skip
