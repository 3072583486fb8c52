"""The classifier: from evidence to a class of the taxonomy, and why (§2.3). It never raises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from resilience import errors as e
from resilience import known_errors as known
from resilience.clock import Clock, SystemClock
from resilience.context import ErrorContext, ErrorImpact, ErrorSeverity, RecoveryStrategy, name_of
from resilience.evidence import Evidence, of_exception, of_report, signal_name

if TYPE_CHECKING:
    from resilience.settings import ClassificationRule

_MAX_CAUSES: Final = 20
_CONTEXT_FIELDS: Final = frozenset({"component", "operation", "user_id", "session_id", "retry_count"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an error is, how bad, what to do, and why we think so."""

    error_class: type[e.WinClawError]
    severity: ErrorSeverity
    impact: ErrorImpact
    is_transient: bool
    recovery_strategy: RecoveryStrategy
    reason: str
    retry_after_s: float | None = None


Rule = Callable[[Evidence], "type[e.WinClawError] | Verdict | None"]
"""A user's rule: the class (or the whole verdict) for an error that it knows, None for any other."""


class ErrorClassifier:
    """Tells what an error is by its structure: types, statuses, errno, provider's codes and causes, never by words.

    Args:
        default_severity: of an error about which nothing is known.
        http_severity: severities by HTTP status, instead of the class's own.
        critical_components: whose errors are CRITICAL, unless a status says how bad they are.
        llm_services: components that are language models.
        rules: from the configuration; those added by ``add_rule`` are asked before them, all before the built-in ones.
    """

    def __init__(
        self,
        *,
        default_severity: ErrorSeverity = ErrorSeverity.ERROR,
        http_severity: Mapping[int, ErrorSeverity] | None = None,
        critical_components: frozenset[str] = frozenset(),
        llm_services: frozenset[str] = frozenset({"gpt-5.2", "ollama"}),
        rules: Iterable[ClassificationRule] = (),
        clock: Clock | None = None,
    ) -> None:
        self._default_severity, self._http_severity = default_severity, dict(http_severity or {})
        self._critical_components, self._llm_services = critical_components, llm_services
        self._configured = tuple(rules)
        self._rules: list[Rule] = []
        self._clock = clock or SystemClock()

    def add_rule(self, rule: Rule) -> Rule:
        """Has ``rule`` asked before all that were there; usable as a decorator. One that raises is passed over."""
        self._rules.insert(0, rule)
        return rule

    def classify(self, error: BaseException, context: Mapping[str, Any] | None = None) -> ErrorContext:
        """Everything that can be said of ``error``; a fault in here becomes a context that says so.

        Args:
            context: ``component``, ``operation``, ``user_id``, ``session_id``, ``retry_count``; all else is metadata.
        """
        given = dict(context or {})
        component = str(given.get("component", "unknown"))
        try:
            verdict = self._judge(of_exception(error, component, self._clock.now()), error)
        except Exception as fault:
            why = f"the classifier failed ({name_of(fault)}), so this is a guess"
            verdict = _verdict_of(e.WinClawError, why, severity=self._default_severity)
        return ErrorContext.create(
            error, component, str(given.get("operation", "unknown")), verdict.severity, verdict.impact,
            clock=self._clock, kind=verdict.error_class.kind, error_type=verdict.error_class.__name__,
            is_transient=verdict.is_transient, recovery_strategy=verdict.recovery_strategy, reason=verdict.reason,
            retry_after_s=verdict.retry_after_s, user_id=given.get("user_id"), session_id=given.get("session_id"),
            retry_count=given.get("retry_count", 0),
            metadata={name: value for name, value in given.items() if name not in _CONTEXT_FIELDS},
        )  # fmt: skip

    def classify_report(self, report: Mapping[str, Any]) -> Verdict:
        """What an error is that another process reports; the shape is ``events.Report``."""
        try:
            verdict = self._judge(of_report(report))
        except Exception as fault:
            why = f"the classifier failed ({name_of(fault)}), so this is a guess"
            return _verdict_of(e.WinClawError, why, severity=self._default_severity)
        said = report.get("reason")
        return replace(verdict, reason=said) if said and report.get("type") == verdict.error_class.__name__ else verdict

    def _judge(self, evidence: Evidence, error: BaseException | None = None) -> Verdict:
        verdict, skipped = self._by_users_rules(evidence)
        if verdict is None:
            verdict = self._group(evidence) if evidence.members else self._by_built_in_rules(evidence, error)
        if skipped:
            verdict = replace(verdict, reason=f"{verdict.reason}; a rule was passed over: {skipped}")
        return verdict

    def _by_users_rules(self, evidence: Evidence) -> tuple[Verdict | None, str]:
        skipped = ""
        for rule in self._rules:
            try:
                said = rule(evidence)
            except Exception as fault:
                skipped = f"{getattr(rule, '__name__', 'a rule')} raised {name_of(fault)}"
                continue
            if isinstance(said, Verdict):
                return said, skipped
            if said is not None:
                why = f"your rule {getattr(rule, '__name__', '')} says so"
                return self._verdict(said, why, evidence), skipped
        for entry in self._configured:
            if _fits(entry, evidence):
                built_in = self._group(evidence) if evidence.members else self._by_built_in_rules(evidence, None)
                chosen = e.TAXONOMY[entry.type] if entry.type else built_in.error_class
                verdict = self._verdict(chosen, f"the configured rule {entry.name!r} says so", evidence)
                return replace(verdict, severity=ErrorSeverity[entry.severity]) if entry.severity else verdict, skipped
        return None, skipped

    def _group(self, evidence: Evidence) -> Verdict:
        verdicts = [self._judge(member) for member in evidence.members]
        worst = max(verdicts, key=lambda one: (one.severity.value, not one.is_transient))
        return replace(worst, reason=f"the worst of {len(verdicts)} errors in a group: {worst.reason}")

    def _by_built_in_rules(self, evidence: Evidence, error: BaseException | None) -> Verdict:
        chosen, why = _most_precise(evidence)
        if chosen is None:
            return self._verdict(e.WinClawError, "nothing is known of this type of error", evidence, is_known=False)
        if (evidence.component in self._llm_services or _from_llm_package(evidence)) and chosen in known.AS_LLM:
            chosen = known.AS_LLM[chosen]
            why += ", and the service is a language model"
        verdict = self._verdict(chosen, why, evidence)
        code = _code_of(evidence)
        if chosen is e.TLSHandshakeError and ("SSLCertVerificationError" in _all_names(evidence) or code in known.BAD_CERTIFICATES):
            verdict = replace(
                verdict, is_transient=False, recovery_strategy=RecoveryStrategy.ESCALATE_TO_HUMAN,
                severity=ErrorSeverity.ERROR, reason=f"{why}; a certificate that is refused stays so until it is mended",
            )  # fmt: skip
        if isinstance(error, e.WinClawError):  # a class derived from the taxonomy may know better
            verdict = replace(
                verdict, impact=error.impact, is_transient=error.is_transient, recovery_strategy=error.recovery_strategy
            )
            if not self._overrides(evidence):
                verdict = replace(verdict, severity=error.severity)
        return verdict

    def _overrides(self, evidence: Evidence) -> bool:
        return evidence.status in self._http_severity or evidence.component in self._critical_components

    def _verdict(self, chosen: type[e.WinClawError], why: str, evidence: Evidence, *, is_known: bool = True) -> Verdict:
        severity = chosen.severity if is_known else self._default_severity
        if evidence.status in self._http_severity:
            severity = self._http_severity[evidence.status]
        elif evidence.component in self._critical_components:
            severity = max(severity, ErrorSeverity.CRITICAL, key=lambda one: one.value)
        return _verdict_of(chosen, why, severity=severity, retry_after_s=_retry_after_s(evidence))


