"""JSON that gives exactly the same when it is read again, or an error that says where it would not. Standard library only."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

MAX_DEPTH: Final = 100
_PAIR: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")


class InexactError(ValueError):
    """A value that JSON cannot hold exactly; the message says which, and where in the whole it stands."""


def exact_json(value: Any, name: str) -> str:
    """``value`` as JSON, in ASCII, that gives exactly the same when it is read again.

    Args:
        name: what errors call the whole, e.g. ``payload``.

    Raises:
        InexactError: JSON cannot hold it exactly.
    """
    _check(value, name, name, 0)
    try:
        return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    except ValueError as error:  # an integer with thousands of digits
        raise InexactError(f"the {name} cannot be written as JSON: {error}") from error


def _check(value: Any, name: str, place: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InexactError(f"the {name} nests deeper than {MAX_DEPTH} levels, or holds itself: {place[:200]}…")
    kind = type(value)
    if value is None or kind in (bool, int):
        return
    if kind is str:
        _check_text(value, place)
    elif kind is float:
        if not math.isfinite(value):
            raise InexactError(f"{place} is {value}, which JSON cannot hold; give None or a text instead")
    elif kind is list:
        for number, entry in enumerate(value):
            _check(entry, name, f"{place}[{number}]", depth + 1)
    elif kind is dict:
        for key, entry in value.items():
            if type(key) is not str:
                raise InexactError(f"{place} has the key {key!r}, a {type(key).__name__}; keys in JSON are texts")
            _check_text(key, f"the key {key!r} of {place}")
            _check(entry, name, f"{place}[{key!r}]", depth + 1)
    else:
        raise InexactError(
            f"{place} is a {kind.__module__}.{kind.__qualname__}, which JSON cannot hold exactly; "
            "make it of dict, list, str, int, float, bool and None"
        )


def _check_text(text: str, place: str) -> None:
    if not text.isascii() and _PAIR.search(text):
        raise InexactError(f"{place} holds two halves of a character side by side, which JSON reads as one whole character")
