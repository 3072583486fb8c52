"""What can be set of a supervised process (§6), and which of them go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Final, Literal

from msgspec import Meta, field

from resilience.config.sections import Section, means
from resilience.detection.policy import Argument, Megabytes, Probe
from resilience.events import Name

ProcessName = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$")]
Port = Annotated[int, Meta(ge=1, le=65_535)]
_DEVICES: Final = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))})


class Process(Section, frozen=True, kw_only=True):
    """A program that WinClaw starts, watches and starts again (§6); for agents that know nothing of WinClaw, too."""

    command: Annotated[tuple[Argument, ...], means("the program and its arguments, each an entry of its own")]
    environment: Annotated[Mapping[Name, Argument], means("variables, added to WinClaw's own; `env:NAME` takes one of those")] = (
        field(default_factory=dict)
    )
    folder: Annotated[Argument | None, means("the folder that it works in; none: one that WinClaw makes for it")] = None
    autostart: Annotated[bool, means("whether it starts with WinClaw")] = True
    depends_on: Annotated[tuple[ProcessName, ...], means("processes that must be ready before it starts")] = ()
    restart: Annotated[
        Literal["always", "on-failure", "never"], means("whether it is started again when it ends by itself")
    ] = "always"
    max_restarts: Annotated[int, means("restarts within `within_s`; one more and it has failed", ge=0, le=1000)] = 5
    within_s: Annotated[float, means("the time in which restarts count", "s", gt=0, le=86_400)] = 60.0
    backoff_s: Annotated[
        float, means("pause before the second restart in a row; it doubles each time, the first is at once", "s", ge=0, le=3600)
    ] = 0.5
    max_backoff_s: Annotated[float, means("the longest pause", "s", ge=0, le=86_400)] = 60.0
    healthy_after_s: Annotated[float, means("run time after which earlier ends are forgotten", "s", gt=0, le=86_400)] = 30.0
    probe: Annotated[
        Probe | None, means("how to tell that it answers; none: by a connection to its `port`, if it has one")
    ] = None
    ready_within_s: Annotated[float, means("how long it may take until its probe is well", "s", gt=0, le=3600)] = 60.0
    hung_after_s: Annotated[
        float, means("how long its probe may be unwell before it is ended and started again", "s", gt=0, le=86_400)
    ] = 10.0
    port: Annotated[Port | None, means("the port that it listens on, which must be free before it starts")] = None
    max_memory_mb: Annotated[
        Megabytes | None, means("what it may use, with all that it has started; past that it is started again", "MB")
    ] = None
    stop_signal: Annotated[
        Literal["TERM", "INT", "HUP", "QUIT", "KILL"], means("how it is asked to stop; on Windows each but KILL is Ctrl-Break")
    ] = "TERM"
    stop_timeout_s: Annotated[
        float, means("patience before it is killed, with all that it has started", "s", ge=0, le=3600)
    ] = 10.0
    in_safe_mode: Annotated[Literal["stop", "keep"], means("what becomes of it in Safe Mode")] = "stop"
    on_quit: Annotated[Literal["stop", "keep"], means("what becomes of it when WinClaw is quit")] = "stop"
    max_log_mb: Annotated[float, means("size at which its output goes on in a new file", "MB", ge=0.001, le=1024)] = 10.0
    log_files: Annotated[int, means("older files of its output that are kept", ge=1, le=100)] = 5

    @property
    def asked(self) -> Probe | None:
        """How it is asked whether it answers: its own probe, or its port; None if it cannot be asked."""
        return self.probe or (Probe(tcp=f"localhost:{self.port}") if self.port is not None else None)

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if not self.command or not self.command[0]:
            yield "command", "names no program"
        for name, value in self.environment.items():
            if "=" in name or name.upper().startswith("WINCLAW_"):
                yield f"environment.{name}", "cannot be the name of a variable" if "=" in name else "is WinClaw's own"
            elif value.startswith("env:") and not value[4:]:
                yield f"environment.{name}", "names no variable behind env:"


def not_startable(processes: Mapping[str, Process]) -> Iterator[tuple[str, str]]:
    """What is wrong with these processes together: the key to change, and why."""
    seen: dict[str, str] = {}
    for name, process in processes.items():
        if seen.setdefault(name.casefold(), name) != name or name.casefold().partition(".")[0] in _DEVICES:
            yield f"processes.{name}", "Windows cannot tell this name from another one; choose another"
        for needed in process.depends_on:
            if needed not in processes:
                yield f"processes.{name}.depends_on", f"there is no process {needed!r}"
    try:
        start_order({name: process.depends_on for name, process in processes.items()})
    except ValueError as circle:
        yield "processes", f"they wait for each other for ever: {circle}"


def start_order(needs: Mapping[str, Sequence[str]]) -> list[str]:
    """The names so that each stands behind what it needs; what is not among them is left out.

    Raises:
        ValueError: they need each other in a circle, which it names.
    """
    among = {name: [one for one in needed if one in needs] for name, needed in needs.items()}
    try:
        return list(TopologicalSorter(among).static_order())
    except CycleError as error:
        raise ValueError(" → ".join(reversed(error.args[1]))) from None
