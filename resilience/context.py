"""What is known of one error: how bad, how wide, what to do about it (§2.2)."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum
from functools import cached_property
from typing import Any, Final

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


MAX_STACK_CHARACTERS: Final = 100_000


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
            error_id=os.urandom(16).hex(), timestamp=(clock or SystemClock()).now(), severity=severity, impact=impact,
            component=component, operation=operation, user_id=user_id, session_id=session_id, retry_count=retry_count,
            original_error=error, metadata={**(metadata or {}), **known}, **found,
        )  # fmt: skip

    @property
    def message(self) -> str:
        """The error's own words; its type's name where it has none."""
        text = message_of(self.original_error)
        if text and not isinstance(self.original_error, KeyError):
            return text
        name = type(self.original_error).__name__
        return f"{name}: {text}" if text else name  # a KeyError's words are the key alone

    @cached_property
    def stack_trace(self) -> str:
        """The error's own stack, causes included; of a very long one the beginning and the end."""
        try:
            import traceback  # noqa: PLC0415 -- an agent whose calls succeed never needs it

            text = "".join(traceback.format_exception(self.original_error))
        except Exception as fault:
            return f"(its stack cannot be read: {type(fault).__name__})"
        if len(text) <= MAX_STACK_CHARACTERS:
            return text
        half = MAX_STACK_CHARACTERS // 2 - 50
        return f"{text[:half]}\n… ({len(text) - 2 * half} characters left out)\n{text[-half:]}"

    def __getstate__(self) -> dict[str, Any]:
        """For pickle, which does not know frames: the stack is written out before it is lost."""
        return {**self.__dict__, "stack_trace": self.stack_trace}

    @property
    def fingerprint(self) -> str:
        """What this error has in common with others of the same trouble."""
        return fingerprint(self.kind, self.component, self.operation, self.error_type, self.message)


_FOUND: Final = frozenset({"kind", "error_type", "is_transient", "recovery_strategy", "reason", "retry_after_s"})
# No repetition is tried in a second way (``*+``) or from the middle of a word: any text takes linear time.
_QUOTED: Final = re.compile(r"""'(?<!\w')[^'\n]*+'|"[^"\n]*+"|`[^`\n]*+`""")
_VARIABLE: Final = re.compile(
    r"""
      (?<![\w.~+-])(?:[a-z]:)?[\w.~+-]*+[/\\@][^\s'"`,;:)\]}>]*+   # a path, what follows a URL's scheme, a mail address
    | \b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b              # a UUID
    | (?<![\w:])(?:[0-9a-f]{1,4})?(?::[0-9a-f]{0,4}){2,7}           # an IPv6 address, a time
    | \b[^\W\d]*+\d\w*+(?:[.,]\d\w*+)*+                           # a number, or a word that holds one
    """,
    re.VERBOSE | re.IGNORECASE,
)
_IS_ODD: Final = re.compile(r"[\d/\\@]|::")  # only then is a word worth the pattern above


def fingerprint(kind: str, component: str, operation: str, error_type: str, message: str) -> str:
    """Sixteen hex digits that are the same for the same trouble: what varies in the message is left out of it.

    Numbers, ids, quoted words, addresses and paths vary; of what is left, the first 500 characters count.
    """
    words = _QUOTED.sub("#", message[:10_000]).split()
    stable = " ".join([_VARIABLE.sub("#", word) if _IS_ODD.search(word) else word for word in words])[:500]
    parts = "\0".join((kind, component, operation, error_type, stable))
    return hashlib.blake2b(parts.encode("utf-8", "replace"), digest_size=8).hexdigest()


def message_of(error: object) -> str:
    """``str(error)``, whatever it does; of anything else that is a user's, too."""
    try:
        return str(error)
    except Exception as fault:
        return f"(a {type(error).__name__} whose words cannot be read: {type(fault).__name__})"
