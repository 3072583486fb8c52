"""Each setting by itself, for people and programs: its value, its default, where it comes from, and what it means. Pure.

What a setting means stands where it is declared, and nowhere else. Secrets are shown nowhere; of a reference, its name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, Literal

import yaml
from msgspec import NODEFAULT, Struct, inspect, to_builtins
from msgspec.structs import replace

from resilience.config.difference import in_words
from resilience.config.nodes import compose
from resilience.config.settings import Settings
from resilience.redaction import REDACTED, Redactor

NEW: Final = "<name>"
"""The entry of a table that stands for one that is yet to be made: its values are what such a one begins with."""
Source = Literal["default", "configuration", "environment", "keyring"]
Place = tuple[str, ...]
_REFERENCE: Final = re.compile(r"(env|keyring):([A-Za-z_][\w.-]*)")
_CHAPTER: Final = re.compile(r" \(§[\d., §]+\)")
_MOST: Final = 300


class Explained(Struct, frozen=True, kw_only=True):
    """One setting.

    ``path`` is its name from ``error_handling:`` on; in its ``section`` it is called ``key``, or in the ``entry`` of a ``table``
    where it stands in one. A table has a row of its own, too, without an entry, whose ``value`` is how many there are.
    ``differs``: from the default. ``line`` is where it is set in the configuration's text, if it is. What is a reference has
    the ``name`` of the variable or entry, and ``found`` says whether a variable is there; None: nobody has looked. ``waits``: it
    holds from the next start on.
    """

    path: str
    section: str
    key: str
    table: str = ""
    entry: str = ""
    meaning: str = ""
    unit: str = ""
    value: str
    default: str
    differs: bool = False
    source: Source = "default"
    line: int | None = None
    name: str = ""
    found: bool | None = None
    waits: bool = False


def sections() -> dict[str, str]:
    """Each section, and what it is for."""
    kind = inspect.type_info(Settings)
    assert isinstance(kind, inspect.StructType)
    return {one.name: _purpose(one.type) for one in kind.fields}


def explained(
    settings: Settings, text: str, redactor: Redactor, environment: Collection[str] = (),
    started: Settings | None = None, later: Collection[str] = (),
) -> list[Explained]:  # fmt: skip
    """Each setting of ``settings``, in the order in which they are declared.

    Args:
        text: what gave them; empty: it is not known, or they are the defaults. redactor: what knows their secrets.
        environment: the names of the variables that there are.
        started: what holds for the sections ``later``, which take what is new at the next start only.
    """
    kind = inspect.type_info(Settings)
    raw, default = to_builtins(settings), to_builtins(Settings())
    walk = _Walk(places(text), redactor, environment, raw, to_builtins(started or settings), frozenset(later))
    return [*walk.rows(kind, (), raw, default)]


def places(text: str) -> dict[Place, int]:
    """On which line each setting stands in a configuration's text that was understood, from 1."""
    root = compose(text, "")
    found: dict[Place, int] = {}
    if root is not None:
        _note(root, (), found)
    return {where[1:]: line for where, line in found.items() if where[0] == "error_handling"}


