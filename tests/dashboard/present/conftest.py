"""The moment at which the tests here look."""

from __future__ import annotations

from datetime import UTC, datetime

NOW = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
