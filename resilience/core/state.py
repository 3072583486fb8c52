"""What the core knows, whole, and what it has to say of itself. Frozen: a new state replaces the old one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from resilience.alerting.alerts import NO_ALERTS, AlertPriority, Alerts, AlertState
from resilience.config.settings import Settings
from resilience.config.version import InForce
from resilience.core import notices
from resilience.core.notices import Notice
from resilience.core.orders import Orders
from resilience.core.presence import NOBODY, Agents
from resilience.core.services import Services
from resilience.degradation import loops
from resilience.degradation.health import Tally
from resilience.degradation.levels import FEATURES, DegradationLevel, Standing
from resilience.degradation.rules import DegradationRule
from resilience.healing.heals import Heals, HealState
from resilience.isolation.isolated import BY_ITSELF, Isolations
from resilience.journal.health import Health
from resilience.processes.status import ProcessStatus
from resilience.recovery.plans import Recovery

_HEALS_TOLD: Final = 20
"""Heals that have ended, of which agents are told."""


class State(Struct, frozen=True, kw_only=True):
    """What the core knows, whole; a new one replaces it, nothing changes inside.

    ``version`` grows when something changes that is worth telling, which not every heartbeat does. ``tally`` has the numbers
    that some rule asks for. ``waiting`` is how many messages wait in outboxes, by channel. Until ``snoozed_until`` nobody
    wants to hear of alerts. ``undelivered`` has the channels whose last message did not arrive, with the reason; ``offered``
    those that this WinClaw has and not every one. ``health`` is how it stands with the journal.
    ``config`` is the version of the configuration that is in force, where one is.
    """

    standing: Standing
    agents: Agents = NOBODY
    services: Services = Services()
    processes: Mapping[str, ProcessStatus] = MappingProxyType({})
    waiting: Mapping[str, int] = MappingProxyType({})
    heals: Heals = MappingProxyType({})
    recoveries: Mapping[int, Recovery] = MappingProxyType({})
    orders: Orders = MappingProxyType({})
    isolations: Isolations = MappingProxyType({})
    alerts: Alerts = NO_ALERTS
    snoozed_until: datetime | None = None
    undelivered: Mapping[str, str] = MappingProxyType({})
    offered: frozenset[str] = frozenset()
    tally: Tally = Tally()
    health: Health = Health()
    notices: tuple[Notice, ...] = ()
    settings: Settings = Settings()
    config: InForce | None = None
    rules: tuple[DegradationRule, ...] = ()
    version: int = 0

    def view(self, now: datetime) -> dict[str, Any]:
        """The state as the API gives it at ``now``."""
        standing = self.standing
        return {
            "level": standing.level.name,
            "number": standing.level.value,
            "since": standing.since.isoformat(),
            "cause": standing.cause,
            "pinned": standing.pinned,
            "latched": standing.latched,
            "features": dict(FEATURES[standing.level]),
            "rules_want": self._rules_want(),
            "context_limit_tokens": self.context_limit_tokens(),
            "services": self.services.view(now),
            "isolated": [one.name for one in self.services.circuits.values() if one.state == "ISOLATED"],
            "isolations": [one.view() for one in self.isolations.values()],
            "probing": sorted(standing.probing),
            "probes": [{"name": name, **probe.view()} for name, probe in self.services.probes.items()],
            "healing": [heal.view() for heal in self.heals.values() if heal.is_open],
            "healed": [heal.outcome() for heal in self.heals.values() if not heal.is_open][-_HEALS_TOLD:],
            "recovering": [one.view() for one in self.recoveries.values() if one.is_open],
            "loops": loops.view(self.settings.loops, self.agents.values(), standing.level),
            "waiting": {"messages": sum(self.waiting.values()), "channels": dict(self.waiting)},
            "agents": [agent.view() for agent in self.agents.values()],
            "processes": [process.view() for process in self.processes.values()],
            "notices": [msgspec.to_builtins(notice) for notice in self.needs_you],
            "needs_you": len(self.needs_you),
            "snoozed_until": self.snoozed_until.isoformat() if self.snoozed_until else None,
            "version": self.version,
        }

    @property
    def needs_you(self) -> tuple[Notice, ...]:
        """Everything that waits for the user: what could not be mended, and the worst of what nobody has acknowledged."""
        alerts = [
            notices.of_alert(one) for one in self.alerts.values()
            if one.state is AlertState.OPEN and one.priority <= AlertPriority.P2_HIGH and not one.lasts and not one.behind
        ]  # fmt: skip
        return (*self.unsettled, *alerts)

    @property
    def unsettled(self) -> tuple[Notice, ...]:
        """What is wrong with WinClaw, and what it could not mend itself."""
        processes = [notices.of_process(one) for one in self.processes.values() if one.needs_you]
        probes = [
            notices.of_probe(name, probe)
            for name, probe in self.services.probes.items()
            if not probe.well and name not in self.settings.services
        ]
        isolated = [notices.of_isolation(one) for one in self.isolations.values() if one.actor == BY_ITSELF]
        heals = [notices.of_heal(heal) for heal in self.heals.values() if heal.state in (HealState.WAITING, HealState.ESCALATED)]
        deaf = [notices.of_channel(name, why) for name, why in self.undelivered.items()]
        return (*self.notices, *processes, *probes, *isolated, *heals, *deaf)

    def _rules_want(self) -> dict[str, Any]:
        wanted = self.standing.wanted
        return {
            "level": wanted.level.name,
            "cause": wanted.cause,
            "rule": wanted.rule,
            "rises_at": wanted.rises_at.isoformat() if wanted.rises_at else None,
            "latches": [
                {"rule": one.rule, "level": one.level.name, "cause": one.cause, "since": one.since.isoformat()}
                for one in wanted.latches
            ],
        }

    @property
    def counted(self) -> frozenset[str]:
        """The names whose errors and calls some rule asks for."""
        return frozenset[str]().union(*(rule.names for rule in self.rules))

    def context_limit_tokens(self) -> int | None:
        """To how many tokens agents should keep a model's context; None: no limit of ours."""
        if self.standing.level is DegradationLevel.FULL:
            return None
        return self.settings.degradation.reduced_context_tokens


def with_settings(state: State, settings: Settings) -> State:
    """``state`` under other settings: its rules are theirs, and its counts are kept as far as a rule asks for them.

    Raises:
        ConditionError: a rule cannot be understood; a configuration with such a rule is refused long before.
    """
    chosen = settings.degradation
    rules = tuple(
        DegradationRule(
            one.name, one.condition, DegradationLevel[one.target_level], one.priority, one.auto_recover,
            services=settings.services,
        )
        for one in chosen.rules
    )
    after = replace(state, settings=settings, rules=rules)
    tally = state.tally if chosen.window_s == state.tally.window_s else Tally(chosen.window_s)
    kept = {name: one for name, one in tally.buckets.items() if name in after.counted}
    return replace(after, tally=tally._replace(buckets=kept))
