"""Lists of which one names a secret and the next is it, as programs are told them: ``[bot, --password, hunter2]``. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from resilience.redaction import REDACTED, Redactor

_OPTION: Final = re.compile(r"(?:--?|/)([A-Za-z][\w-]*)")
_ASSIGNED: Final = re.compile(r"((?:--?|/)?([A-Za-z][\w-]*)=).+", re.DOTALL)
_LONG_OPTION: Final = re.compile(r"--[A-Za-z]")


def secret_places(values: Sequence[object], is_secret: Callable[[str], bool]) -> set[int]:
    """Where in ``values`` something stands behind an option that names a secret, and is not an option itself.

    Args:
        is_secret: whether what stands under a name is a secret.
    """
    return {at for at, (option, value) in enumerate(itertools.pairwise(values), 1) if _names(option, value, is_secret)}


def without_assigned(text: str, is_secret: Callable[[str], bool]) -> str:
    """``text``, which stands in a list by itself, without what a secret is set to: ``--password=…``, to its very end."""
    found = _ASSIGNED.fullmatch(text)
    return f"{found[1]}{REDACTED}" if found is not None and is_secret(found[2]) else text


def without_option_values(value: Any, redactor: Redactor) -> Any:
    """``value``, of tables, lists and plain values, without the secrets that stand behind options."""
    match value:
        case dict():
            return {key: without_option_values(one, redactor) for key, one in value.items()}
        case list() | tuple():
            places = secret_places(value, redactor.is_secret)
            items = [without_assigned(one, redactor.is_secret) if isinstance(one, str) else one for one in value]
            return [REDACTED if at in places else without_option_values(one, redactor) for at, one in enumerate(items)]
        case _:
            return value


def _names(option: object, value: object, is_secret: Callable[[str], bool]) -> bool:
    found = _OPTION.fullmatch(option) if isinstance(option, str) else None
    is_option = isinstance(value, str) and _LONG_OPTION.match(value) is not None
    return found is not None and is_secret(found[1]) and not is_option
