"""What a sandboxed program may use (§7.2), what came of it, and what went wrong. Plain data."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Struct

from resilience.config.sections import Section, means
from resilience.errors import ContainerError, ResourceLimitError


class ResourceLimits(Section, frozen=True, kw_only=True):
    """How much a sandboxed program may use, together with all that it starts (§7.2)."""

    max_cpu_seconds: Annotated[float, means("processor time", "s", gt=0, le=86_400)] = 30.0
    max_memory_mb: Annotated[int, means("memory", "MB", ge=16, le=1_000_000)] = 512
    max_file_descriptors: Annotated[int, means("open files of each process", ge=16, le=100_000)] = 100
    max_processes: Annotated[int, means("processes at once", ge=1, le=10_000)] = 10
    max_network_connections: Annotated[int, means("network connections at once; 0: no network", ge=0, le=10_000)] = 10
    max_disk_io_mb: Annotated[int, means("what it may write to disk", "MB", ge=1, le=1_000_000)] = 100
    wall_seconds: Annotated[float, means("time from its start to its end", "s", gt=0, le=86_400)] = 60.0
    max_output_mb: Annotated[float, means("what it may write to both its outputs", "MB", gt=0, le=1000)] = 10.0


class SandboxResult(Struct, frozen=True, kw_only=True):
    """What a sandboxed program did: times in seconds, and ``returncode`` as of ``subprocess`` (negative: a signal).

    ``network``: the system gave it none (*cut off*), or it would have been ended at its first connection (*watched*).
    """

    returncode: int
    stdout: bytes
    stderr: bytes
    seconds: float
    cpu_seconds: float
    peak_memory_mb: float
    network: Literal["allowed", "cut off", "watched"]


class ResourceLimitExceeded(ResourceLimitError):  # noqa: N818 -- the document's name
    """A sandboxed program hit a limit, and was ended with all that it had started (§7.2).

    Attributes:
        limit: the field of ``ResourceLimits`` that was hit. allowed, used: in its unit. stdout, stderr: what it had written.
    """

    kind = "platform.container.limit"

    def __init__(self, limit: str, allowed: float, used: float, stdout: bytes = b"", stderr: bytes = b"") -> None:
        past = f"{used:g} is more than the {allowed:g} that are allowed" if used > allowed else f"all of the {allowed:g} was used"
        super().__init__(f"{limit}: {past}")
        self.limit, self.allowed, self.used, self.stdout, self.stderr = limit, allowed, used, stdout, stderr


class SandboxError(ContainerError):
    """A function failed in the sandbox, or gave back what cannot leave it; or the guard of a program died.

    Attributes:
        error_type: the class of what it raised, by its name. traceback: as text; the function's own words, not to be trusted.
    """

    def __init__(self, error_type: str, message: str, traceback: str = "") -> None:
        super().__init__(f"{error_type}: {message}")
        self.error_type, self.message, self.traceback = error_type, message, traceback
