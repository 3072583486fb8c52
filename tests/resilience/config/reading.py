"""The document's example of a configuration file, and what is wrong with a text, for tests."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from resilience.config.file import ConfigError, parse

DOCUMENT = (Path(__file__).parent / "document_config.yaml").read_text(encoding="utf-8")


def problems(text: str | bytes) -> list[tuple[str, int | None, str]]:
    """Path, line and message of everything wrong with ``text``."""
    with pytest.raises(ConfigError) as caught:
        parse(dedent(text) if isinstance(text, str) else text)
    return [(one.path, one.line, one.message) for one in caught.value.problems]


def only_problem(text: str | bytes) -> tuple[str, int | None, str]:
    (one,) = problems(text)
    return one