def _note(node: yaml.Node, place: Place, found: dict[Place, int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            found[*place, str(key.value)] = key.start_mark.line + 1
            _note(value, (*place, str(key.value)), found)
    elif isinstance(node, yaml.SequenceNode):
        for at, one in enumerate(node.value):
            found[*place, str(at)] = one.start_mark.line + 1
            _note(one, (*place, str(at)), found)


class _Walk:
    """One walk over what can be set, along with the values."""

    def __init__(
        self, lines: Mapping[Place, int], redactor: Redactor, environment: Collection[str], now: Any, started: Any,
        later: frozenset[str],
    ) -> None:  # fmt: skip
        self._lines, self._redactor, self._environment = lines, redactor, environment
        self._now, self._started, self._later = now, started, later

    def rows(
        self, kind: inspect.Type, place: Place, raw: Any, default: Any, *, table: Place = (), meaning: str = "", unit: str = ""
    ) -> Iterator[Explained]:
        """What stands at ``place``: one setting, or all in a section or table.

        Args:
            default: what would hold without a file; NODEFAULT: something has to be given. table: in which it is.
        """
        like = ""
        if isinstance(kind, inspect.Metadata):
            told = kind.extra or {}
            meaning, unit = (kind.extra_json_schema or {}).get("description", meaning), told.get("unit", "") or unit
            kind, like = kind.type, told.get("like", "")
        if isinstance(kind, inspect.UnionType):  # always with None
            something = next(one for one in kind.types if not isinstance(one, inspect.NoneType))
            if raw is not None or table[-1:] == (NEW,):
                kind = something.type if isinstance(something, inspect.Metadata) else something
            if isinstance(kind, inspect.StructType):
                default = default if isinstance(default, dict) else _bare(kind)
                raw = raw if raw is not None else default
        match kind:
            case inspect.StructType():
                yield from self._section(kind, place, raw, default, table)
            case inspect.DictType() if table and not raw:
                yield self._row(place, raw, default, table, meaning, unit)
            case inspect.DictType():
                yield from self._table(kind, place, raw, default, table, meaning, like)
            case inspect.VarTupleType() if isinstance(kind.item_type, inspect.StructType):
                yield from self._list(kind.item_type, place, raw, default, meaning)
            case _:
                yield self._row(place, raw, default, table, meaning, unit)

    def _section(self, kind: inspect.StructType, place: Place, raw: Any, default: Any, table: Place) -> Iterator[Explained]:
        for one in kind.fields:
            yield from self.rows(one.type, (*place, one.name), raw[one.name], default[one.name], table=table)

    def _table(
        self, kind: inspect.DictType, place: Place, raw: Any, default: Any, table: Place, meaning: str, like: str
    ) -> Iterator[Explained]:
        if not table:
            yield self._head(place, raw, default, meaning)
        item = kind.value_type
        begins: Any = _of(self._now, (*place[:-1], like)) if like else NODEFAULT
        if not like and isinstance(item, inspect.StructType):
            begins = _bare(item)
            yield from self._section(item, (*place, NEW), begins, begins, (*place, NEW))
        for name, value in raw.items():
            before = default.get(name, begins) if isinstance(default, dict) else begins
            where = (*place, str(name))
            yield from self.rows(item, where, value, before, table=table or where, meaning=meaning)

    def _list(self, kind: inspect.StructType, place: Place, raw: Any, default: Any, meaning: str) -> Iterator[Explained]:
        yield self._head(place, raw, default, meaning)
        bare = _bare(kind)
        yield from self._section(kind, (*place, NEW), bare, bare, (*place, NEW))
        known = {one.get("name"): one for one in default}
        for at, value in enumerate(raw):
            where, name = (*place, str(at)), self._redactor.text(str(value.get("name", at)))
            for row in self._section(kind, where, value, known.get(value.get("name"), bare), where):
                yield replace(row, entry=name)

    def _head(self, place: Place, raw: Any, default: Any, meaning: str) -> Explained:
        line, differs = self._lines.get(place), raw != default
        return Explained(
            path=".".join(place), section=place[0], key=".".join(place[1:]), table=".".join(place), meaning=meaning,
            value=_count(raw), default=_count(default), differs=differs, line=line, waits=self._waits(place, raw),
            source="configuration" if line is not None else "default",
        )  # fmt: skip

    def _row(self, place: Place, raw: Any, default: Any, table: Place, meaning: str, unit: str) -> Explained:
        shown = tuple(self._redactor.text(one) for one in place)
        reference = _REFERENCE.fullmatch(raw) if isinstance(raw, str) else None
        line = self._lines.get(place)
        is_environment = reference is not None and reference[1] == "env"
        kept: Source = "environment" if is_environment else "keyring"
        return Explained(
            path=".".join(shown), section=shown[0], meaning=meaning, unit=unit,
            key=".".join(shown[len(table) :] if table else shown[1:]),
            table=".".join(shown[: len(table) - 1]) if table else "", entry=shown[len(table) - 1] if table else "",
            value=self._said(place, raw), default=self._said(place, default), differs=default is not NODEFAULT and raw != default,
            source=kept if reference is not None else "default" if line is None else "configuration",
            line=line, name=reference[2] if reference is not None else "", waits=self._waits(place, raw),
            found=reference[2] in self._environment if reference is not None and is_environment else None,
        )  # fmt: skip

    def _said(self, place: Place, value: Any) -> str:
        if value is NODEFAULT:
            return ""
        if isinstance(value, str) and _REFERENCE.fullmatch(value):
            return value
        if value not in (None, True, False, "") and any(map(self._redactor.is_secret, place)):
            return REDACTED
        return "none" if value in ("", {}) else in_words(value, self._redactor, _MOST)

    def _waits(self, place: Place, raw: Any) -> bool:
        return place[0] in self._later and NEW not in place and _of(self._started, place) != raw


def _of(table: Any, place: Place) -> Any:
    """What stands at a place of a table of plain values; None: nothing does."""
    for name in place:
        if isinstance(table, list):
            table = table[int(name)] if int(name) < len(table) else None
        elif isinstance(table, dict):
            table = next((value for key, value in table.items() if str(key) == name), None)
    return table


def _bare(kind: inspect.StructType) -> dict[str, Any]:
    """What a new one begins with, as plain values; NODEFAULT: that has to be given."""
    return {one.name: _default(one) for one in kind.fields}


def _default(one: inspect.Field) -> Any:
    if one.default is not NODEFAULT:
        return to_builtins(one.default)
    return to_builtins(one.default_factory()) if one.default_factory is not NODEFAULT else NODEFAULT


def _count(value: Any) -> str:
    return "none" if not value else "1 entry" if len(value) == 1 else f"{len(value)} entries"


def _purpose(kind: inspect.Type) -> str:
    told = ""
    if isinstance(kind, inspect.Metadata):
        told, kind = (kind.extra_json_schema or {}).get("description", ""), kind.type
    if isinstance(kind, inspect.StructType) and not told:
        told = (kind.cls.__doc__ or "").partition("\n")[0]
    return _CHAPTER.sub("", f"{told[:1].upper()}{told[1:].rstrip('.')}.")
