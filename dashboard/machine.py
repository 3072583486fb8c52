"""This machine's numbers and this program's own."""

from __future__ import annotations

from pathlib import Path

import psutil


def machine_numbers(journal: Path) -> dict[str, float]:
    """CPU and memory in use (percent), free disk (GB), size of the journal (MB); costs well under a millisecond."""
    files = (journal, journal.with_name(f"{journal.name}-wal"))
    return {
        "cpu_percent": psutil.cpu_percent(None),
        "memory_percent": psutil.virtual_memory().percent,
        "disk_free_gb": psutil.disk_usage(str(journal.parent)).free / 1e9,
        "journal_mb": sum(file.stat().st_size for file in files if file.exists()) / 1e6,
    }


def own_numbers() -> dict[str, float]:
    """This program's processor time (s), memory in use (bytes), and when it started (seconds since 1970)."""
    me = psutil.Process()
    with me.oneshot():
        times = me.cpu_times()
        return {"cpu_s": times.user + times.system, "memory_bytes": me.memory_info().rss, "started_s": me.create_time()}
