"""What ``from resilience import …`` offers."""

from __future__ import annotations

import subprocess
import sys

import resilience


def test_every_public_name_is_there() -> None:
    for name in resilience.__all__:
        assert getattr(resilience, name) is not None


def test_no_public_name_is_hidden_by_a_module() -> None:
    """Importing ``package.name`` sets ``package.name`` to the module, whatever stood there."""
    script = (
        "import pkgutil, importlib, types, resilience\n"
        "for one in pkgutil.iter_modules(resilience.__path__, 'resilience.'): importlib.import_module(one.name)\n"
        "hidden = [n for n in resilience.__all__ if isinstance(getattr(resilience, n), types.ModuleType)]\n"
        "assert not hidden, hidden\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
