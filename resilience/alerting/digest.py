"""An incident in one paragraph: what went wrong, what was done, who was told, and how it ended. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from resilience.alerting.alerts import TellingState
from resilience.alerting.incidents import Incident, belonging
from resilience.clock import as_text
from resilience.degradation.levels import DegradationLevel
from resilience.events import Event, EventType

_MOST_NAMED: Final = 3
"""Of each sort, how many a digest names."""
_LONGEST: Final = 160
_HEALS: Final = {
    EventType.HEAL_WAITING: "has waited for approval since", EventType.HEAL_STARTED: "has gone on since",
    EventType.HEAL_ENDED: "ended at", EventType.HEAL_ESCALATED: "has needed a person since",
}  # fmt: skip
_OUTCOMES: Final = {
    "healed": "ended well at", "failed": "had not helped by", "rejected": "was rejected at", "expired": "expired at",
    "interrupted": "was interrupted at",
}  # fmt: skip
_PLACES: Final = ("dashboard", "tray", "command line")


def digest(incident: Incident, events: Iterable[Event], now: datetime) -> str:
    """The incident in one paragraph of plain text: only sentences for what there is."""
    return " ".join(_Digest(incident, belonging(incident, events)).sentences(now))


class _Digest:
    """What a digest says, sentence by sentence; events may lack whatever an earlier version did not write."""

    def __init__(self, incident: Incident, events: Sequence[Event]) -> None:
        self._incident, self._events = incident, events
        self._began = as_text(incident.began)

    def sentences(self, now: datetime) -> Iterator[str]:
        yield self._beginning()
        yield from self._first_error()
        yield from self._other_alerts()
        yield from _sentence([*self._opened(), *self._fallen()])
        yield from self._heals()
        yield from _sentence([
            f"{_person(actor)} acknowledged it at {self._time(as_text(at))}" for actor, at in self._incident.acknowledged.items()
        ])  # fmt: skip
        yield from _sentence([*self._closed(), *self._full()])
        yield self._end(now)
        yield from self._told()

    def _beginning(self) -> str:
        first = self._incident.alerts[0]
        on, title = f"On {self._began[:10]} at {self._began[11:19]} UTC", _plain(first.cause.title)
        if not first.cause.about.startswith("error:"):
            return f"{on} it began: {title}."
        times = f", {first.count} times" if first.count > 1 else ""
        return f"{on} {_plain(first.cause.component)} began to fail ({title}{times})."

    def _first_error(self) -> Iterator[str]:
        first = next((one for one in self._events if one.type == EventType.ERROR), None)
        if first is not None:
            said = _plain(_text(first, "message")) or _plain(_text(first, "error_type"))
            quoted = f": “{said.rstrip('.')}”" if said else ""
            yield f"The first error came at {self._time(first.at)} from {_plain(first.component)}{quoted}."

    def _other_alerts(self) -> Iterator[str]:
        others = [_plain(one.cause.title) for one in self._incident.alerts[1:]]
        if others:
            count = "1 more alert belongs" if len(others) == 1 else f"{len(others)} more alerts belong"
            yield f"{count} to it: {_listed([*dict.fromkeys(others)])}."

    def _opened(self) -> Iterator[str]:
        opened = [one for one in self._events if one.type == EventType.CIRCUIT_OPENED]
        times = Counter(one.component for one in opened)
        first = {one.component: one for one in reversed(opened)}
        for name in times:
            again = f", {times[name]} times in all" if times[name] > 1 else ""
            yield f"the circuit of {_plain(name)} opened at {self._time(first[name].at)}{again}"

    def _closed(self) -> Iterator[str]:
        latest = {one.component: one for one in self._events if one.type.startswith("circuit.")}
        for name, one in latest.items():
            if one.type == EventType.CIRCUIT_CLOSED and one.at >= self._began:
                yield f"the circuit of {_plain(name)} closed at {self._time(one.at)}"

    def _changes(self) -> Iterator[tuple[Event, DegradationLevel, DegradationLevel]]:
        """Changes of the level: from which to which."""
        for one in self._events:
            before, after = _text(one, "from"), _text(one, "to")
            if one.type == EventType.LEVEL_CHANGED and after in DegradationLevel.__members__:
                was = before if before in DegradationLevel.__members__ else DegradationLevel.FULL.name
                yield one, DegradationLevel[was], DegradationLevel[after]

    def _fallen(self) -> Iterator[str]:
        falls = [(one, after) for one, before, after in self._changes() if after.value > before.value]
        if falls:
            one, lowest = max(falls, key=lambda fall: fall[1].value)
            yield f"the level fell to {lowest.title} at {self._time(one.at)}"

    def _full(self) -> Iterator[str]:
        for one, _, after in [*self._changes()][-1:]:
            if after is DegradationLevel.FULL and one.at >= self._began:
                yield f"the level was Full again at {self._time(one.at)}"

    def _heals(self) -> Iterator[str]:
        latest = {_number(one): one for one in self._events if one.type in _HEALS}
        said = [self._heal(number, one) for number, one in latest.items()]
        if len(said) > _MOST_NAMED:
            yield f"Of {len(said)} heals these were the last: {'; '.join(said[-_MOST_NAMED:])}."
        else:
            yield from _sentence(said)

    def _heal(self, number: str, event: Event) -> str:
        action = _plain(_text(event, "action").replace("_", " "))
        what = f"heal {number}" if number else "a heal"
        is_over = event.type == EventType.HEAL_ENDED
        became = _OUTCOMES.get(_text(event, "outcome") if is_over else "", _HEALS[EventType(event.type)])
        return f"{what}{f' ({action})' if action else ''} {became} {self._time(event.at)}"

    def _end(self, now: datetime) -> str:
        ended, began = self._incident.ended, self._incident.began
        if ended is None:
            return f"It is not over yet, after {_long(now - began)}."
        return f"It was over at {self._time(as_text(ended))}, after {_long(ended - began)}."

    def _told(self) -> Iterator[str]:
        tellings = [telling for one in self._incident.alerts for telling in one.tellings]
        if tellings:
            channels = ", ".join(_plain(name) for name in dict.fromkeys(one.channel for one in tellings))
            count = Counter(one.state for one in tellings)
            arrived, failed = count[TellingState.DELIVERED], count[TellingState.FAILED]
            left = len(tellings) - arrived - failed
            parts = [f"{arrived or 'no'} message{'s' if arrived > 1 else ''} arrived"]
            parts += [f"{failed} did not"] if failed else []
            parts += [f"{left} on the way"] if left else []
            yield f"Told: {channels}; {', '.join(parts)}."

    def _time(self, at: str) -> str:
        """A moment, with its date if that is not the one on which it began."""
        return at[11:19] if at[:10] == self._began[:10] else f"{at[11:19]} on {at[:10]}"


def _sentence(parts: Sequence[str]) -> Iterator[str]:
    """One sentence of all parts; none of none."""
    if parts:
        said = _listed(parts)
        yield f"{said[:1].upper()}{said[1:]}."


def _listed(parts: Sequence[str]) -> str:
    more = len(parts) - _MOST_NAMED
    return "; ".join([*parts[:_MOST_NAMED], *([f"and {more} more"] if more > 0 else [])])


def _plain(text: str) -> str:
    """A text of others as part of a sentence: on one line, without what moves other text about, and not too long."""
    said = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return said if len(said) <= _LONGEST else f"{said[: _LONGEST - 1]}…"


def _text(event: Event, name: str) -> str:
    """What an event says under a name; empty where it says nothing, or no text."""
    said = event.body.get(name)
    return said if isinstance(said, str) else ""


def _number(event: Event) -> str:
    """Which heal it is; empty where the event does not say."""
    number = event.body.get("heal")
    return str(number) if isinstance(number, int) else ""


def _person(actor: str) -> str:
    return f"somebody at the {actor}" if actor in _PLACES else _plain(actor) or "somebody"


def _long(span: timedelta) -> str:
    """How long, as people say it."""
    seconds = max(span.total_seconds(), 0.0)
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"