def _verdict_of(
    chosen: type[e.WinClawError], why: str, *, severity: ErrorSeverity, retry_after_s: float | None = None
) -> Verdict:
    return Verdict(
        chosen, severity, chosen.impact, chosen.is_transient, chosen.recovery_strategy, why, retry_after_s
    )  # fmt: skip


def _most_precise(evidence: Evidence) -> tuple[type[e.WinClawError] | None, str]:
    """The class that the error shows itself, or that a cause of it shows more precisely."""
    chosen, why = _by_itself(evidence)
    link, how = evidence.cause, "it was caused by"
    for _ in range(_MAX_CAUSES):
        if link is None:
            break
        below, below_why = _by_itself(link)
        is_finer = below is not None and (chosen is None or (below is not chosen and issubclass(below, chosen)))
        if is_finer and (chosen is None or chosen is not e.PersistentError):
            how = how if link.is_explicit else "it came up while handling"
            chosen, why = below, f"{how} {_short(link)}: {below_why}"
        link = link.cause
    return chosen, why


def _by_itself(evidence: Evidence) -> tuple[type[e.WinClawError] | None, str]:
    for name in evidence.names:
        if name.startswith("resilience.errors.") and (own := e.TAXONOMY.get(name.rpartition(".")[2])):
            return own if own is not e.WinClawError else None, f"it was raised as {own.__name__}"
        if name in known.NO_FAILURES:
            return e.WinClawError, "it was cancelled, which is not a failure"
    if evidence.names and (own := e.TAXONOMY.get(evidence.names[0])):  # bare, so it comes from a report
        return own, f"it was reported as {own.__name__}"
    if evidence.code is not None:
        chosen = known.CODES.get(evidence.code) or known.CODES.get("_".join(evidence.code.split("_")[:2]))
        if chosen is not None:
            return chosen, f"its code is {evidence.code}"
    if evidence.status is not None and (chosen := known.class_of_status(evidence.status)) is not None:
        return chosen, f"HTTP status {evidence.status}"
    for name in evidence.names:
        if (chosen := known.NAMES.get(name)) is not None:
            return chosen, _why_by_name(name, chosen, evidence)
    if evidence.errno is not None:
        return known.ERRNOS.get(evidence.errno, e.SystemCallError), f"the system says {evidence.errno}"
    if evidence.exit is not None:
        return e.ProcessError, f"a process ended with {signal_name(evidence.exit) or f'status {evidence.exit}'}"
    for name in evidence.names:
        if (own := e.TAXONOMY.get(name)) is not None:
            return own, f"its class is called {name}"
    return None, ""


