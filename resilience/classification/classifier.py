"""The classifier: from evidence to a class of the taxonomy, and why (§2.3). It never raises."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from resilience import errors as e
from resilience.classification import known_errors as known
from resilience.classification.evidence import Evidence, attribute, canonical_errno, of_exception, of_report
from resilience.clock import Clock, SystemClock
from resilience.context import ErrorContext, ErrorImpact, ErrorSeverity, RecoveryStrategy

if TYPE_CHECKING:
    from resilience.classification.policy import ClassificationRule

_CONTEXT_FIELDS: Final = frozenset({"component", "operation", "user_id", "session_id", "retry_count", "critical"})
_T = TypeVar("_T")
_MAX_KNOWN: Final = 1000
_SHOWS_MORE: Final = (OSError, ImportError, SyntaxError, UnicodeError, StopIteration, SystemExit, BaseExceptionGroup, NameError)
"""Classes of the language whose instances have attributes of their own."""
_COMPUTES: Final = frozenset({"__getattr__", "__getattribute__", "code"})  # a method called code: gRPC's
_OF_EACH_CLASS: Final = frozenset({"__dict__", "__weakref__"})
_PLAIN: Final = (FunctionType, classmethod, staticmethod)


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
_AnyRule = TypeVar("_AnyRule", bound=Rule)


class ErrorClassifier:
    """Tells what an error is by its structure: types, statuses, errno, provider's codes and causes, never by words.

    Cancelling is no failure: callers let a ``CancelledError`` pass. One that is classified all the same is INFO.

    Args:
        default_severity: of an error about which nothing is known.
        http_severity: severities by HTTP status, instead of the class's own.
        critical_components: whose errors are CRITICAL, unless a status says how bad they are, and FATAL if a part of
            the machine fails under them. ``critical: True`` in the context does the same for one error.
        llm_services: components that are language models.
        rules: from the configuration; those added by ``add_rule`` are asked before them, all before the built-in ones.

    Raises:
        ValueError: a rule names a class that does not exist.
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
        self._configured = [(rule, _class_of(rule)) for rule in rules]
        self._rules: list[Rule] = []
        self._by_class: dict[tuple[type[BaseException], str], Verdict] = {}
        self._clock = clock or SystemClock()

    def add_rule(self, rule: _AnyRule) -> _AnyRule:
        """Has ``rule`` asked after those added before; usable as a decorator. One that raises is passed over."""
        self._rules.append(rule)
        self._by_class.clear()
        return rule

    def classify(self, error: BaseException, context: Mapping[str, Any] | None = None) -> ErrorContext:
        """Everything that can be said of ``error``; a fault in here becomes a context that says so.

        Args:
            context: ``component``, ``operation``, ``user_id``, ``session_id``, ``retry_count``, ``critical``; all else
                is metadata.
        """
        given: dict[str, Any] = {}
        component = "unknown"
        try:
            given = dict(context or {})
            component = _text(given.get("component"))
            verdict = self._verdict(error, component, is_critical=given.get("critical") is True)
        except Exception as fault:  # whatever an error does to us, its user needs an answer
            verdict = self._guess(fault)
        retries = given.get("retry_count")
        return ErrorContext.create(
            error, component, _text(given.get("operation")), verdict.severity, verdict.impact,
            clock=self._clock, kind=verdict.error_class.kind, error_type=verdict.error_class.__name__,
            is_transient=verdict.is_transient, recovery_strategy=verdict.recovery_strategy, reason=verdict.reason,
            retry_after_s=verdict.retry_after_s, user_id=given.get("user_id"), session_id=given.get("session_id"),
            retry_count=retries if isinstance(retries, int) else 0,
            metadata={name: value for name, value in given.items() if name not in _CONTEXT_FIELDS},
        )  # fmt: skip

    def verdict(self, error: BaseException, component: str = "unknown") -> Verdict:
        """The judgement alone, for those who decide what to do next; it never raises either."""
        try:
            if _is_its_class_alone(error):
                known_one = self._by_class.get((type(error), component))
                if known_one is None:
                    if len(self._by_class) > _MAX_KNOWN:
                        self._by_class.clear()
                    known_one = self._by_class[type(error), component] = self._verdict(error, component)
                return known_one
            return self._verdict(error, component)
        except Exception as fault:  # as in classify
            return self._guess(fault)

    def _verdict(self, error: BaseException, component: str, *, is_critical: bool = False) -> Verdict:
        evidence = of_exception(error, component, self._clock.now())
        return self._judge(evidence, is_critical or component in self._critical_components, error)

    def classify_report(self, report: Mapping[str, Any]) -> Verdict:
        """What an error is that another process reports; the shape is ``events.Report``."""
        try:
            evidence = of_report(report)
            verdict = self._judge(evidence, evidence.component in self._critical_components)
            said = report.get("reason")
        except Exception as fault:  # as in classify
            return self._guess(fault)
        if isinstance(said, str) and said and report.get("type") == verdict.error_class.__name__:
            return replace(verdict, reason=said)
        return verdict

    def _guess(self, fault: Exception) -> Verdict:
        why = f"the classifier failed ({type(fault).__name__}), so this is a guess"
        root = e.WinClawError
        return Verdict(root, self._default_severity, root.impact, root.is_transient, root.recovery_strategy, why)

    def _judge(self, evidence: Evidence, is_critical: bool, error: BaseException | None = None) -> Verdict:
        skipped = ""
        for rule in self._rules:
            name = getattr(rule, "__name__", "a rule")
            try:
                said = rule(evidence)
                if isinstance(said, Verdict):
                    return _adding(said, skipped)
                if said is not None:
                    return _adding(self._weigh(said, f"your rule {name} says so", evidence, is_critical), skipped)
            except Exception as fault:  # a user's rule may raise anything
                skipped = f"{name} was passed over, for it raised {type(fault).__name__}"
        return _adding(self._by_configured_rules(evidence, is_critical, error), skipped)

    def _by_configured_rules(self, evidence: Evidence, is_critical: bool, error: BaseException | None) -> Verdict:
        rule, chosen = next((one for one in self._configured if _fits(one[0], evidence)), (None, None))
        if rule is None:
            return self._by_built_in_rules(evidence, is_critical, error)
        if chosen is None:
            verdict = self._by_built_in_rules(evidence, is_critical, error)
            verdict = _adding(verdict, f"how bad it is, the configured rule {rule.name!r} says")
        else:
            verdict = self._weigh(chosen, f"the configured rule {rule.name!r} says so", evidence, is_critical)
        return replace(verdict, severity=ErrorSeverity[rule.severity]) if rule.severity else verdict

    def _by_built_in_rules(self, evidence: Evidence, is_critical: bool, error: BaseException | None) -> Verdict:
        if evidence.members:
            verdicts = [self._judge(member, is_critical) for member in evidence.members]
            worst = max(verdicts, key=lambda one: (one.severity.value, not one.is_transient))
            return replace(worst, reason=f"the worst of {len(verdicts)} errors in a group: {worst.reason}")
        if known.is_cancelled(evidence):
            why, strategy = "it was cancelled, which is no failure", RecoveryStrategy.ESCALATE_TO_HUMAN
            return Verdict(e.WinClawError, ErrorSeverity.INFO, ErrorImpact.NONE, False, strategy, why)
        chosen, why, decided = known.diagnose(evidence)
        as_llm = known.AS_LLM.get(chosen) if chosen is not None else None
        if as_llm is not None and (evidence.component in self._llm_services or known.is_from_llm_package(evidence)):
            chosen, why = as_llm, f"{why}, and the service is a language model"
        why = why or "nothing is known of this type of error"
        return self._weigh(chosen, why, evidence, is_critical, error, decided)

    def _weigh(
        self,
        chosen: type[e.WinClawError] | None,
        why: str,
        evidence: Evidence,
        is_critical: bool,
        error: BaseException | None = None,
        decided: Evidence | None = None,
    ) -> Verdict:
        """The verdict for a class that is ``chosen`` already; what ``error`` says of itself goes before its class."""
        severity = self._default_severity if chosen is None else chosen.severity
        chosen = chosen or e.WinClawError
        impact, is_transient, strategy = chosen.impact, chosen.is_transient, None
        if error is not None and type(error).__module__ != "builtins":
            severity = _own(error, "severity", ErrorSeverity, severity)
            impact = _own(error, "impact", ErrorImpact, impact)
            is_transient = _own(error, "is_transient", bool, is_transient)
            strategy = _own(error, "recovery_strategy", RecoveryStrategy, None)
        if chosen is e.TLSHandshakeError and known.is_bad_certificate(evidence):
            is_transient, severity = False, ErrorSeverity.ERROR
            why = f"{why}; a certificate that is refused stays so until it is mended"
        if strategy is None:
            changed = RecoveryStrategy.RETRY_WITH_BACKOFF if is_transient else RecoveryStrategy.ESCALATE_TO_HUMAN
            strategy = chosen.recovery_strategy if is_transient == chosen.is_transient else changed
        by_status = self._by_status(chosen, decided or evidence)
        if by_status is not None:
            severity = by_status
        elif is_critical:
            floor = ErrorSeverity.FATAL if issubclass(chosen, e.HardwareError) else ErrorSeverity.CRITICAL
            severity = max(severity, floor, key=lambda one: one.value)
        retry_after_s = next((link.retry_after_s for link in evidence.chain() if link.retry_after_s is not None), None)
        return Verdict(chosen, severity, impact, is_transient, strategy, why, retry_after_s)

    def _by_status(self, chosen: type[e.WinClawError], decided: Evidence) -> ErrorSeverity | None:
        """The severity for the HTTP status, unless something else made it an error of quite another nature."""
        if decided.status not in self._http_severity:
            return None
        usual = known.class_of_status(decided.status)
        fits = usual is None or usual.is_transient == chosen.is_transient
        return self._http_severity[decided.status] if fits else None


