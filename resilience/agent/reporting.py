"""From an exception to the report that goes to WinClaw, as ``events.Report`` has it. Standard library only."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from resilience.agent.fitting import plain
from resilience.agent.texts import as_name, cut
from resilience.classification.evidence import facts
from resilience.clock import as_text
from resilience.context import ErrorContext, message_of

_MAX_CAUSES = 10


def as_report(error: BaseException, context: ErrorContext, agent: str, now: datetime) -> dict[str, Any]:
    """What is reported of ``error``, which ``context`` has judged; secrets are still in it.

    Args:
        agent: the reporting agent's name.
    """
    report = {
        "type": context.error_type,
        "message": cut(context.message, 10_000),
        "component": as_name(context.component),
        "operation": as_name(context.operation),
        "agent": cut(agent, 200),
        "severity": context.severity.name,
        "at": as_text(context.timestamp),
        "key": uuid.uuid4().hex,
        "stack": cut(context.stack_trace, 110_000),
        "reason": cut(context.reason, 10_000),
        "metadata": plain(
            {**context.metadata, **_retries(context), **facts(error, now), "exception": _type_name(error)}
        ),
    }
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        report["cause"] = _as_cause(cause, 0)
    return report


def _retries(context: ErrorContext) -> dict[str, Any]:
    return {"retry_count": context.retry_count} if context.retry_count else {}


def _as_cause(error: BaseException, depth: int) -> dict[str, Any]:
    said: dict[str, Any] = {"type": _type_name(error), "message": cut(message_of(error), 10_000), "metadata": plain(facts(error))}
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and depth < _MAX_CAUSES:
        said["cause"] = _as_cause(cause, depth + 1)
    return said


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else cut(f"{kind.__module__}.{kind.__qualname__}", 200)
