"""Refusals: a policy did not let a call happen. Each says which gate it was and why, as data."""

from __future__ import annotations

from typing import Any, ClassVar

from resilience.context import ErrorImpact, ErrorSeverity
from resilience.errors import WinClawError


class RefusedError(WinClawError):
    """The call was not made. What it was refused by, and why, stands in ``reason``.

    Attributes:
        gate: ``feature``, ``isolation``, ``circuit``, ``bulkhead`` or ``deadline``.
        retry_after_s: after how many seconds asking again makes sense; None where nobody knows.
    """

    kind = "refused"
    severity = ErrorSeverity.WARNING
    impact = ErrorImpact.SINGLE_REQUEST
    gate: ClassVar[str] = ""

    @property
    def reason(self) -> dict[str, Any]:
        """What a program can read of why: the gate, and the attributes of the class."""
        return {"gate": self.gate, "retry_after_s": self.retry_after_s, **self.__dict__}
