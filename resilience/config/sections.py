"""What a group of settings is: frozen, each value with its meaning, unit and limits, and able to refuse nonsense."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any, Self, get_type_hints

from msgspec import Meta, Struct, ValidationError, convert


def means(meaning: str, unit: str = "", *, names: str = "", like: str = "", **limits: Any) -> Meta:
    """What a setting means, its unit and its limits.

    Args:
        names: what its text must name: ``error class``, ``feature flag``, ``system error``, ``address`` or ``reference``.
        like: the neighbouring setting that new entries of a table start from.
    """
    return Meta(description=meaning, extra={"unit": unit, "names": names, "like": like}, **limits)


class Section(Struct, frozen=True, forbid_unknown_fields=True):
    """A group of settings."""

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Settings that are each allowed, but not together: the key to change (empty: several) and what is wrong."""
        yield from ()

    def sound(self) -> Self:
        """These settings, if each is within its limits and all go together; for those that no file was checked for.

        Raises:
            ValueError: the first that is not, with its value and what is allowed.
        """
        for name, kind in _limited(type(self)).items():
            value = getattr(self, name)
            try:
                convert(value, kind)
            except ValidationError as refused:
                raise ValueError(f"{type(self).__name__}: {name}={value!r} is not possible: {refused}") from None
        for name, wrong in self.contradictions():
            raise ValueError(f"{type(self).__name__}: {name + ': ' if name else ''}{wrong}")
        return self


@functools.cache
def _limited(kind: type[Section]) -> dict[str, Any]:
    """The settings of ``kind`` that stand in the configuration, with their types and limits."""
    hints = get_type_hints(kind, include_extras=True)
    return {name: hints[name] for name in kind.__struct_fields__ if hasattr(hints[name], "__metadata__")}


def named_twice(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with rules of these names: the key to change, and why."""
    for at, name in enumerate(names):
        if name in names[:at]:
            yield f"rules[{at}].name", f"there is another rule {name!r}; give each a name of its own"
