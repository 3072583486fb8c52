"""WinClaw's resilience library: what an agent's author imports.

``connect`` links an agent to the WinClaw of this machine; everything else works alone, too.
"""

from typing import TYPE_CHECKING, Any

from resilience.classification import ErrorClassifier
from resilience.context import ErrorContext, ErrorImpact, ErrorSeverity, RecoveryStrategy
from resilience.degradation import DegradationLevel
from resilience.errors import *  # noqa: F403 -- the taxonomy, whole; its __all__ lists it
from resilience.errors import __all__ as _taxonomy
from resilience.gate import FeatureDisabledError

if TYPE_CHECKING:
    from resilience.client import connect

__version__ = "0.1.0"
__all__ = [  # noqa: PLE0604 -- _taxonomy is a list of names
    "DegradationLevel",
    "ErrorClassifier",
    "ErrorContext",
    "ErrorImpact",
    "ErrorSeverity",
    "FeatureDisabledError",
    "RecoveryStrategy",
    "connect",
    *_taxonomy,
]


def __getattr__(name: str) -> Any:
    """``connect`` on first use: what talks HTTP is half of the cost of importing this package."""
    if name == "connect":
        from resilience.client import connect  # noqa: PLC0415

        return connect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
