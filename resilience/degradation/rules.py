"""Rules for the level (§5.2): by a condition in words, or by a function, asked with how the services are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from resilience.degradation.health import Circumstances
from resilience.degradation.levels import DegradationLevel, Demand

if TYPE_CHECKING:
    from resilience.degradation.conditions import Condition

_log = logging.getLogger("winclaw.degradation")


@dataclass(frozen=True)
class DegradationRule:
    """When ``condition`` holds, the level goes down to ``target_level`` (§5.2).

    Args:
        condition: text in the language of §10.2 (it takes the extra ``winclaw[app]``), or a function of ``Circumstances``,
            which is a mapping from services' names to their ``ServiceHealth``.
        priority: of rules for one level, the lowest names the cause.
        auto_recover: False: once it held, only a person ends it.
        services: the names that a condition may ask for; None: any.

    Raises:
        ConditionError: the text cannot be understood.
    """

    name: str
    condition: str | Callable[[Circumstances], bool]
    target_level: DegradationLevel
    priority: int = 100
    auto_recover: bool = True
    services: Collection[str] | None = field(default=None, compare=False, repr=False)
    _understood: Condition | None = field(default=None, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.condition, str):
            from resilience.degradation.conditions import Condition  # noqa: PLC0415 -- agents whose rules are functions need no grammar

            object.__setattr__(self, "_understood", Condition(self.condition, self.services))

    @property
    def names(self) -> frozenset[str]:
        """The services that its text asks for."""
        return frozenset() if self._understood is None else self._understood.names

    def demand(self, circumstances: Circumstances) -> Demand | None:
        """What it asks for now; None while it does not hold. One that fails does not hold, and is logged."""
        holds = self._understood or self.condition
        assert callable(holds)
        try:
            if not holds(circumstances):
                return None
        except Exception:
            _log.exception("the rule %s failed, so it does not hold", self.name)
            return None
        if self._understood is not None:
            cause, unwell = self._understood.because(circumstances), self._understood.unwell(circumstances)
        else:
            unwell = frozenset(name for name, one in circumstances.items() if not one.is_healthy)
            cause = ", ".join(sorted(unwell))
            cause = f"{cause} not answering" if cause else "its condition holds"
        return Demand(self.name, self.target_level, f"{cause}; rule {self.name}.", self.priority, self.auto_recover, unwell)


def demands(rules: Iterable[DegradationRule], circumstances: Circumstances) -> list[Demand]:
    """What those of ``rules`` ask for that hold."""
    return [demand for rule in rules if (demand := rule.demand(circumstances)) is not None]