def _is_its_class_alone(error: BaseException) -> bool:
    """Whether an error shows nothing but its class, so that the next of this class is judged the same."""
    return (
        not error.__dict__
        and error.__cause__ is None
        and error.__context__ is None
        and not (error.args and isinstance(error.args[0], BaseException))  # a cause, too
        and not _shows_more(type(error))  # type: ignore[arg-type]
    )


@functools.lru_cache(_MAX_KNOWN)
def _shows_more(kind: type[BaseException]) -> bool:
    """Whether an instance can show what neither its class nor its ``__dict__`` has: slots, properties, what is computed."""
    if issubclass(kind, _SHOWS_MORE):
        return True
    own = [item for one in kind.__mro__ if one.__module__ != "builtins" for item in vars(one).items()]
    return any(
        name in _COMPUTES or (hasattr(type(value), "__get__") and name not in _OF_EACH_CLASS and not isinstance(value, _PLAIN))
        for name, value in own
    )


def _class_of(rule: ClassificationRule) -> type[e.WinClawError] | None:
    if rule.type is None:
        return None
    chosen = e.TAXONOMY.get(rule.type) or e.KINDS.get(rule.type)
    if chosen is None:
        raise ValueError(f"the rule {rule.name!r} gives the type {rule.type!r}, which is no class of the taxonomy")
    return chosen


