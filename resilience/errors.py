"""The taxonomy: every kind of error that WinClaw tells apart (§2.1).

Each class carries what there is to know before anything else is known: a stable dotted ``kind``, how bad it is, how
far it reaches, whether trying again can help, and what to do (§2.3). A class says only where it differs from the one
above it. Five names depart from the document's: ``HardwareMemoryError`` and ``AgentMemoryError`` (it has two
``MemoryError``), ``OSPermissionError`` and ``PlatformError`` (they would shadow builtins), and the statuses 404, 500
and 502 have classes of their own.
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

from resilience.context import ErrorImpact, ErrorSeverity, RecoveryStrategy

__all__ = [
    "WinClawError", "TransientError", "NetworkTransientError", "ConnectionTimeoutError",
    "DNSResolutionError", "TLSHandshakeError", "RateLimitError", "ServiceTransientError",
    "InternalServerError", "BadGatewayError", "ServiceUnavailableError", "GatewayTimeoutError",
    "ThrottlingError", "ResourceTransientError", "ResourceExhaustedError", "MemoryPressureError",
    "DiskSpaceError", "PersistentError", "NotFoundError", "ConfigurationError",
    "InvalidConfigError", "MissingConfigError", "ConfigValidationError", "AuthenticationError",
    "InvalidCredentialsError", "TokenExpiredError", "PermissionDeniedError", "ValidationError",
    "SchemaValidationError", "InputValidationError", "OutputValidationError", "DependencyError",
    "MissingDependencyError", "VersionMismatchError", "DependencyConflictError", "PlatformError",
    "HardwareError", "DiskFailureError", "HardwareMemoryError", "CPUError",
    "OSLevelError", "ProcessError", "OSPermissionError", "SystemCallError",
    "ContainerError", "ContainerCrashError", "ImagePullError", "ResourceLimitError",
    "SecurityError", "InjectionError", "PromptInjectionError", "SQLInjectionError",
    "CommandInjectionError", "SandboxEscapeError", "UnauthorizedAccessError", "AnomalyDetectedError",
    "AgenticError", "LLMError", "LLMTimeoutError", "LLMRateLimitError",
    "LLMContentFilterError", "LLMContextWindowError", "LLMOutputParseError", "ReasoningError",
    "PlanGenerationError", "ToolSelectionError", "ContextEngineeringError", "AgentMemoryError",
    "VectorStoreError", "EmbeddingError", "ContextLossError", "LoopError",
    "LoopTimeoutError", "LoopStuckError", "LoopRecursionError",
]  # fmt: skip


class WinClawError(Exception):
    """Any error of the taxonomy.

    Attributes:
        retry_after_s: how long the other side asked to be left alone, in seconds; None if it did not say.
    """

    kind: ClassVar[str] = "winclaw"
    severity: ClassVar[ErrorSeverity] = ErrorSeverity.ERROR
    impact: ClassVar[ErrorImpact] = ErrorImpact.SINGLE_REQUEST
    is_transient: ClassVar[bool] = False
    recovery_strategy: ClassVar[RecoveryStrategy] = RecoveryStrategy.ESCALATE_TO_HUMAN
    retry_after_s: float | None = None

    def __init__(self, *args: object, retry_after_s: float | None = None) -> None:
        super().__init__(*args)
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle and copy: without ``__init__``, because classes below may take other arguments."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


# Transient: trying again can help.


class TransientError(WinClawError):
    """It passes by itself: trying again can help."""

    kind = "transient"
    severity = ErrorSeverity.WARNING
    is_transient = True
    recovery_strategy = RecoveryStrategy.RETRY_WITH_BACKOFF


class NetworkTransientError(TransientError):
    """The way to the other side is disturbed: refused, reset, unreachable."""

    kind = "transient.network"


class ConnectionTimeoutError(NetworkTransientError):
    """The other side did not answer in time."""

    kind = "transient.network.timeout"


class DNSResolutionError(NetworkTransientError):
    """The name could not be turned into an address."""

    kind = "transient.network.dns"


class TLSHandshakeError(NetworkTransientError):
    """No encrypted connection came about."""

    kind = "transient.network.tls"


class RateLimitError(NetworkTransientError):
    """Too many requests (429)."""

    kind = "transient.network.rate_limit"


class ServiceTransientError(TransientError):
    """The service is there, but cannot serve just now."""

    kind = "transient.service"


class InternalServerError(ServiceTransientError):
    """The service failed inside (500)."""

    kind = "transient.service.internal"
    severity = ErrorSeverity.ERROR


class BadGatewayError(ServiceTransientError):
    """Something between us and the service failed (502)."""

    kind = "transient.service.bad_gateway"
    severity = ErrorSeverity.ERROR


class ServiceUnavailableError(ServiceTransientError):
    """The service says that it is not available (503)."""

    kind = "transient.service.unavailable"
    severity = ErrorSeverity.ERROR


class GatewayTimeoutError(ServiceTransientError):
    """Something between us and the service waited too long (504)."""

    kind = "transient.service.gateway_timeout"


class ThrottlingError(ServiceTransientError):
    """The provider slows us down and says so in its own code."""

    kind = "transient.service.throttling"


class ResourceTransientError(TransientError):
    """Something that is shared is in use just now, e.g. a locked database."""

    kind = "transient.resource"


class ResourceExhaustedError(ResourceTransientError):
    """Handles, processes, sockets or quota have run out."""

    kind = "transient.resource.exhausted"
    severity = ErrorSeverity.ERROR


class MemoryPressureError(ResourceTransientError):
    """Memory has run short; waiting alone frees none."""

    kind = "transient.resource.memory"
    severity = ErrorSeverity.ERROR
    impact = ErrorImpact.FULL_SYSTEM
    recovery_strategy = RecoveryStrategy.HEAL_THEN_RETRY


class DiskSpaceError(ResourceTransientError):
    """The disk or the quota is full; waiting alone frees nothing."""

    kind = "transient.resource.disk_space"
    severity = ErrorSeverity.CRITICAL
    impact = ErrorImpact.FULL_SYSTEM
    recovery_strategy = RecoveryStrategy.HEAL_THEN_RETRY


# Persistent: trying again changes nothing.


class PersistentError(WinClawError):
    """It stays until somebody mends the cause."""

    kind = "persistent"


class NotFoundError(PersistentError):
    """What was asked for is not there (404, a missing file)."""

    kind = "persistent.not_found"
    severity = ErrorSeverity.WARNING


class ConfigurationError(PersistentError):
    """The configuration is the cause."""

    kind = "persistent.configuration"
    impact = ErrorImpact.SINGLE_COMPONENT
    recovery_strategy = RecoveryStrategy.RELOAD_CONFIG


class InvalidConfigError(ConfigurationError):
    """The configuration cannot be read, or says what cannot be."""

    kind = "persistent.configuration.invalid"


class MissingConfigError(ConfigurationError):
    """A setting, or the file, is missing."""

    kind = "persistent.configuration.missing"


class ConfigValidationError(ConfigurationError):
    """A setting is out of its range or of the wrong type."""

    kind = "persistent.configuration.validation"


class AuthenticationError(PersistentError):
    """Who we are was not accepted (401)."""

    kind = "persistent.authentication"
    impact = ErrorImpact.SINGLE_COMPONENT
    recovery_strategy = RecoveryStrategy.REFRESH_CREDENTIALS


class InvalidCredentialsError(AuthenticationError):
    """The key or password is wrong."""

    kind = "persistent.authentication.credentials"


class TokenExpiredError(AuthenticationError):
    """The token is too old."""

    kind = "persistent.authentication.token_expired"


class PermissionDeniedError(AuthenticationError):
    """Who we are is known, but may not do this (403); new credentials would not help."""

    kind = "persistent.authentication.permission"
    recovery_strategy = RecoveryStrategy.ESCALATE_TO_HUMAN


class ValidationError(PersistentError):
    """The request or the answer does not have the right form (400)."""

    kind = "persistent.validation"
    severity = ErrorSeverity.WARNING
    recovery_strategy = RecoveryStrategy.ESCALATE_TO_LLM


class SchemaValidationError(ValidationError):
    """It does not fit its schema."""

    kind = "persistent.validation.schema"


class InputValidationError(ValidationError):
    """What was given is not acceptable."""

    kind = "persistent.validation.input"


class OutputValidationError(ValidationError):
    """What came back cannot be used, e.g. is not JSON."""

    kind = "persistent.validation.output"


class DependencyError(PersistentError):
    """Something that this program builds on is not as it should be."""

    kind = "persistent.dependency"
    impact = ErrorImpact.SINGLE_COMPONENT


class MissingDependencyError(DependencyError):
    """A package or program is not installed."""

    kind = "persistent.dependency.missing"


class VersionMismatchError(DependencyError):
    """A package or program has the wrong version."""

    kind = "persistent.dependency.version"


class DependencyConflictError(DependencyError):
    """Two dependencies exclude each other."""

    kind = "persistent.dependency.conflict"


# The platform: hardware, operating system, containers.


class PlatformError(WinClawError):
    """The machine or its system is the cause (the document's ``SystemError``)."""

    kind = "platform"
    impact = ErrorImpact.SINGLE_COMPONENT


class HardwareError(PlatformError):
    """A part of the machine fails."""

    kind = "platform.hardware"
    severity = ErrorSeverity.CRITICAL
    impact = ErrorImpact.FULL_SYSTEM


class DiskFailureError(HardwareError):
    """The disk cannot be read or written, or what is on it is damaged."""

    kind = "platform.hardware.disk"


class HardwareMemoryError(HardwareError):
    """The memory is faulty."""

    kind = "platform.hardware.memory"


class CPUError(HardwareError):
    """The processor is faulty."""

    kind = "platform.hardware.cpu"


class OSLevelError(PlatformError):
    """The operating system refused."""

    kind = "platform.os"


class ProcessError(OSLevelError):
    """A process failed, was killed, or could not be started."""

    kind = "platform.os.process"


class OSPermissionError(OSLevelError):
    """The operating system does not allow it."""

    kind = "platform.os.permission"


class SystemCallError(OSLevelError):
    """A system call failed for a reason that has no class of its own."""

    kind = "platform.os.call"


class ContainerError(PlatformError):
    """A container is the cause."""

    kind = "platform.container"


class ContainerCrashError(ContainerError):
    """The container ended unexpectedly."""

    kind = "platform.container.crash"


class ImagePullError(ContainerError):
    """The image could not be had."""

    kind = "platform.container.image"


class ResourceLimitError(ContainerError):
    """The container reached its limits."""

    kind = "platform.container.limit"


# Security: a threat, or the sign of one.


class SecurityError(WinClawError):
    """A threat, or the sign of one."""

    kind = "security"
    severity = ErrorSeverity.CRITICAL
    impact = ErrorImpact.SINGLE_COMPONENT
    recovery_strategy = RecoveryStrategy.ISOLATE_AND_ALERT


class InjectionError(SecurityError):
    """Somebody tries to have their text obeyed."""

    kind = "security.injection"


class PromptInjectionError(InjectionError):
    """Through a prompt."""

    kind = "security.injection.prompt"


class SQLInjectionError(InjectionError):
    """Through a database query."""

    kind = "security.injection.sql"


class CommandInjectionError(InjectionError):
    """Through a command line."""

    kind = "security.injection.command"


class SandboxEscapeError(SecurityError):
    """Confined code reached for what it must not touch."""

    kind = "security.sandbox_escape"
    impact = ErrorImpact.FULL_SYSTEM


class UnauthorizedAccessError(SecurityError):
    """Somebody reached for what they have no right to."""

    kind = "security.unauthorized_access"


class AnomalyDetectedError(SecurityError):
    """Behaviour far from the usual."""

    kind = "security.anomaly"


# Agentic: language models, reasoning, memory, loops.


class AgenticError(WinClawError):
    """An agent's own kind of trouble."""

    kind = "agentic"


class LLMError(AgenticError):
    """The language model failed."""

    kind = "agentic.llm"


class LLMTimeoutError(LLMError):
    """The language model did not answer in time."""

    kind = "agentic.llm.timeout"
    severity = ErrorSeverity.WARNING
    is_transient = True
    recovery_strategy = RecoveryStrategy.RETRY_WITH_BACKOFF


class LLMRateLimitError(LLMError):
    """The language model's provider says: too many requests, or tokens."""

    kind = "agentic.llm.rate_limit"
    severity = ErrorSeverity.WARNING
    is_transient = True
    recovery_strategy = RecoveryStrategy.RETRY_WITH_BACKOFF


class LLMContentFilterError(LLMError):
    """The provider's filter refused the prompt or the answer."""

    kind = "agentic.llm.content_filter"
    severity = ErrorSeverity.WARNING


class LLMContextWindowError(LLMError):
    """The prompt is longer than the model takes."""

    kind = "agentic.llm.context_window"


class LLMOutputParseError(LLMError):
    """The model's answer does not have the form that was asked for."""

    kind = "agentic.llm.output_parse"
    severity = ErrorSeverity.WARNING


class ReasoningError(AgenticError):
    """The agent's thinking went wrong."""

    kind = "agentic.reasoning"


class PlanGenerationError(ReasoningError):
    """No usable plan came about."""

    kind = "agentic.reasoning.plan"


class ToolSelectionError(ReasoningError):
    """The agent chose a tool that does not exist or does not fit."""

    kind = "agentic.reasoning.tool_selection"


class ContextEngineeringError(ReasoningError):
    """The context for the model could not be put together."""

    kind = "agentic.reasoning.context"


class AgentMemoryError(AgenticError):
    """The agent's memory failed (not the machine's)."""

    kind = "agentic.memory"
    impact = ErrorImpact.SINGLE_COMPONENT


class VectorStoreError(AgentMemoryError):
    """The vector store failed."""

    kind = "agentic.memory.vector_store"


class EmbeddingError(AgentMemoryError):
    """A text could not be turned into a vector."""

    kind = "agentic.memory.embedding"


class ContextLossError(AgentMemoryError):
    """What the agent knew is gone."""

    kind = "agentic.memory.context_loss"
    severity = ErrorSeverity.CRITICAL


class LoopError(AgenticError):
    """One of the agent's loops is in trouble."""

    kind = "agentic.loop"
    impact = ErrorImpact.SINGLE_COMPONENT


class LoopTimeoutError(LoopError):
    """A run of the loop takes too long."""

    kind = "agentic.loop.timeout"


class LoopStuckError(LoopError):
    """The loop gives no sign of life."""

    kind = "agentic.loop.stuck"


class LoopRecursionError(LoopError):
    """The loop started itself too often."""

    kind = "agentic.loop.recursion"


def _all_below(one: type[WinClawError]) -> Iterator[type[WinClawError]]:
    yield one
    for below in one.__subclasses__():
        yield from _all_below(below)


TAXONOMY: Final[Mapping[str, type[WinClawError]]] = MappingProxyType(
    {one.__name__: one for one in _all_below(WinClawError) if one.__module__ == __name__}
)
"""Every class of the taxonomy by its name, ``WinClawError`` first."""

KINDS: Final[Mapping[str, type[WinClawError]]] = MappingProxyType({one.kind: one for one in TAXONOMY.values()})
"""The same by ``kind``."""


def is_below(kind: str, kinds: Iterable[str]) -> bool:
    """Whether ``kind`` is one of ``kinds``, or stands below one in the taxonomy's tree."""
    return any(kind == one or kind.startswith(f"{one}.") for one in kinds)
