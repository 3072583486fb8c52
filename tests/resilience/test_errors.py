from __future__ import annotations

import builtins
import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import resilience.errors
from resilience.context import ErrorContext, ErrorImpact, ErrorSeverity, RecoveryStrategy
from resilience.errors import (
    KINDS,
    TAXONOMY,
    AgentMemoryError,
    BadGatewayError,
    HardwareMemoryError,
    InternalServerError,
    InvalidConfigError,
    NotFoundError,
    OSPermissionError,
    PermissionDeniedError,
    PlatformError,
    PromptInjectionError,
    RateLimitError,
    SandboxEscapeError,
    WinClawError,
    __all__,
)

EVERY_CLASS = list(TAXONOMY.values())


class QuotaError(RateLimitError):
    """As an agent's author would write it: with arguments of its own."""

    def __init__(self, model: str, used: int) -> None:
        super().__init__(f"{model} has used {used} tokens", retry_after_s=5.0)
        self.model, self.used = model, used


def copies(error: WinClawError) -> list[Any]:
    return [pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)]


def test_the_tree_has_every_class_of_the_specification_and_no_other() -> None:
    """72 lines in §2.1's tree, and a class each for 404, 500 and 502."""
    assert len(TAXONOMY) == 75
    assert next(iter(TAXONOMY)) == "WinClawError"
    assert sorted(__all__) == sorted(TAXONOMY)


def test_no_class_shadows_a_builtin() -> None:
    assert [name for name in TAXONOMY if hasattr(builtins, name)] == []
    assert issubclass(HardwareMemoryError, PlatformError)
    assert issubclass(OSPermissionError, PlatformError)
    assert AgentMemoryError.kind == "agentic.memory"
    assert {NotFoundError.kind, InternalServerError.kind, BadGatewayError.kind} <= set(KINDS)


@pytest.mark.parametrize("one", EVERY_CLASS, ids=TAXONOMY)
def test_every_class_says_all_that_is_to_be_known(one: type[WinClawError]) -> None:
    assert isinstance(one.severity, ErrorSeverity)
    assert isinstance(one.impact, ErrorImpact)
    assert isinstance(one.is_transient, bool)
    assert isinstance(one.recovery_strategy, RecoveryStrategy)
    assert one.__doc__


@pytest.mark.parametrize("one", EVERY_CLASS[1:], ids=list(TAXONOMY)[1:])
def test_a_kind_continues_the_kind_above_it(one: type[WinClawError]) -> None:
    """So that a filter for ``transient.network`` has everything below it."""
    above = one.__mro__[1]
    stem, _, last = one.kind.rpartition(".")
    assert last
    assert stem == ("" if above is WinClawError else above.kind)  # type: ignore[attr-defined]


def test_kinds_are_unique() -> None:
    assert len(KINDS) == len(TAXONOMY)
    assert KINDS["security.injection.prompt"] is PromptInjectionError


@pytest.mark.parametrize(
    ("above", "strategy"),
    [
        ("TransientError", "RETRY_WITH_BACKOFF"),
        ("AuthenticationError", "REFRESH_CREDENTIALS"),
        ("PermissionDeniedError", "ESCALATE_TO_HUMAN"),
        ("ConfigurationError", "RELOAD_CONFIG"),
        ("ValidationError", "ESCALATE_TO_LLM"),
        ("SecurityError", "ISOLATE_AND_ALERT"),
        ("MemoryPressureError", "HEAL_THEN_RETRY"),
        ("DiskSpaceError", "HEAL_THEN_RETRY"),
        ("DependencyError", "ESCALATE_TO_HUMAN"),
        ("PlatformError", "ESCALATE_TO_HUMAN"),
        ("LoopError", "ESCALATE_TO_HUMAN"),
    ],
)
def test_the_recovery_strategy_is_inherited_and_not_read_from_names(above: str, strategy: str) -> None:
    """A substring of the name sent prompt injection to a person, and never reloaded an invalid configuration."""
    exceptions = {"MemoryPressureError", "DiskSpaceError", "PermissionDeniedError"} - {above}
    below = [one for one in EVERY_CLASS if issubclass(one, TAXONOMY[above]) and one.__name__ not in exceptions]
    assert {str(one.recovery_strategy) for one in below} == {strategy}


def test_security_errors_isolate_and_invalid_configuration_reloads() -> None:
    assert PromptInjectionError.recovery_strategy is RecoveryStrategy.ISOLATE_AND_ALERT
    assert SandboxEscapeError.recovery_strategy is RecoveryStrategy.ISOLATE_AND_ALERT
    assert InvalidConfigError.recovery_strategy is RecoveryStrategy.RELOAD_CONFIG
    assert PermissionDeniedError.recovery_strategy is RecoveryStrategy.ESCALATE_TO_HUMAN


def test_security_errors_are_critical_and_never_tried_again() -> None:
    below = [one for one in EVERY_CLASS if one.kind.startswith("security")]
    assert {one.severity for one in below} == {ErrorSeverity.CRITICAL}
    assert not any(one.is_transient for one in below)


def test_what_is_to_be_retried_is_transient() -> None:
    """The two cannot contradict each other."""
    retried = (RecoveryStrategy.RETRY_WITH_BACKOFF, RecoveryStrategy.HEAL_THEN_RETRY)
    assert [one for one in EVERY_CLASS if one.is_transient != (one.recovery_strategy in retried)] == []


def test_an_error_is_made_with_a_message_alone() -> None:
    error = RateLimitError("slow down")
    assert (str(error), error.retry_after_s) == ("slow down", None)
    assert RateLimitError("slow down", retry_after_s=2.5).retry_after_s == 2.5


def test_errors_survive_pickle_and_copy_with_their_context() -> None:
    error = RateLimitError("slow down", retry_after_s=2.5)
    error.error_context = ErrorContext.create(error, "gpt-5.2", "ask")
    for again in copies(error):
        assert (str(again), again.retry_after_s, again.error_context.component) == ("slow down", 2.5, "gpt-5.2")
        assert type(again) is RateLimitError


def test_an_authors_own_class_with_other_arguments_survives_pickle_and_copy() -> None:
    error = QuotaError("gpt-5.2", 10)
    for again in copies(error):
        assert (type(again), str(again)) == (QuotaError, "gpt-5.2 has used 10 tokens")
        assert (again.model, again.used, again.retry_after_s) == ("gpt-5.2", 10, 5.0)


def test_the_classifier_loads_no_network_library() -> None:
    """Third-party exceptions are known by their names alone, so an agent does not pay for them."""
    script = (
        "import sys, types\n"
        "package = sys.modules['resilience'] = types.ModuleType('resilience')\n"  # without the rest of the library
        f"package.__path__ = [{str(Path(resilience.errors.__file__).parent)!r}]\n"
        "import resilience.errors, resilience.classification.classifier\n"
        "heavy = {'asyncio', 'ssl', 'http', 'requests', 'httpx', 'aiohttp', 'openai', 'sqlite3', 'subprocess', 'email'}\n"
        "print(*heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""
