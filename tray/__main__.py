"""``python -m tray`` and the ``winclaw`` command."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Runs the command line; without the extra ``app`` says so in one line."""
    try:
        from tray.cli import cli  # noqa: PLC0415 -- what may be missing is found out here
    except ModuleNotFoundError as missing:
        sys.exit(f"winclaw: {missing.name} is not installed; the program needs: pip install 'winclaw[app]'")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a windowed program has none
            stream.reconfigure(errors="replace")  # a console of Windows cannot show every name
    cli(prog_name="winclaw")


if __name__ == "__main__":
    main()
