"""How the services are, as rules for the level see it (§5.2). Plain data, and counts over a window of time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, NamedTuple

from resilience.errors import TAXONOMY

BRANCHES: Final = frozenset(one.kind for one in TAXONOMY.values() if "." not in one.kind)
"""The taxonomy's main branches, e.g. ``security``: rules may count their errors as they count a service's."""
_BUCKETS: Final = 30


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """How one service is (§5.2).

    Attributes:
        last_check: aware, in UTC. error_count: errors within the window of time that rules look at.
        response_time_ms: 95 of 100 calls took no longer. circuit_state: e.g. ``OPEN``; None where there is no circuit.
        error_rate: the share of calls that failed within the window, 0 to 1.
        unhealthy_for_s: seconds; 0 while it is healthy. because: why it is not, in words.
    """

    service_name: str
    is_healthy: bool
    last_check: datetime
    error_count: int = 0
    response_time_ms: float = 0.0
    circuit_state: str | None = None
    error_rate: float = 0.0
    unhealthy_for_s: float = 0.0
    because: str = ""


_NEVER: Final = datetime.min.replace(tzinfo=UTC)


class Circumstances(dict[str, ServiceHealth]):
    """What a rule's condition may ask: each service's health by name, and ``level_age_s``, the age of the level."""

    level_age_s: float = 0.0

    def of(self, service: str) -> ServiceHealth:
        """The health of ``service``; one that nobody has told of is taken for healthy."""
        return self.get(service) or ServiceHealth(service, True, _NEVER)


class Count(NamedTuple):
    """What happened within a stretch of time."""

    errors: int = 0
    calls: int = 0
    failures: int = 0


class Tally(NamedTuple):
    """Counts by name over a sliding window: frozen; each step of it is a thirtieth of the window."""

    window_s: float = 300.0
    buckets: Mapping[str, Mapping[int, Count]] = MappingProxyType({})

    def with_counts(self, counts: Iterable[tuple[str, Count]], now_s: float) -> Tally:
        """This tally after ``counts`` at the monotonic time ``now_s``; what has left the window is forgotten."""
        place, after = self._place(now_s), dict(self.buckets)
        for name, new in counts:
            kept = {at: one for at, one in after.get(name, {}).items() if at > place - _BUCKETS}
            kept[place] = _summed(kept.get(place, Count()), new)
            after[name] = kept
        return self._replace(buckets=MappingProxyType(after))

    def within_window(self, name: str, now_s: float) -> Count:
        """What the window holds for ``name``."""
        place = self._place(now_s)
        return _summed(*(one for at, one in self.buckets.get(name, {}).items() if at > place - _BUCKETS))

    def _place(self, now_s: float) -> int:
        return int(now_s / self.window_s * _BUCKETS)


def _summed(*counts: Count) -> Count:
    return Count(*map(sum, zip(*counts, strict=True)))
