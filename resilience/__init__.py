"""WinClaw's resilience library: what an agent's author imports.

``connect`` links an agent to the WinClaw of this machine; everything else works alone, too.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from resilience.classification import ErrorClassifier
from resilience.context import ErrorContext, ErrorImpact, ErrorSeverity, RecoveryStrategy
from resilience.degradation import DegradationLevel
from resilience.errors import *  # noqa: F403 -- the taxonomy, whole; its __all__ lists it
from resilience.errors import __all__ as _taxonomy
from resilience.gate import FeatureDisabledError, LoopPausedError
from resilience.refusals import RefusedError

if TYPE_CHECKING:
    from resilience.bulkhead import Bulkhead, BulkheadFullError, BulkheadRegistry, BulkheadTimeoutError
    from resilience.circuit import (
        CircuitBreaker,
        CircuitBreakerConfig,
        CircuitBreakerOpenError,
        CircuitMetrics,
        CircuitState,
    )
    from resilience.circuit_registry import CircuitBreakerRegistry
    from resilience.client import connect
    from resilience.degradation_manager import DegradationManager
    from resilience.degradation_rules import DegradationRule
    from resilience.executor import Resilience, ResilientAgentExecutor
    from resilience.gate import IsolatedError
    from resilience.healing.engine import SelfHealingEngine
    from resilience.healing.heals import HealingAction, HealingResult
    from resilience.healing.policy import HealingActionType
    from resilience.health import ServiceHealth
    from resilience.isolation.isolator import FaultIsolator
    from resilience.ollama import Ollama, OllamaUnavailableError
    from resilience.outbox import Message, OutboxError, OutboxFullError
    from resilience.policies import CIRCUIT_CONFIGS
    from resilience.retrying import (
        RETRY_STRATEGIES,
        RetryConfig,
        RetryContext,
        RetryExecutor,
        RetryExhaustedError,
        retry,
    )
    from resilience.sandbox.limits import ResourceLimitExceeded, ResourceLimits, SandboxError, SandboxResult
    from resilience.sandbox.sandbox import ExecutionSandbox

__version__ = "0.1.0"
# What is fetched when it is first asked for: whoever only reports errors pays for none of it.
_LATER = {
    "bulkhead": "Bulkhead BulkheadFullError BulkheadRegistry BulkheadTimeoutError",
    "circuit": (
        "CircuitBreaker CircuitBreakerConfig CircuitBreakerOpenError CircuitMetrics CircuitState"
    ),
    "circuit_registry": "CircuitBreakerRegistry",
    "policies": "CIRCUIT_CONFIGS",
    "client": "connect",
    "degradation_manager": "DegradationManager",
    "degradation_rules": "DegradationRule",
    "gate": "IsolatedError",
    "healing.engine": "SelfHealingEngine",
    "healing.heals": "HealingAction HealingResult",
    "healing.policy": "HealingActionType",
    "health": "ServiceHealth",
    "isolation.isolator": "FaultIsolator",
    "ollama": "Ollama OllamaUnavailableError",
    "outbox": "Message OutboxError OutboxFullError",
    "executor": "Resilience ResilientAgentExecutor",
    "sandbox.limits": "ResourceLimitExceeded ResourceLimits SandboxError SandboxResult",
    "sandbox.sandbox": "ExecutionSandbox",
    "retrying": "RETRY_STRATEGIES RetryConfig RetryContext RetryExecutor RetryExhaustedError retry",
}
_WHERE = {name: module for module, names in _LATER.items() for name in names.split()}
__all__ = [  # noqa: PLE0604 -- _taxonomy is a list of names
    "CIRCUIT_CONFIGS",
    "RETRY_STRATEGIES",
    "Bulkhead",
    "BulkheadFullError",
    "BulkheadRegistry",
    "BulkheadTimeoutError",
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "CircuitBreakerOpenError",
    "CircuitBreakerRegistry",
    "CircuitMetrics",
    "CircuitState",
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
    "Ollama",
    "OllamaUnavailableError",
    "OutboxError",
    "OutboxFullError",
    "RecoveryStrategy",
    "RefusedError",
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
