"""What a step is asked to be: the function, what undoes it, what is kept of it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from resilience.transactions.steps import checked_text
from resilience.wrapping import is_async, name_of, refuse_generators

_OURS: Final = ("undo", "keep", "key", "found")
_MAX_NAME: Final = 200


class Asked(NamedTuple):
    """A step as it is asked for; see ``OpenTransaction.do``."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    undo: Callable[..., Any] | None
    keep: Callable[[Any], Any] | None
    key: str | None
    found: Callable[[str], Any] | None


def step_name(function: Callable[..., Any]) -> str:
    """How a step or what undoes it is called in the file."""
    while isinstance(function, functools.partial):
        function = function.func
    return name_of(function)[:_MAX_NAME]


def asked_for(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], undo: Callable[..., Any] | None,
    keep: Callable[[Any], Any] | None, key: str | None, found: Callable[[str], Any] | None,
) -> Asked:  # fmt: skip
    """The step, if it can be one.

    Raises:
        TypeError: it is ambiguous whose argument one is, or a function is of a sort that cannot be waited for. ValueError: the
            key has not 1 to 200 characters.
    """
    given = [name for name, value in zip(_OURS, (undo, keep, key, found), strict=True) if value is not None]
    if given and not isinstance(function, functools.partial):
        own = [name for name in given if name in _parameters(function)]
        if own:
            said = f"has a parameter {own[0]} of its own, and so has do; hand over"
            raise TypeError(f"{name_of(function)} {said} functools.partial({name_of(function)}, {own[0]}=…)")
    if keep is not None and is_async(keep):
        raise TypeError(f"keep={name_of(keep)} is a coroutine function; what is kept is taken from the result at once")
    for one in (function, undo, found):
        if one is not None:
            refuse_generators(one)
    if key is not None:
        checked_text("a step's key", key)
    return Asked(function, args, kwargs, undo, keep, key, found)


def _parameters(function: Callable[..., Any]) -> set[str]:
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some functions written in C do not say
        return set()
    return {one.name for one in found if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
