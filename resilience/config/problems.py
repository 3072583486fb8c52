"""What is wrong with a configuration file: where, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from resilience.errors import InvalidConfigError


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One thing that is wrong.

    Attributes:
        path: the setting, e.g. ``error_handling.dashboard.port``; empty where the file as a whole is meant.
        line: from 1; None where no place in the file can be named. column: from 1, in characters.
        message: what is wrong and what is allowed.
    """

    path: str
    line: int | None
    column: int | None
    message: str

    def __str__(self) -> str:
        place = "" if self.line is None else f"line {self.line}, column {self.column}: "
        return f"{place}{self.path and f'{self.path}: '}{self.message}"


class ConfigError(InvalidConfigError):
    """A configuration file that cannot be used; it names everything that is wrong.

    Attributes:
        problems: in the order of the file. file: what was read.
    """

    def __init__(self, problems: Iterable[ConfigProblem], file: str) -> None:
        self.problems, self.file = tuple(problems), file
        super().__init__("\n  ".join([f"{file} cannot be used:", *map(str, self.problems)]))

    @classmethod
    def of_file(cls, file: str, message: str, line: int | None = None, column: int | None = None) -> ConfigError:
        """One for ``file`` as a whole, which is no configuration at all."""
        return cls([ConfigProblem("", line, column, message)], file)

    def __reduce__(self) -> tuple[type[ConfigError], tuple[tuple[ConfigProblem, ...], str]]:
        return type(self), (self.problems, self.file)
