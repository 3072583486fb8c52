"""What is known of one error: how bad, how wide, what to do about it (§2.2)."""

from __future__ import annotations

import hashlib
import re
import traceback
import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum
from functools import cached_property
from typing import Any

from resilience.clock import Clock, SystemClock


class ErrorSeverity(Enum):
    """How bad (§2.2)."""

    DEBUG = 1
    INFO = 2
    WARNING = 3
    ERROR = 4
    CRITICAL = 5
    FATAL = 6


class ErrorImpact(Enum):
    """How wide (§2.2)."""

    NONE = 1
    SINGLE_REQUEST = 2
    SINGLE_SESSION = 3
    SINGLE_COMPONENT = 4
    MULTIPLE_COMPONENTS = 5
    FULL_SYSTEM = 6


class RecoveryStrategy(StrEnum):
    """What to do about it (§2.3); an attribute of each error class, inherited."""

    RETRY_WITH_BACKOFF = "RETRY_WITH_BACKOFF"
    REFRESH_CREDENTIALS = "REFRESH_CREDENTIALS"
    RELOAD_CONFIG = "RELOAD_CONFIG"
    ESCALATE_TO_LLM = "ESCALATE_TO_LLM"
    ISOLATE_AND_ALERT = "ISOLATE_AND_ALERT"
    HEAL_THEN_RETRY = "HEAL_THEN_RETRY"
    ESCALATE_TO_HUMAN = "ESCALATE_TO_HUMAN"


MAX_STACK_CHARACTERS = 100_000


@dataclass
class ErrorContext:
    """Everything known of one error (§2.2), and what the classifier found: ``kind`` and all below it.

    ``original_error`` is the exception itself; the stack is written out only when somebody asks for it.
    """

    error_id: str
    timestamp: datetime
    severity: ErrorSeverity
    impact: ErrorImpact
    component: str
    operation: str
    user_id: str | None
    session_id: str | None
    retry_count: int
    original_error: BaseException
    metadata: dict[str, Any]
    kind: str = "winclaw"
    error_type: str = "WinClawError"
    is_transient: bool = False
    recovery_strategy: RecoveryStrategy = RecoveryStrategy.ESCALATE_TO_HUMAN
    reason: str = ""
    retry_after_s: float | None = None

    @classmethod
    def create(
        cls,
        error: BaseException,
        component: str,
        operation: str,
        severity: ErrorSeverity = ErrorSeverity.ERROR,
        impact: ErrorImpact = ErrorImpact.SINGLE_REQUEST,
        *,
        clock: Clock | None = None,
        user_id: str | None = None,
        session_id: str | None = None,
        retry_count: int = 0,
        metadata: dict[str, Any] | None = None,
        **known: Any,
    ) -> ErrorContext:
        """The context of ``error``, with an id and the time of now.

        Args:
            known: what the classifier found (``kind``, ``reason`` …); any other keyword is metadata.
        """
        found = {name: known.pop(name) for name in list(known) if name in _FOUND}
        return cls(
            error_id=str(uuid.uuid4()), timestamp=(clock or SystemClock()).now(), severity=severity, impact=impact,
            component=component, operation=operation, user_id=user_id, session_id=session_id, retry_count=retry_count,
            original_error=error, metadata={**(metadata or {}), **known}, **found,
        )  # fmt: skip

    @property
    def message(self) -> str:
        """The error's own words; its type's name where it has none."""
        try:
            return str(self.original_error) or type(self.original_error).__name__
        except Exception as fault:
            return f"(its message cannot be read: {name_of(fault)})"

    @cached_property
    def stack_trace(self) -> str:
        """The error's own stack, causes included; of a very long one the beginning and the end."""
        try:
            text = "".join(traceback.format_exception(self.original_error, limit=200))
        except Exception as fault:
            return f"(its stack cannot be read: {name_of(fault)})"
        if len(text) <= MAX_STACK_CHARACTERS:
            return text
        half = MAX_STACK_CHARACTERS // 2
        return f"{text[:half]}\n… ({len(text) - 2 * half} characters left out)\n{text[-half:]}"

    @property
    def fingerprint(self) -> str:
        """What this error has in common with others of the same trouble."""
        return fingerprint(self.kind, self.component, self.operation, self.error_type, self.message)


_FOUND = frozenset({"kind", "error_type", "is_transient", "recovery_strategy", "reason", "retry_after_s"})
_VARIABLE = re.compile(
    r"""'[^'\n]{0,200}'|"[^"\n]{0,200}"|(?<![\w.])(?:/|[A-Za-z]:\\)[^\s'",;:)\]]{1,300}|\b[0-9a-fA-F]{8,}\b|0x[0-9a-fA-F]{1,16}|\d+"""
)


def fingerprint(kind: str, component: str, operation: str, error_type: str, message: str) -> str:
    """Sixteen hex digits that are the same for the same trouble: what varies in the message is left out of it.

    Numbers, ids, quoted words, addresses and paths vary; so does everything after the first 500 characters.
    """
    stable = _VARIABLE.sub("#", message[:500])
    parts = "\0".join((kind, component, operation, error_type, stable))
    return hashlib.blake2b(parts.encode("utf-8", "replace"), digest_size=8).hexdigest()


def name_of(error: BaseException) -> str:
    """The name of an error's class, without asking the error anything."""
    return type(error).__name__