def _why_by_name(name: str, chosen: type[e.WinClawError], evidence: Evidence) -> str:
    first = _short(evidence)
    why = f"{first} is one of {name}" if name not in (first, evidence.names[0]) and not first.endswith(f".{name}") else first
    if evidence.exit is not None:
        why += f" (ended with {signal_name(evidence.exit) or f'status {evidence.exit}'})"
    return f"{why}; the same call would fail the same way" if chosen in known.OWN_MISTAKES else why


def _short(evidence: Evidence) -> str:
    return evidence.names[0].removeprefix("builtins.") if evidence.names else "another error"


def _fits(entry: ClassificationRule, evidence: Evidence) -> bool:
    return (
        (entry.exception is None or entry.exception in _all_names(evidence))
        and (entry.status is None or entry.status == evidence.status)
        and (entry.code is None or entry.code == _code_of(evidence))
        and (entry.errno is None or entry.errno == evidence.errno)
        and (entry.component is None or entry.component == evidence.component)
    )


def _chain(evidence: Evidence) -> Iterable[Evidence]:
    link: Evidence | None = evidence
    for _ in range(_MAX_CAUSES):
        if link is None:
            return
        yield link
        link = link.cause


def _all_names(evidence: Evidence) -> set[str]:
    return {name for link in _chain(evidence) for name in link.names}


def _code_of(evidence: Evidence) -> str | None:
    return next((link.code for link in _chain(evidence) if link.code is not None), None)


def _retry_after_s(evidence: Evidence) -> float | None:
    return next((link.retry_after_s for link in _chain(evidence) if link.retry_after_s is not None), None)


def _from_llm_package(evidence: Evidence) -> bool:
    return any(name.startswith(known.LLM_PACKAGES) for link in _chain(evidence) for name in link.names)
