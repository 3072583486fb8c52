from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from resilience.classification.classifier import ErrorClassifier
from resilience.classification.evidence import MAX_CAUSES
from resilience.context import ErrorSeverity, fingerprint
from resilience.core.intake import MAX_METADATA_BYTES, UnfitReportError, check, record_of
from resilience.events import Cause, Report
from resilience.journal.schema import ErrorRecord
from resilience.redaction import MAX_DEPTH, REDACTED, Redactor

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAYS = timedelta(days=90)


def report(**changes: object) -> Report:
    return Report(**{"type": "TimeoutError", "message": "late", "component": "x", "operation": "y", **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "at",
    [NOW, NOW - timedelta(days=89), NOW + timedelta(minutes=59), None, NOW - DAYS, NOW + timedelta(hours=1)],
)
def test_a_plausible_time_is_taken(at: datetime | None) -> None:
    check(report(at=at), NOW, DAYS)


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (NOW - timedelta(days=91), "2025-10-02T12:00:00+00:00 is longer ago than errors are kept (90 days)."),
        (NOW + timedelta(minutes=61), "2026-01-01T13:01:00+00:00 is in the future; the time here is 2026-01-01T12:00:00+00:00."),
    ],
)
def test_another_is_not(at: datetime, said: str) -> None:
    with pytest.raises(UnfitReportError) as refusal:
        check(report(at=at), NOW, DAYS)
    assert refusal.value.field == "at"
    assert str(refusal.value) == said


def test_the_field_of_a_causes_metadata_is_named() -> None:
    with pytest.raises(UnfitReportError) as refusal:
        check(report(cause=Cause(type="X", cause=Cause(type="Y", metadata={"a": "x" * 100_000}))), NOW, DAYS)
    assert refusal.value.field == "cause.cause.metadata"


def nested(levels: int) -> dict[str, Any]:
    """Metadata of so many levels, by turns of tables and lists."""
    value: Any = "bottom"
    for level in range(levels - 1):
        value = [value] if level % 2 else {"in": value}
    return {"in": value}


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"a": "x" * (MAX_METADATA_BYTES - len('{"a":""}'))},
        {"a": 1, "b": [[], {}, None], "c": "\\u000"},
        nested(MAX_DEPTH - 1),  # and what stands in the innermost is a level, too
        {"wide": [nested(3) for _ in range(100)]},
        {"code": r"re.sub('\u0000', '', text)", r"\u0000": [r"\\u0000"]},
    ],
    ids=["none", "large", "mixed", "deep", "wide", "NUL as source code writes it"],
)
def test_metadata_within_its_bounds_is_taken(metadata: dict[str, Any]) -> None:
    check(report(metadata=metadata), NOW, DAYS)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"a": "x" * (MAX_METADATA_BYTES - len('{"a":""}') + 1)}, "Metadata has at most 64000 bytes."),
        (nested(MAX_DEPTH), "Metadata nests at most 20 levels."),
        ({"flat": 1, "deep": [1, nested(MAX_DEPTH)]}, "Metadata nests at most 20 levels."),
        ({"a": "x\0y"}, "Metadata holds a NUL character."),
        ({"a\0": 1}, "Metadata holds a NUL character."),
        ({"a": [1, "x", {"b": None, "c": ["\0"]}]}, "Metadata holds a NUL character."),
        ({"a": [{"b\0": {}}]}, "Metadata holds a NUL character."),
    ],
    ids=["large", "deep", "deep beside flat", "NUL", "NUL in a name", "NUL deep inside", "NUL in a name deep inside"],
)
def test_metadata_beyond_them_is_refused_and_told_why(metadata: dict[str, Any], said: str) -> None:
    with pytest.raises(UnfitReportError) as refusal:
        check(report(metadata=metadata), NOW, DAYS)
    assert (refusal.value.field, str(refusal.value)) == ("metadata", said)


def chain(links: int, **last: Any) -> Cause | None:
    """A cause with a cause with a cause …, so many in all."""
    cause: Cause | None = None
    for number in range(links):
        cause = Cause(type="X", cause=cause, **(last if number == 0 else {}))
    return cause


def test_a_chain_has_at_most_twenty_links_and_the_report_is_the_first() -> None:
    check(report(cause=chain(MAX_CAUSES - 1)), NOW, DAYS)
    with pytest.raises(UnfitReportError, match="at most 20 links") as refusal:
        check(report(cause=chain(MAX_CAUSES)), NOW, DAYS)
    assert refusal.value.field == ".".join(["cause"] * MAX_CAUSES)


