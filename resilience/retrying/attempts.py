"""The tries of one call, and the error when there is no further one (§4.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from resilience import errors as e


class RetryExhaustedError(e.WinClawError):
    """Every try failed (§4.2). Its cause is the last error.

    Attributes:
        attempts: each try that failed, the first one first. because: why there was no further one.
    """

    kind = "retry_exhausted"

    def __init__(self, because: str, attempts: tuple[Attempt, ...]) -> None:
        super().__init__(f"{len(attempts)} tries failed, and there is no further one: {because}")
        self.because, self.attempts = because, attempts

    @property
    def errors(self) -> list[Exception]:
        """The error of each try; one whose result was refused has none."""
        return [attempt.error for attempt in self.attempts if attempt.error is not None]


class Attempt(NamedTuple):
    """A try that failed: with an error, or with a result that is none."""

    error: Exception | None
    pause_s: float = 0.0
    result: Any = None


@dataclass(slots=True)
class RetryContext:
    """The tries of one call, from its first failure on (§4.2). ``deadline_s`` is a moment of the executor's clock."""

    deadline_s: float | None = None
    attempts: list[Attempt] = field(default_factory=list)
    because: str = ""

    @property
    def attempt(self) -> int:
        """How many tries have failed."""
        return len(self.attempts)

    @property
    def errors(self) -> list[Exception]:
        """Their errors."""
        return [attempt.error for attempt in self.attempts if attempt.error is not None]

    @property
    def delays(self) -> list[float]:
        """The pauses between them, in seconds."""
        return [attempt.pause_s for attempt in self.attempts if attempt.pause_s]
