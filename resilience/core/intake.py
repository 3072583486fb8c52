"""From a report to a record: checked, redacted, classified, fingerprinted, ready for the journal. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Final

import msgspec

from resilience.classification.classifier import ErrorClassifier
from resilience.classification.evidence import MAX_CAUSES
from resilience.clock import as_text
from resilience.context import ErrorSeverity, fingerprint
from resilience.events import Cause, Report
from resilience.journal.schema import ErrorRecord
from resilience.redaction import MAX_DEPTH, Redactor

_CLOCK_TOLERANCE: Final = timedelta(hours=1)
MAX_METADATA_BYTES: Final = 64_000


class UnfitReportError(ValueError):
    """A report of the right shape that cannot be taken all the same; ``field`` is the culprit."""

    def __init__(self, field: str, what: str) -> None:
        super().__init__(what)
        self.field = field


def check(report: Report, now: datetime, max_age: timedelta) -> None:
    """What a shape cannot say of a report: its time is plausible, its metadata and causes have bounds.

    Args:
        max_age: how long errors are kept; an older one would be deleted at once.

    Raises:
        UnfitReportError: with the field.
    """
    if report.at is not None and report.at > now + _CLOCK_TOLERANCE:
        raise UnfitReportError("at", f"{report.at.isoformat()} is in the future; the time here is {now.isoformat()}.")
    if report.at is not None and report.at < now - max_age:
        what = f"{report.at.isoformat()} is longer ago than errors are kept ({max_age.days} days)."
        raise UnfitReportError("at", what)
    link: Report | Cause | None = report
    place = ""
    for _ in range(MAX_CAUSES):
        if link is None:
            return
        if link.metadata:
            _check_metadata(link.metadata, f"{place}metadata")
        link, place = link.cause, f"{place}cause."
    if link is not None:
        raise UnfitReportError(place[:-1], f"A chain of causes has at most {MAX_CAUSES} links.")


def _check_metadata(metadata: dict[str, Any], field: str) -> None:
    level: list[Any] = [metadata]
    for _ in range(MAX_DEPTH):
        if any(isinstance(one, str) and "\0" in one for one in level):
            raise UnfitReportError(field, "Metadata holds a NUL character.")
        level = [inner for one in level for inner in _inside(one)]
    if level:
        raise UnfitReportError(field, f"Metadata nests at most {MAX_DEPTH} levels.")
    if len(msgspec.json.encode(metadata)) > MAX_METADATA_BYTES:
        raise UnfitReportError(field, f"Metadata has at most {MAX_METADATA_BYTES} bytes.")


def _inside(value: Any) -> Iterable[Any]:
    """What stands in ``value``, one level down: of an object its names, too."""
    return chain(value, value.values()) if isinstance(value, dict) else value if isinstance(value, list) else ()


def record_of(report: Report, classifier: ErrorClassifier, redactor: Redactor, now: datetime) -> ErrorRecord:
    """What is stored of ``report``, which arrived at ``now``."""
    verdict = classifier.classify_report(msgspec.to_builtins(report))
    message = redactor.text(report.message)
    error_type = verdict.error_class.__name__
    component, operation = redactor.text(report.component), redactor.text(report.operation)
    return ErrorRecord(
        at=as_text(report.at or now),
        received_at=as_text(now),
        kind=verdict.error_class.kind,
        type=error_type,
        severity=(ErrorSeverity[report.severity] if report.severity else verdict.severity).value,
        impact=verdict.impact.name,
        component=component,
        operation=operation,
        agent=redactor.text(report.agent or ""),
        fingerprint=fingerprint(verdict.error_class.kind, component, operation, error_type, message),
        message=message,
        is_transient=verdict.is_transient,
        recovery_strategy=str(verdict.recovery_strategy),
        reason=redactor.text(verdict.reason),
        key=report.key,
        detail=msgspec.json.encode(_detail(report, redactor)),
    )


def _detail(report: Report | Cause, redactor: Redactor) -> dict[str, Any]:
    """The stack, the causes and the metadata; a cause repeats the shape, under its own type and message."""
    detail: dict[str, Any] = {}
    if report.stack:
        detail["stack"] = redactor.text(report.stack)
    if report.metadata:
        detail["metadata"] = redactor.value(report.metadata)
    if report.cause is not None:
        cause = report.cause
        detail["cause"] = {
            "type": redactor.text(cause.type),
            "message": redactor.text(cause.message),
            **_detail(cause, redactor),
        }
    return detail
