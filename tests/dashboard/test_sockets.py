"""What the dashboard loads: each module costs time at the start, and memory as long as WinClaw runs."""

from __future__ import annotations

import subprocess
import sys

from tests.program import REPOSITORY

SAY = """
import sys
import dashboard.app
print([name for name in ("aiohttp", "requests", "tornado", "websocket", "socketio", "engineio") if name in sys.modules])
import requests
"""


def test_what_only_clients_need_is_not_loaded_and_can_be_later() -> None:
    said = subprocess.run([sys.executable, "-c", SAY], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.strip() == "['socketio', 'engineio']"
