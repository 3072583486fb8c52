"""``python -m tray`` and the ``winclaw`` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line; without the extra ``app`` says so in one line."""
    try:
        from tray.cli import cli  # noqa: PLC0415 -- what may be missing is found out here
    except ModuleNotFoundError as missing:
        sys.exit(f"winclaw: {missing.name} is not installed; the program needs: pip install 'winclaw[app]'")
    cli(prog_name="winclaw")


if __name__ == "__main__":
    main()
