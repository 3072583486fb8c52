"""WinClaw's resilience library: what an agent's author imports.

``connect`` links an agent to the WinClaw of this machine; everything else works alone, too.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from resilience.classification.classifier import ErrorClassifier
from resilience.context import ErrorContext, ErrorImpact, ErrorSeverity, RecoveryStrategy
from resilience.degradation.gate import FeatureDisabledError, LoopPausedError
from resilience.degradation.levels import DegradationLevel
from resilience.errors import *  # noqa: F403 -- the taxonomy, whole; its __all__ lists it
from resilience.errors import __all__ as _taxonomy
from resilience.refusals import RefusedError

if TYPE_CHECKING:
    from resilience.agent.client import connect
    from resilience.agent.ollama import Ollama, OllamaUnavailableError
    from resilience.agent_executor import ResilientAgentExecutor
    from resilience.alerting.alerts import Alert, AlertChannel, AlertPriority
    from resilience.alerting.manager import AlertManager
    from resilience.bulkhead import Bulkhead, BulkheadFullError, BulkheadRegistry, BulkheadTimeoutError
    from resilience.circuit.breaker import (
        CircuitBreaker,
        CircuitBreakerConfig,
        CircuitBreakerOpenError,
        CircuitMetrics,
        CircuitState,
    )
    from resilience.circuit.registry import CircuitBreakerRegistry
    from resilience.degradation.gate import IsolatedError
    from resilience.degradation.health import ServiceHealth
    from resilience.degradation.manager import DegradationManager
    from resilience.degradation.rules import DegradationRule
    from resilience.executor import Resilience
    from resilience.healing.engine import SelfHealingEngine
    from resilience.healing.heals import HealingAction, HealingResult
    from resilience.healing.policy import HealingActionType
    from resilience.isolation.isolator import FaultIsolator
    from resilience.outbox.file import OutboxError, OutboxFullError
    from resilience.outbox.message import Message
    from resilience.policies import CIRCUIT_CONFIGS
    from resilience.recovery.checkpoint import Checkpoint, CheckpointDamagedError, CheckpointError, CheckpointTooLargeError
    from resilience.recovery.checkpoints import CheckpointManager
    from resilience.recovery.restoring import NotRestoredError, RecoveryManager
    from resilience.retrying.attempts import RetryContext, RetryExhaustedError
    from resilience.retrying.executor import RetryExecutor, retry
    from resilience.retrying.strategies import RETRY_STRATEGIES, RetryConfig
    from resilience.sandbox.limits import ResourceLimitExceeded, ResourceLimits, SandboxError, SandboxResult
    from resilience.sandbox.sandbox import ExecutionSandbox
    from resilience.transactions.file import TransactionBusyError, TransactionError
    from resilience.transactions.manager import TransactionManager
    from resilience.transactions.prepared import Transaction
    from resilience.transactions.steps import (
        CompensationFailedError,
        ReplayedFailureError,
        StepResultError,
        TransactionReplayError,
    )

__version__ = "0.1.0"
# What is fetched when it is first asked for: whoever only reports errors pays for none of it.
_LATER = {
    "alerting.alerts": "Alert AlertChannel AlertPriority",
    "alerting.manager": "AlertManager",
    "bulkhead": "Bulkhead BulkheadFullError BulkheadRegistry BulkheadTimeoutError",
    "circuit.breaker": (
        "CircuitBreaker CircuitBreakerConfig CircuitBreakerOpenError CircuitMetrics CircuitState"
    ),
    "circuit.registry": "CircuitBreakerRegistry",
    "policies": "CIRCUIT_CONFIGS",
    "agent.client": "connect",
    "degradation.manager": "DegradationManager",
    "degradation.rules": "DegradationRule",
    "degradation.gate": "IsolatedError",
    "recovery.checkpoint": "Checkpoint CheckpointDamagedError CheckpointError CheckpointTooLargeError",
    "recovery.checkpoints": "CheckpointManager",
    "recovery.restoring": "NotRestoredError RecoveryManager",
    "transactions.prepared": "Transaction",
    "transactions.steps": "CompensationFailedError ReplayedFailureError StepResultError TransactionReplayError",
    "transactions.file": "TransactionBusyError TransactionError",
    "transactions.manager": "TransactionManager",
    "healing.engine": "SelfHealingEngine",
    "healing.heals": "HealingAction HealingResult",
    "healing.policy": "HealingActionType",
    "degradation.health": "ServiceHealth",
    "isolation.isolator": "FaultIsolator",
    "agent.ollama": "Ollama OllamaUnavailableError",
    "outbox.file": "OutboxError OutboxFullError",
    "outbox.message": "Message",
    "agent_executor": "ResilientAgentExecutor",
    "executor": "Resilience",
    "sandbox.limits": "ResourceLimitExceeded ResourceLimits SandboxError SandboxResult",
    "sandbox.sandbox": "ExecutionSandbox",
    "retrying.attempts": "RetryContext RetryExhaustedError",
    "retrying.executor": "RetryExecutor retry",
    "retrying.strategies": "RETRY_STRATEGIES RetryConfig",
}
_WHERE = {name: module for module, names in _LATER.items() for name in names.split()}
__all__ = [  # noqa: PLE0604 -- _taxonomy is a list of names
    "CIRCUIT_CONFIGS",
    "RETRY_STRATEGIES",
    "Alert",
    "AlertChannel",
    "AlertManager",
    "AlertPriority",
    "Bulkhead",
    "BulkheadFullError",
    "BulkheadRegistry",
    "BulkheadTimeoutError",
    "Checkpoint",
    "CheckpointDamagedError",
    "CheckpointError",
    "CheckpointManager",
    "CheckpointTooLargeError",
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "CircuitBreakerOpenError",
    "CircuitBreakerRegistry",
    "CircuitMetrics",
    "CircuitState",
    "CompensationFailedError",
    "DegradationLevel",
    "DegradationManager",
    "DegradationRule",
    "ErrorClassifier",
    "ErrorContext",
    "ErrorImpact",
    "ErrorSeverity",
    "ExecutionSandbox",
    "FaultIsolator",
    "FeatureDisabledError",
    "HealingAction",
    "HealingActionType",
    "HealingResult",
    "IsolatedError",
    "LoopPausedError",
    "Message",
    "NotRestoredError",
    "Ollama",
    "OllamaUnavailableError",
    "OutboxError",
    "OutboxFullError",
    "RecoveryManager",
    "RecoveryStrategy",
    "RefusedError",
    "ReplayedFailureError",
    "Resilience",
    "ResilientAgentExecutor",
    "ResourceLimitExceeded",
    "ResourceLimits",
    "RetryConfig",
    "RetryContext",
    "RetryExecutor",
    "RetryExhaustedError",
    "SandboxError",
    "SandboxResult",
    "SelfHealingEngine",
    "ServiceHealth",
    "StepResultError",
    "Transaction",
    "TransactionBusyError",
    "TransactionError",
    "TransactionManager",
    "TransactionReplayError",
    "connect",
    "retry",
    *_taxonomy,
]


def __getattr__(name: str) -> Any:
    """What stands in ``_LATER``, on first use."""
    if name in _WHERE:
        found = getattr(import_module(f"resilience.{_WHERE[name]}"), name)
        globals()[name] = found
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
