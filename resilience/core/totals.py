"""What has been counted since WinClaw started, for programs that read counters: none of them ever falls. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple, TypeVar

from msgspec import Struct

from resilience.core.services import grown
from resilience.core.state import State
from resilience.events import Event, EventType

K = TypeVar("K")
_ENDS: Final = frozenset({EventType.HEAL_ENDED.value, EventType.HEAL_ESCALATED.value})


class Calls(NamedTuple):
    """Calls to one service: how many were made, how many of those failed, and how many its circuit refused."""

    calls: int = 0
    failures: int = 0
    rejected: int = 0


class Totals(Struct, frozen=True, kw_only=True):
    """Counts since ``since``: events by type, errors by kind and severity, heals by outcome, calls by service.

    Kinds, severities, types and outcomes are closed sets; services are those that have a circuit, of which there is a most.
    """

    since: datetime
    events: Mapping[str, int] = MappingProxyType({})
    errors: Mapping[tuple[str, str], int] = MappingProxyType({})
    heals: Mapping[str, int] = MappingProxyType({})
    calls: Mapping[str, Calls] = MappingProxyType({})

    def after(self, before: State, now: State, events: tuple[Event, ...]) -> Totals:
        """The totals after ``events``, and after ``before`` has become ``now``.

        What an agent had counted when it was first heard of may be long ago, and is left out.
        """
        if not events and now.services.seen is before.services.seen:
            return self
        errors = [one.body for one in events if one.type == EventType.ERROR.value]
        return Totals(
            since=self.since,
            events=_more(self.events, Counter(one.type for one in events)),
            errors=_more(self.errors, Counter((one["kind"], one["severity"]) for one in errors)),
            heals=_more(self.heals, Counter(str(one.body["outcome"]) for one in events if one.type in _ENDS)),
            calls=self._called(before, now),
        )

    def _called(self, before: State, now: State) -> Mapping[str, Calls]:
        after = dict(self.calls)
        for (agent, pid, service), numbers in grown(before.services, now.services):
            known = before.agents.get((agent, pid))
            if known is not None and known.alive and service in now.services.circuits:
                old = after.get(service, Calls())
                after[service] = Calls(*(so_far + numbers[name] for name, so_far in old._asdict().items()))
        return MappingProxyType(after)


def _more(counts: Mapping[K, int], new: Counter[K]) -> Mapping[K, int]:
    return MappingProxyType(Counter(counts) + new) if new else counts
