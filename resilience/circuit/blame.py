"""Whose fault a failed call is: what the caller did wrong says nothing about the service (§3)."""

from __future__ import annotations

import functools
from typing import Final

from resilience import errors as e
from resilience.classification.classifier import ErrorClassifier
from resilience.context import ErrorImpact
from resilience.refusals import RefusedError

CALLERS_MISTAKES: Final = (
    e.ValidationError, e.AuthenticationError, e.NotFoundError, e.ConfigurationError, e.LLMContentFilterError,
    e.LLMContextWindowError, e.LLMOutputParseError, RefusedError,
)  # fmt: skip
"""What a service answers that is there: to a bad request, or with what nobody can use; and what never reached it."""


def is_services_fault(error: Exception, component: str = "unknown", classifier: ErrorClassifier | None = None) -> bool:
    """Whether ``error`` says that the service is unwell; one that nobody knows does."""
    if isinstance(error, e.WinClawError):
        return not isinstance(error, CALLERS_MISTAKES)
    verdict = (classifier or _classifier()).verdict(error, component)
    return not issubclass(verdict.error_class, CALLERS_MISTAKES) and verdict.impact is not ErrorImpact.NONE


@functools.cache
def _classifier() -> ErrorClassifier:
    return ErrorClassifier()
