"""Errors as libraries raise them, and what they are taken for, for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from resilience.classification.classifier import ErrorClassifier
from resilience.context import ErrorContext


class AnswerError(Exception):
    """A library's error for an HTTP answer."""

    def __init__(self, status: int, code: str | None = None, retry_after: str | None = None) -> None:
        super().__init__(f"HTTP {status}")
        self.status, self.code = status, code
        self.headers = {} if retry_after is None else {"Retry-After": retry_after}


def caused(error: Exception, by: BaseException) -> Exception:
    error.__cause__ = by
    return error


def raises(*_: object) -> Any:
    raise RuntimeError("no")


def kind_of(error: BaseException, component: str = "somewhere") -> str:
    return ErrorClassifier().classify(error, {"component": component}).error_type


def classified(provoke: Callable[[], object], component: str = "somewhere") -> ErrorContext:
    """What the error that ``provoke`` raises is taken for."""
    with pytest.raises(Exception) as failure:  # noqa: PT011 -- which one is the question
        provoke()
    return ErrorClassifier().classify(failure.value, {"component": component})
