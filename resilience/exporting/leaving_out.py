"""Secrets in exact states: they are left out where they stand, and it is said where that was. Pure.

Everywhere else a ``Redactor`` may change whatever it likes, for people read it. What is here is read by agents again, so a value
that hides nothing stays exactly as it was.
"""

from __future__ import annotations

import re
from typing import Any, Final

from resilience.config.difference import without_secret
from resilience.redaction import REDACTED, Redactor

_ODD: Final = re.compile(r"[^\t\n\r -~]")
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REFERENCE: Final = re.compile(r"(?:env|keyring):[A-Za-z_][\w.-]*")
_LONG: Final = 60


class Clean:
    """Takes the secrets out of one part; ``places`` are where they stood.

    Args:
        redactor: what knows secrets.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self.places: list[str] = []

    def value(self, value: Any, place: str = "$") -> Any:
        """``value``, as JSON knows values, without secrets; the same object where it holds none.

        Args:
            place: where it stands, for people.
        """
        if isinstance(value, str):
            return self.text(value, place)
        if isinstance(value, list):
            items = [self.value(one, f"{place}[{number}]") for number, one in enumerate(value)]
            return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
        if isinstance(value, dict):
            return self._table(value, place)
        return value

    def text(self, text: str, place: str) -> str:
        """``text`` without secrets; exactly as it was where it holds none, with whatever else is odd in it."""
        after = without_secret(text, self.is_secret)
        if not self.is_clean(after):
            after = self._redactor.text(after)
        if after == text:
            return text
        self.places.append(place)
        return after

    def is_clean(self, text: str) -> bool:
        """Whether ``text`` holds no secret; a redactor also replaces what only looks odd."""
        told = self._redactor.text(text)
        return told == text or told == _ODD.sub(lambda odd: self._redactor.text(odd[0]), text)

    def is_secret(self, name: str) -> bool:
        """Whether what stands under ``name`` is a secret because of that."""
        return self._redactor.is_secret(name)

    @staticmethod
    def hides(value: Any) -> bool:
        """Whether ``value`` can be a secret: a truth value, nothing, and a reference to a secret cannot."""
        is_reference = isinstance(value, str) and (value == REDACTED or _REFERENCE.fullmatch(value) is not None)
        return bool(value) and not isinstance(value, bool) and not is_reference

    def shown(self, name: str) -> str:
        """``name`` as it is told to people."""
        told = self._redactor.text(name)
        return told if len(told) <= _LONG else f"{told[:_LONG]}…"

    def _table(self, table: dict[str, Any], place: str) -> dict[str, Any]:
        after: dict[str, Any] = {}
        is_same = True
        for key, value in table.items():
            clean_key = self._key(key, place, after)
            at = f"{place}.{clean_key}" if _PLAIN.fullmatch(clean_key) else f"{place}[{self.shown(clean_key)!r}]"
            if self.is_secret(key) and self.hides(value):
                self.places.append(at)
                after[clean_key] = REDACTED
            else:
                after[clean_key] = self.value(value, at)
            is_same = is_same and clean_key == key and after[clean_key] is value
        return table if is_same else after

    def _key(self, key: str, place: str, taken: dict[str, Any]) -> str:
        """``key`` without secrets; two of them do not become one."""
        clean = self.text(key, f"a key of {place}")
        number, free = 1, clean
        while free != key and free in taken:
            number += 1
            free = f"{clean} {number}"
        return free

