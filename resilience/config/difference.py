"""What differs between two configurations, for people: setting by setting, and line by line; without secrets. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from msgspec import to_builtins

from resilience.config.options import without_option_values
from resilience.config.settings import Settings
from resilience.redaction import REDACTED, Redactor

_CHANGED_SECRET: Final = f"{REDACTED} → another one"
_MOST: Final = 80
_LONG_VALUE: Final = 60
_LONG_LINE: Final = 160
_MOST_COMPARED: Final = 3_000
_CONTEXT: Final = 3


def changed_settings(before: Settings, after: Settings, redactor: Redactor) -> tuple[str, ...]:
    """Each setting that is another one: ``retry.budget.percent: 10 → 20``; of very many, the first eighty."""
    found = list(_changed(to_builtins(before), to_builtins(after), "", redactor))
    more = (f"and {len(found) - _MOST} more",) if len(found) > _MOST else ()
    return (*(_cut(one, _LONG_LINE) for one in found[:_MOST]), *more)


def without_secret(line: str, is_secret: Callable[[str], bool]) -> str:
    """A line of ``changed_settings``, or of the like, without its values where a name in it has come to be a secret's since."""
    where, _, values = line.partition(": ")
    if " → " in values and "\n" not in line and any(map(is_secret, where.split("."))):
        return f"{where}: {_CHANGED_SECRET}"
    return line


def line_difference(before: str, after: str, clean: Callable[[str], str]) -> list[str]:
    """What differs between two texts, line by line, as ``diff -u`` shows it, without its first two lines.

    Where very much differs, the lines are not matched with each other: all of the one go, all of the other come.

    Args:
        clean: takes the secrets out of a whole text.
    """
    old, new = (clean(text.removeprefix("\ufeff")).splitlines() for text in (before, after))
    same = next((at for at, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), min(len(old), len(new)))
    rest_old, rest_new = old[same:], new[same:]
    if max(len(rest_old), len(rest_new)) > _MOST_COMPARED:
        said = f"@@ from line {same + 1} on, {len(rest_old)} lines became {len(rest_new)}: too many to be compared one by one @@"
        return [said, *(f"-{line}" for line in rest_old[:_MOST]), *(f"+{line}" for line in rest_new[:_MOST])]
    from_line = max(same - _CONTEXT, 0)
    lines = [*difflib.unified_diff(old[from_line:], new[from_line:], lineterm="", n=_CONTEXT)][2:]
    return [_moved(line, from_line) if line.startswith("@@ ") else line for line in lines]


def _changed(before: Mapping[str, Any], after: Mapping[str, Any], path: str, redactor: Redactor) -> Iterator[str]:
    for key in {**before, **after}:
        name = redactor.text(str(key))
        where = f"{path}.{name}" if path else name
        if key not in before or key not in after:
            yield f"{where}: {'added' if key in after else 'removed'}"
            continue
        old, new = before[key], after[key]
        if old == new and type(old) is type(new):
            continue
        tables = _named(old, new), _named(new, old)
        if redactor.is_secret(str(key)):
            yield f"{where}: {_CHANGED_SECRET}"
        elif tables[0] is not None and tables[1] is not None:
            yield from _changed(tables[0], tables[1], where, redactor) if tables[0] != tables[1] else (f"{where}: another order",)
        else:
            told, then = in_words(old, redactor), in_words(new, redactor)
            yield f"{where}: {told} → {then if then != told else 'another one'}"  # by a secret, or by what was cut off


def _named(value: Any, other: Any) -> Mapping[str, Any] | None:
    """A table by its keys; a list of things that have names, by those, as ``other`` may have; None: it is neither."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(one, Mapping) and "name" in one for one in (*value, *(other or ()))):
        return {one["name"]: one for one in value}
    return None


def in_words(value: Any, redactor: Redactor, most: int = _LONG_VALUE) -> str:
    """A plain value as the configuration has it, without secrets, cut at ``most`` characters; a table is only called one."""
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}" if value == float(f"{value:g}") else repr(value)
        case str():
            return _cut(" ".join(redactor.text(value).split()), most) or '""'
        case Mapping():
            return "a table"
        case list() | tuple():
            shown = (in_words(one, redactor, most) for one in without_option_values(value, redactor))
            return _cut(f"[{', '.join(shown)}]", most)
        case _:
            return str(value)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _moved(header: str, by: int) -> str:
    """The line ``@@ -1,3 +1,4 @@`` of a hunk, so many lines further down."""
    parts = header.split(" ")
    for at in (1, 2):
        sign, (first, comma, count) = parts[at][0], parts[at][1:].partition(",")
        parts[at] = f"{sign}{int(first) + by}{comma}{count}"
    return " ".join(parts)
