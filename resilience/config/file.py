"""The configuration file (§10.2): YAML text in, checked settings out; and the file that a first run makes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from resilience.config.checking import settings_from
from resilience.config.nodes import MAX_BYTES, compose
from resilience.config.problems import ConfigError, ConfigProblem
from resilience.config.settings import Settings
from resilience.home import CONFIG, put_new, write_private

__all__ = ["ConfigError", "ConfigProblem", "load", "parse", "read", "write_default"]


def parse(text: str | bytes, file: str = CONFIG) -> Settings:
    """The settings that ``text`` gives over the defaults; nothing in it means all defaults.

    Args:
        file: what errors call it.

    Raises:
        ConfigError: it cannot be used; the error names everything that is wrong.
    """
    root = compose(text, file)
    return Settings() if root is None else settings_from(root, file)


def load(path: Path) -> Settings:
    """The settings in the file ``path``.

    Raises:
        ConfigError: as ``parse`` and ``read``.
    """
    return parse(read(path), str(path))


def read(path: Path) -> bytes:
    """What stands in the file ``path``, as far as ``parse`` would take it.

    Raises:
        ConfigError: the file is missing or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError as missing:
        said = "there is no such file; the first `winclaw run` makes it (an empty one means all defaults)"
        raise ConfigError.of_file(str(path), said) from missing
    except OSError as wrong:
        said = f"it cannot be read ({wrong.strerror or wrong}); see that it is a file and that you may read it"
        raise ConfigError.of_file(str(path), said) from wrong


def write_default(path: Path) -> None:
    """Makes the file ``path``, if there is none, as ``default.yaml`` is: in one step, readable by this user alone.

    Raises:
        OSError: it cannot be made.
    """
    if path.exists():
        return
    ready = path.with_name(f"{path.name}.{os.getpid()}.new")
    write_private(ready, Path(__file__).with_name("default.yaml").read_text(encoding="utf-8"))
    try:
        with contextlib.suppress(FileExistsError):
            put_new(ready, path)
    finally:
        ready.unlink(missing_ok=True)
