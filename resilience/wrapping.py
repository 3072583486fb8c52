"""How a function is to be wrapped: what it gives when it is called."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, TypeGuard


def is_async(function: Callable[..., Any]) -> TypeGuard[Callable[..., Coroutine[Any, Any, Any]]]:
    """Whether calling ``function`` gives a coroutine; partials and objects with an asynchronous ``__call__`` too."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def name_of(function: Callable[..., Any]) -> str:
    """How ``function`` is called in reports and in the log."""
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def refuse_generators(function: Callable[..., Any]) -> None:
    """For policies that see a call only: what a generator does, it does after the call.

    Raises:
        TypeError: it is one.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        said = "is a generator: it works after the call; asynchronous ones go through Resilience.protect"
        raise TypeError(f"{name_of(function)} {said}")