def _fits(rule: ClassificationRule, evidence: Evidence) -> bool:
    """Whether the error, or one that it was raised from, is all that the rule asks for."""
    errno = rule.errno and canonical_errno(rule.errno)
    for link in evidence.chain():
        if (
            (rule.exception is None or rule.exception in link.names)
            and (rule.status is None or rule.status == link.status)
            and (rule.code is None or rule.code == link.code)
            and (errno is None or errno in (link.errno, link.code))
            and (rule.component is None or rule.component == link.component)
        ):
            return True
        if not link.is_explicit:
            break
    return False


def _adding(verdict: Verdict, remark: str) -> Verdict:
    return replace(verdict, reason=f"{verdict.reason}; {remark}") if remark else verdict


def _own(error: BaseException, name: str, kind: type[_T], otherwise: Any) -> Any:
    """What ``error`` says of itself, where it departs from its class in the taxonomy; else ``otherwise``."""
    value = attribute(error, name)
    usual = next((one for one in type(error).__mro__ if one.__module__ == e.__name__), None)
    return value if isinstance(value, kind) and value is not getattr(usual, name, None) else otherwise


def _text(value: object) -> str:
    try:
        return "unknown" if value is None else str(value)
    except Exception:  # a name that cannot be read is none
        return "unknown"
