"""Whether this machine has a desktop on which a tray icon can be shown."""

from __future__ import annotations

import os
import sys


def why_not() -> str | None:
    """Why no tray icon can be shown here, in a few words; None if one can."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "no desktop: DISPLAY is not set"
    try:
        import pystray  # noqa: PLC0415 -- it looks for a desktop when imported
    except Exception as error:
        return f"no desktop: {error}"
    return None if pystray.Icon.HAS_MENU else "this desktop shows icons without a menu"
