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
    if sys.platform == "win32":
        from resilience.processes.windows import SEND_BREAK, send_break  # noqa: PLC0415

        if sys.argv[1:2] == [SEND_BREAK]:  # the installed program is its own helper
            send_break(int(sys.argv[2]))
    cli(prog_name="winclaw")


if __name__ == "__main__":
    main()
