"""From YAML nodes to settings: all is checked against the shapes of ``settings``, and all that is wrong is kept."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Set
from typing import Any, Final

import yaml
from msgspec import UNSET, inspect
from msgspec.structs import replace

from resilience.config.nearest import nearest
from resilience.config.problems import ConfigError, ConfigProblem
from resilience.config.sections import Section
from resilience.config.settings import Settings
from resilience.config.values import NotAllowedError, check_name, listed, read, shown, tag, word

_MAX_PROBLEMS: Final = 100
_MAX_LOOKS: Final = 50_000


class _File(Section, frozen=True, kw_only=True):
    error_handling: Settings = Settings()


def settings_from(root: yaml.Node, file: str) -> Settings:
    """The settings that ``root`` gives, over the defaults.

    Raises:
        ConfigError: with everything that is wrong, in the order of the file; past 100 problems it stops looking.
    """
    walk, found = _Walk(), _File()
    with contextlib.suppress(_EnoughError):
        found = walk.value(root, inspect.type_info(_File), "", found)
    if walk.problems:
        raise ConfigError(sorted(walk.problems, key=lambda one: (one.line or 0, one.column or 0)), file)
    return found.error_handling


class _EnoughError(Exception):
    """So much is wrong, or the aliases multiply so, that looking on helps nobody."""


class _Walk:
    """One walk over a tree. What is refused becomes a problem, and ``UNSET`` stands in its place."""

    def __init__(self) -> None:
        self.problems: list[ConfigProblem] = []
        self._nodes: dict[str, yaml.Node] = {}
        self._looks = 0

    def value(self, node: yaml.Node, kind: inspect.Type, path: str, base: Any, like: Any = None) -> Any:
        """The value of ``node``, which must be of ``kind``.

        Args:
            base: what holds where the file is silent. like: what a new entry of a table starts from.
        """
        self._nodes[path] = node
        self._looks += 1
        if self._looks > _MAX_LOOKS:
            self._refuse(node, path, f"the aliases make more than {_MAX_LOOKS:,} values of this file; write them out")
            raise _EnoughError
        match kind:
            case inspect.Metadata():
                found = self.value(node, kind.type, path, base, like)
                if isinstance(found, str) and (names := (kind.extra or {}).get("names")):
                    try:
                        check_name(node, found, names)
                    except NotAllowedError as wrong:
                        self._refuse(node, path, str(wrong))
                return found
            case inspect.StructType():
                return self._section(node, kind, path, base)
            case inspect.DictType():
                return self._table(node, kind, path, base or {}, like)
            case inspect.VarTupleType():
                return self._list(node, kind, path)
            case inspect.UnionType():  # always with None
                if tag(node) == "null":
                    return None
                something = next(one for one in kind.types if not isinstance(one, inspect.NoneType))
                return self.value(node, something, path, base)
            case _:
                try:
                    return read(node, kind)
                except NotAllowedError as wrong:
                    self._refuse(node, path, str(wrong))
                    return UNSET

    def _section(self, node: yaml.Node, kind: inspect.StructType, path: str, base: Section | None) -> Any:
        given = self._given(node, path, {one.name for one in kind.fields})
        values: dict[str, Any] = {}
        for one in kind.fields:
            name = one.name
            if name in given:
                values[name] = self.value(
                    given[name], one.type, _under(path, name), getattr(base, name, None), _like(one, values, base)
                )
            elif one.required and base is None:
                self._refuse(node, path, f"{name!r} is missing here")
                values[name] = UNSET
        if UNSET in values.values():
            return UNSET
        made: Any = kind.cls(**values) if base is None else replace(base, **values)
        for key, wrong in made.contradictions():
            where = _under(path, key)
            self._refuse(self._nodes.get(where, node), where, wrong)
        return made

    def _given(self, node: yaml.Node, path: str, known: Set[str]) -> dict[str, yaml.Node]:
        """The settings that a section gives; unknown and repeated keys are refused."""
        given: dict[str, yaml.Node] = {}
        for key, child in self._pairs(node, path):
            name, where = word(key), _under(path, word(key))
            if tag(key) == "merge":
                self._refuse(key, where, "merging is not understood here; write the keys out, or alias a whole section")
            elif tag(key) != "str" or name not in known:
                hint = nearest(name, known) or f"; there are {listed(known)}"
                outside = "stands outside; everything belongs under error_handling:, indented"
                self._refuse(key, where, f"there is no such setting{hint}" if path else outside)
            elif name in given:
                self._refuse(key, where, f"stands here twice; the first is on line {given[name].start_mark.line + 1}")
            else:
                given[name] = child
        return given

    def _table(self, node: yaml.Node, kind: inspect.DictType, path: str, base: Mapping[Any, Any], like: Any) -> Any:
        entries: dict[Any, Any] = {}
        for key, child in self._pairs(node, path):
            where = _under(path, word(key))
            name = self.value(key, kind.key_type, where, None)
            if name in entries and name is not UNSET:
                self._refuse(key, where, "stands here twice")
            entries[name] = self.value(child, kind.value_type, where, base.get(name, like))
        return UNSET if UNSET in (*entries, *entries.values()) else {**base, **entries}

    def _list(self, node: yaml.Node, kind: inspect.VarTupleType, path: str) -> Any:
        if tag(node) != "seq":
            self._refuse(node, path, f"must be a list, such as [a, b], or [] for none, not {shown(node)}")
            return UNSET
        found = tuple(self.value(item, kind.item_type, f"{path}[{at}]", None) for at, item in enumerate(node.value))
        return UNSET if UNSET in found else found

    def _pairs(self, node: yaml.Node, path: str) -> list[tuple[yaml.Node, yaml.Node]]:
        """The keys and values of a section; one with nothing in it means the defaults."""
        if tag(node) == "map":
            return list(node.value)
        if tag(node) != "null":
            self._refuse(node, path, f"must be a section of 'key: value' lines, not {shown(node)}")
        return []

    def _refuse(self, node: yaml.Node, path: str, message: str) -> None:
        self.problems.append(ConfigProblem(path, node.start_mark.line + 1, node.start_mark.column + 1, message))
        if len(self.problems) >= _MAX_PROBLEMS:
            raise _EnoughError


def _under(path: str, key: str) -> str:
    return f"{path}.{key}" if path and key else path or key


def _like(one: inspect.Field, values: Mapping[str, Any], base: Section | None) -> Any:
    """What the new entries of a table start from: its neighbour, as given or by default."""
    neighbour = (one.type.extra or {}).get("like") if isinstance(one.type, inspect.Metadata) else None
    if not neighbour:
        return None
    given = values.get(neighbour, UNSET)
    return getattr(base, neighbour) if given is UNSET else given
