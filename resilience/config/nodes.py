"""From the bytes of a configuration file to YAML nodes, which know their line and column.

Nothing is built from the nodes here, no tag is obeyed, and a file made to exhaust the reader is refused early.
"""

from __future__ import annotations

import codecs
from typing import Final

import yaml

from resilience.config.problems import ConfigError

MAX_BYTES: Final = 1024 * 1024
_MAX_VALUES: Final = 20_000
MAX_DEPTH: Final = 30

_HINTS: Final = {
    "'\\t'": "indent with spaces; this line has a tab",
    "mapping values are not allowed": "see the ':' of the key before, and the indentation; text with ': ' needs quotes",
    "cannot start any token": "put a text that begins with it in quotes",
    "could not find expected ':'": "each key needs a ':' and a space after it",
    "escape character": "in double quotes a backslash is special; use single quotes, e.g. 'C:\\folder'",
    "expected <block end>": "look at the indentation: keys of one section begin in the same column",
    "alias": "put a text that begins with '*' in quotes",
    "expected a single document": "keep everything in one document; remove the line '---'",
}


def compose(content: str | bytes, file: str) -> yaml.Node | None:
    """The root of the tree in ``content``; None if there is nothing in it.

    Raises:
        ConfigError: it is too large, not UTF-8, not YAML, nested too deeply, or has too many values.
    """
    text = _decoded(content, file)
    try:
        loader = _BoundedLoader(text)
    except yaml.reader.ReaderError as wrong:
        said = f"the character U+{ord(text[wrong.position]):04X} has no place in a text file; remove it"
        raise _behind(text[: wrong.position], said, file) from None
    try:
        return loader.get_single_node()
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark or loader.get_mark()
        said = ": ".join(filter(None, (wrong.context, wrong.problem)))
        hint = next((f"; {hint}" for part, hint in _HINTS.items() if part in said), "")
        raise _at(mark, f"cannot be read: {said}{hint}", file) from None
    except (ValueError, OverflowError):  # PyYAML converts escapes and version numbers without a look at their size
        raise _at(loader.get_mark(), "cannot be read: there is no such character or version", file) from None


def _decoded(content: str | bytes, file: str) -> str:
    if len(content) > MAX_BYTES:
        raise ConfigError.of_file(file, "it is larger than 1 MiB, the most that is read")
    if isinstance(content, str):
        return content.removeprefix("\ufeff")
    body = content.removeprefix(codecs.BOM_UTF8)
    try:
        return body.decode()
    except UnicodeDecodeError as wrong:
        utf16 = body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        found = "the mark of UTF-16" if utf16 else f"0x{body[wrong.start]:02x}"
        position = wrong.start + len(content) - len(body)
        said = f"byte {position} ({found}) is not UTF-8; save the file with the encoding UTF-8"
        raise _behind(body[: wrong.start].decode(), said, file) from None


def _behind(before: str, message: str, file: str) -> ConfigError:
    return ConfigError.of_file(file, message, before.count("\n") + 1, len(before) - before.rfind("\n"))


def _at(mark: yaml.Mark, message: str, file: str) -> ConfigError:
    return ConfigError.of_file(file, message, mark.line + 1, mark.column + 1)


class _BoundedLoader(yaml.SafeLoader):
    """Composes nodes, but not more or deeper than any configuration needs."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._values = self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._values += 1
        self._depth += 1
        if self._values > _MAX_VALUES:
            raise yaml.MarkedYAMLError(problem=f"more than {_MAX_VALUES} values", problem_mark=self.get_mark())
        if self._depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {MAX_DEPTH} levels", problem_mark=self.get_mark())
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node