def test_the_last_link_is_looked_at_too() -> None:
    with pytest.raises(UnfitReportError) as refusal:
        check(report(cause=chain(MAX_CAUSES - 1, metadata={"a": "\0"})), NOW, DAYS)
    assert refusal.value.field == "cause." * (MAX_CAUSES - 1) + "metadata"


def test_a_record_has_everything_that_was_reported_and_what_was_made_of_it() -> None:
    at = NOW - timedelta(minutes=1)
    given = report(type="ConnectionResetError", message="gone", at=at, agent="a", key="k", component="gmail_api", operation="send")
    verdict = ErrorClassifier().classify_report(msgspec.to_builtins(given))
    kind, name = verdict.error_class.kind, verdict.error_class.__name__
    assert record_of(given, ErrorClassifier(), Redactor(), NOW) == ErrorRecord(
        at="2026-01-01T11:59:00.000000Z", received_at="2026-01-01T12:00:00.000000Z", kind=kind, type=name,
        severity=verdict.severity.value, impact=verdict.impact.name, component="gmail_api", operation="send", agent="a",
        fingerprint=fingerprint(kind, "gmail_api", "send", name, "gone"), message="gone", is_transient=True,
        recovery_strategy=str(verdict.recovery_strategy), reason=verdict.reason, key="k", detail=b"{}",
    )  # fmt: skip
    assert (kind, name) != ("", "")


def test_the_classifiers_severity_counts_unless_the_agent_says_one() -> None:
    severities = [record_of(report(severity=name), ErrorClassifier(), Redactor(), NOW).severity for name in ("DEBUG", "FATAL", None)]
    default = ErrorClassifier().classify_report(msgspec.to_builtins(report())).severity
    assert severities == [ErrorSeverity.DEBUG.value, ErrorSeverity.FATAL.value, default.value]


def test_no_agent_is_an_empty_name() -> None:
    record = record_of(report(), ErrorClassifier(), Redactor(), NOW)
    assert (record.agent, record.key) == ("", None)


def test_secrets_are_taken_out_of_every_text_before_it_is_stored() -> None:
    secret = "password=hunter2"
    record = record_of(
        report(
            type="LLMTimeoutError", message=secret, component=secret, operation=secret, agent=secret, reason=secret,
            stack=f"at line 1: {secret}", metadata={"a": secret, "token": "abc"},
            cause=Cause(type=secret, message=secret, stack=secret, metadata={"a": secret}, cause=Cause(type="ValueError", message=secret)),
        ),
        ErrorClassifier(), Redactor(), NOW,
    )  # fmt: skip
    out = f"password={REDACTED}"
    assert (record.message, record.component, record.operation, record.agent, record.reason) == (out, out, out, out, out)
    assert msgspec.json.decode(record.detail) == {
        "stack": f"at line 1: {out}", "metadata": {"a": out, "token": REDACTED},
        "cause": {
            "type": out, "message": out, "stack": out, "metadata": {"a": out},
            "cause": {"type": "ValueError", "message": out},
        },
    }  # fmt: skip
    same = record_of(report(type="LLMTimeoutError", message=out, component=out, operation=out), ErrorClassifier(), Redactor(), NOW)
    assert record.fingerprint == same.fingerprint, "the fingerprint is that of what is stored"


def test_what_the_agent_knows_better_is_kept() -> None:
    record = record_of(
        report(type="LLMTimeoutError", severity="FATAL", reason="I saw it", agent="a"), ErrorClassifier(), Redactor(), NOW
    )
    assert (record.type, record.severity, record.reason, record.agent) == ("LLMTimeoutError", 6, "I saw it", "a")


def test_without_a_time_it_happened_when_it_came() -> None:
    record = record_of(report(), ErrorClassifier(), Redactor(), NOW)
    assert record.at == record.received_at == "2026-01-01T12:00:00.000000Z"


def test_numbers_and_names_that_vary_do_not_make_another_trouble() -> None:
    one, other = (
        record_of(report(message=message), ErrorClassifier(), Redactor(), NOW).fingerprint
        for message in ("no answer from 127.0.0.1:8080 after 60 s", "no answer from 127.0.0.1:9090 after 61 s")
    )
    assert one == other
