"""The feature gate: may a call to a service happen at the present level? (§5.2, §10.1). Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

from resilience.refusals import RefusedError

SERVICE_FEATURES: Final[Mapping[str, str | None]] = MappingProxyType(
    {
        "gpt-5.2": "use_gpt_5_2",
        "gmail_api": "enable_gmail",
        "twilio_api": "enable_twilio",
        "browser_control": "enable_browser",
        "memory_system": "enable_memory",
        "vector_store": "enable_vector_store",
        "tts_engine": "enable_tts",
        "stt_engine": "enable_stt",
        "file_system": None,
        "shell_execution": "enable_shell",
        "ollama": "use_local_llm_fallback",
    }
)
"""Each service's feature flag; None where it has none of its own. The configuration adds to it."""


class FeatureDisabledError(RefusedError):
    """The present level does not allow this call; it was not made.

    Attributes:
        service: what was to be called. feature: the flag that is off, or ``read_only_mode``.
        level: the level's name. cause: why the level is what it is.
    """

    kind = "refused.feature_disabled"
    gate = "feature"

    def __init__(self, service: str, feature: str, level: str, cause: str) -> None:
        super().__init__(f"{service} is not allowed at level {level} ({feature}): {cause}")
        self.service, self.feature, self.level, self.cause = service, feature, level, cause


class IsolatedError(RefusedError):
    """What was to be called is isolated (§7.2); the call was not made.

    Attributes:
        component: what is isolated. because: why. retry_after_s: until it is released by itself; None: nobody knows.
    """

    kind = "refused.isolated"
    gate = "isolation"

    def __init__(self, component: str, because: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{component} is isolated: {because}")
        self.component, self.because, self.retry_after_s = component, because, retry_after_s


class LoopPausedError(RefusedError):
    """The present level does not allow this loop (§5.1): it does not begin, or is asked to pause.

    Attributes:
        loop: its name. feature: the flag that is off. level: the level's name. cause: why the level is what it is.
    """

    kind = "refused.loop_paused"
    gate = "loop"

    def __init__(self, loop: str, feature: str, level: str, cause: str) -> None:
        super().__init__(f"the loop {loop} pauses at level {level} ({feature}): {cause}")
        self.loop, self.feature, self.level, self.cause = loop, feature, level, cause


def blocking_feature(
    service: str,
    features: Mapping[str, bool],
    gates: Mapping[str, str | None],
    read_only: bool,
    probing: Collection[str] = (),
) -> str | None:
    """The flag that forbids a call to ``service``; None if it may happen.

    Args:
        features: the present level's flags. gates: which flag a service needs; one that is not listed needs none.
        read_only: the call only reads. In Safe Mode nothing else may happen, and only where no flag is against it: what
            needs the network, memory or code stays off.
        probing: services that the level is due to. Their circuits decide, and let a few calls through to find out
            whether they answer again.
    """
    if features.get("read_only_mode") and not read_only:
        return "read_only_mode"
    feature = gates.get(service)
    if feature is None or features.get(feature) or service in probing:
        return None
    return feature
