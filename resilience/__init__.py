"""WinClaw's resilience library: what an agent's author imports.

``connect`` links an agent to the WinClaw of this machine; everything else works alone, too.
"""

from resilience.classification import ErrorClassifier
from resilience.client import connect
from resilience.context import ErrorContext, ErrorImpact, ErrorSeverity, RecoveryStrategy
from resilience.degradation import DegradationLevel
from resilience.errors import *  # noqa: F403 -- the taxonomy, whole; its __all__ lists it
from resilience.errors import __all__ as _taxonomy
from resilience.gate import FeatureDisabledError

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
