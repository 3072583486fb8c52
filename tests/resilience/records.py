"""Records as the core hands them to the journal, for tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from resilience.clock import as_text
from resilience.journal.schema import ErrorRecord, EventRecord

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def an_error(**changes: Any) -> ErrorRecord:
    """An error's record; every field can be given."""
    fields: dict[str, Any] = {
        "at": as_text(NOW), "received_at": as_text(NOW), "kind": "transient.network.rate_limit", "type": "RateLimitError",
        "severity": 3, "impact": "SINGLE_REQUEST", "component": "gpt-5.2", "operation": "ask", "agent": "researcher",
        "fingerprint": "f1", "message": "Too many requests", "is_transient": True, "recovery_strategy": "RETRY_WITH_BACKOFF",
        "reason": "HTTP status 429", "key": None, "detail": b"{}",
    }  # fmt: skip
    return ErrorRecord(**{**fields, **changes})


def an_event(type: str = "level.changed", component: str = "level", body: bytes = b"{}") -> EventRecord:  # noqa: A002
    """Any other record."""
    return EventRecord(as_text(NOW), type, component, body)
