"""What can be set of a probe (§6.1): whom to ask, how, how often, and when silence counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal, get_args
from urllib.parse import urlsplit

from msgspec import Meta

from resilience.config.sections import Section, means
from resilience.events import Name, Text

ProbeKind = Literal["http", "tcp", "process", "command", "file", "disk"]
KINDS: Final[tuple[ProbeKind, ...]] = get_args(ProbeKind)
Argument = Annotated[str, Meta(max_length=10_000, pattern=r"^[^\x00]*$")]
Megabytes = Annotated[int, Meta(ge=1, le=10_000_000)]


class Probe(Section, frozen=True, kw_only=True):
    """One question whose answer tells whether something is well. Exactly one of the kinds is given."""

    http: Annotated[Argument | None, means("the address that must answer, e.g. `http://127.0.0.1:18789/health`")] = None
    tcp: Annotated[Argument | None, means("`host:port` that must accept a connection")] = None
    process: Annotated[Name | None, means("the name of a program that must run, e.g. `ollama.exe`")] = None
    command: Annotated[tuple[Argument, ...], means("a program that must end with exit status 0")] = ()
    file: Annotated[Argument | None, means("a file that must have been written to within `max_age_s`")] = None
    disk: Annotated[Argument | None, means("a folder whose disk must have `min_free_mb`")] = None
    status: Annotated[
        tuple[Annotated[int, Meta(ge=100, le=599)], ...], means("HTTP statuses that are well; none: all below 400")
    ] = ()
    contains: Annotated[Text, means("what the answer, or the command's output, must contain")] = ""
    max_age_s: Annotated[float, means("how old the file may be", "s", gt=0, le=31_536_000)] = 300.0
    min_free_mb: Annotated[Megabytes, means("what must be free on the disk", "MB")] = 500
    interval_s: Annotated[
        Annotated[float, Meta(ge=0.1, le=86_400)] | None,
        means("time between two looks; none: 1 for processes, `self_healing.health_check_interval` else", "s"),
    ] = None
    timeout_s: Annotated[float, means("how long an answer may take", "s", ge=0.05, le=300)] = 1.5
    failures: Annotated[int, means("failures in a row before it counts as unwell", ge=1, le=100)] = 2

    @property
    def kind(self) -> ProbeKind:
        """Which kind it is."""
        return next(kind for kind in KINDS if getattr(self, kind))

    @property
    def target(self) -> str:
        """Whom it asks, for people."""
        return " ".join(self.command) if self.command else str(getattr(self, self.kind))

    def contradictions(self) -> Iterator[tuple[str, str]]:
        given = [kind for kind in KINDS if getattr(self, kind)]
        if len(given) != 1:
            yield given[1] if given else "", f"a probe is exactly one of {', '.join(KINDS)}"
            return
        if self.http is not None:
            parts = urlsplit(self.http)
            if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
                yield "http", "is no address such as http://127.0.0.1:8080/health"
        if self.tcp is not None and host_and_port(self.tcp) is None:
            yield "tcp", "must be host:port, e.g. 127.0.0.1:11434"
        if self.command and not self.command[0]:
            yield "command", "names no program"
        if self.status and self.http is None:
            yield "status", "is only for http"
        if self.contains and self.http is None and not self.command:
            yield "contains", "is only for http and command"


def host_and_port(text: str) -> tuple[str, int] | None:
    """``127.0.0.1:80`` or ``[::1]:80`` in its parts; None if it is neither."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or len(port) > 5 or not 1 <= int(port) <= 65_535:
        return None
    return host, int(port)
