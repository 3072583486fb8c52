"""The level, enforced in a program's own process: its calls and loops ask here, and what Safe Mode stops is counted (§5).

No I/O, no waiting: what is allowed was told before. Standard library only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from resilience.degradation.gate import SERVICE_FEATURES, FeatureDisabledError, IsolatedError, blocking_feature
from resilience.degradation.levels import FEATURES, DegradationLevel

_SANDBOX: Final = {"code": "enable_code_execution", "shell": "enable_shell", "network": "allow_network_access"}
_MOST_AUDITED: Final = 200


def standing_alone(held: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """The state of a program that no WinClaw has told anything: FULL, or what a person had pinned.

    Args:
        held: what ``LastWord`` wrote, as read from its file.
    """
    found = held or {}
    level = DegradationLevel.__members__.get(str(found.get("level")), DegradationLevel.FULL)
    limit = found.get("context_limit_tokens")
    isolated = [str(name) for name in found["isolated"]] if isinstance(found.get("isolated"), list) else []
    return MappingProxyType(
        {
            "level": level.name, "number": level.value, "cause": str(found.get("cause", "")), "features": FEATURES[level],
            "probing": [], "context_limit_tokens": limit if isinstance(limit, int) else None,
            "services": [_isolated(name) for name in isolated], "isolated": isolated,
        }
    )  # fmt: skip


def _isolated(name: str) -> dict[str, Any]:
    because = "it was isolated when WinClaw was last there"
    unknown = {"agent": "", "pid": None, "retry_after_s": None}
    return {"name": name, "circuit": "ISOLATED", "version": 1, "because": because, **unknown}


class Enforcement:
    """What the present level allows this process.

    Args:
        state: what holds until WinClaw tells something else.
    """

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.state = state
        self._gates: Mapping[str, str | None] = SERVICE_FEATURES
        self._audited: dict[tuple[str, str], list[int]] = {}
        self._counting = threading.Lock()

    def begin_anew(self) -> None:
        """In a forked child: what its parent has counted, its parent tells."""
        self._audited, self._counting = {}, threading.Lock()

    def take(self, state: Mapping[str, Any], gates: Mapping[str, str | None]) -> None:
        """Takes over what WinClaw tells: the state, and which flag each service needs."""
        self.state, self._gates = state, gates

    def refusal(self, service: str, *, read_only: bool) -> Callable[[], FeatureDisabledError | IsolatedError] | None:
        """What makes the error with which calls to ``service`` are refused; None while they are allowed."""
        state = self.state
        if service in state.get("isolated", ()):
            because = next((str(one["because"]) for one in state["services"] if one["name"] == service), "")
            return lambda: IsolatedError(service, because)
        feature = blocking_feature(service, state["features"], self._gates, read_only, state.get("probing", ()))
        if feature is None:
            return None
        return lambda: FeatureDisabledError(service, feature, state["level"], state["cause"])

    def sandbox_refusal(self, kind: str) -> FeatureDisabledError | None:
        """Why the sandbox may not do what ``kind`` says (``code``, ``shell`` or ``network``) at this level; None if it may."""
        state, feature = self.state, _SANDBOX[kind]
        if state["features"].get(feature, False):
            return None
        return FeatureDisabledError("the sandbox", feature, state["level"], state["cause"])

    def gate(self, service: str, read_only: bool) -> Callable[[str], None] | None:
        """What each call to ``service`` has to ask; None while all are allowed and nobody counts them."""
        refusal = self.refusal(service, read_only=read_only)
        in_safe_mode = self.state["level"] == DegradationLevel.SAFE_MODE.name
        if refusal is None and not in_safe_mode:
            return None

        def ask(operation: str) -> None:
            if in_safe_mode:
                self._audit(service, operation, refused=refusal is not None)
            if refusal is not None:
                raise refusal()

        return ask

    def why_wait(self, channel: str) -> str | None:
        """Why outgoing messages of ``channel`` have to wait at the present level (§5.1); None if they may leave.

        A channel that the level is due to may try: its circuit lets a message pass now and then, and finds out.
        """
        state = self.state
        if state["number"] < DegradationLevel.LIMITED_EXTERNAL.value or channel in state.get("probing", ()):
            return None
        return f"level {state['level']}: {state['cause']}"

    def _audit(self, service: str, operation: str, *, refused: bool) -> None:
        key = (service[:200], operation[:200])
        with self._counting:
            if key not in self._audited and len(self._audited) >= _MOST_AUDITED - 1:
                key = ("(others)", "(others)")
            self._audited.setdefault(key, [0, 0])[refused] += 1

    def take_audit(self) -> list[dict[str, Any]]:
        """What was tried in Safe Mode since it was asked last, as ``events.AuditReport`` has it."""
        with self._counting:
            audited, self._audited = self._audited, {}
        return [
            {"service": service, "operation": operation, "allowed": allowed, "refused": refused}
            for (service, operation), (allowed, refused) in audited.items()
        ]

    def give_back(self, audit: list[dict[str, Any]]) -> None:
        """Puts back what could not be told."""
        with self._counting:
            for one in audit:
                counts = self._audited.setdefault((one["service"], one["operation"]), [0, 0])
                counts[0] += one["allowed"]
                counts[1] += one["refused"]
