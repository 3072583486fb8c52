"""The course of things in a time: what has changed, and how everything stood before.

Each look is for one component and one type of event, which the index answers: a week costs what is told of it, not what was
stored. What is closer together than can be drawn is told once where there is very much.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from resilience.events import Event, EventType

MOST: Final = 2_000
"""Events of a course that are all told; of more, those that are far enough apart."""
MOST_COMPONENTS: Final = 8
"""Of each family, components that are told of."""
_MOST_STEPS: Final = 20_000
FAMILIES: Final = {
    name: tuple(one.value for one in EventType if one.value.startswith(f"{name}."))
    for name in ("level", "circuit", "heal", "process", "agent", "app", "journal")
}
"""The types of events that say how something stands, by what it is."""
NEXT_COMPONENT: Final = "SELECT component FROM events WHERE component > ? ORDER BY component LIMIT 1"
NEXT_TYPE: Final = "SELECT type FROM events WHERE component = ? AND type > ? ORDER BY type LIMIT 1"
_OF: Final = "FROM events WHERE component = ? AND type = ? AND at >= ? AND at < ?"
COUNT: Final = f"SELECT count(*), max(at) {_OF}"
ALL: Final = f"SELECT id {_OF}"
THINNED: Final = f"SELECT id, max(at) {_OF} GROUP BY substr(at, 1, ?)"
BEFORE: Final = "SELECT id FROM events WHERE component = ? AND type = ? AND at < ? ORDER BY at DESC LIMIT 1"
TROUBLES: Final = """
    SELECT fingerprint, kind, type, severity, component, operation, message, lately.count, first_at, last_at, last_id FROM (
        SELECT fingerprint, sum(count) AS count FROM minutes WHERE minute >= ? AND minute < ?
        GROUP BY fingerprint ORDER BY 2 DESC, 1 LIMIT ?) AS lately
    JOIN groups USING (fingerprint) ORDER BY lately.count DESC, last_id DESC"""


class Course(NamedTuple):
    """What has changed in a time.

    ``events`` are in order; ``before`` is what each component had last before that, family by family. ``left_out`` is how many
    components of each family changed and are not told of; ``begun`` is when the journal's first event was.
    """

    before: tuple[Event, ...]
    events: tuple[Event, ...]
    left_out: Mapping[str, int]
    begun: str | None


class Chosen(NamedTuple):
    """The ids of the events of a course, and how many components of each family are left out."""

    before: list[int]
    events: list[int]
    left_out: Mapping[str, int]


def chosen(conn: sqlite3.Connection, since: str, until: str, known: Mapping[str, Collection[str]], digits: int) -> Chosen:
    """What is told of the time from ``since`` to ``until`` (ISO 8601 text as stored): of each family what changed last.

    Args:
        known: components by their family, which are told of whether they changed or not; they come first.
        digits: where there is very much, of events of one sort whose times begin with the same so many characters the last one.
    """
    counts: dict[tuple[str, str], int] = {}
    last: dict[str, dict[str, str]] = {name: dict.fromkeys(known.get(name, ()), "") for name in FAMILIES}
    for component, kind in _pairs(conn):
        if kind in FAMILIES.get(family(kind), ()):
            number, at = conn.execute(COUNT, [component, kind, since, until]).fetchone()
            if number:
                counts[component, kind] = number
                of = last[family(kind)]
                of[component] = max(at, of.get(component, ""))
    told: dict[str, list[str]] = {}
    for name, components in last.items():
        first = {*known.get(name, ())}
        newest = sorted(components, key=components.__getitem__, reverse=True)
        told[name] = [*(one for one in newest if one in first), *(one for one in newest if one not in first)][:MOST_COMPONENTS]
    pairs = [(component, kind) for name, of in told.items() for component in of for kind in FAMILIES[name]]
    is_much = sum(counts.get(pair, 0) for pair in pairs) > MOST
    events: list[int] = []
    for pair in pairs:
        if pair in counts:
            sql, more = (THINNED, [digits]) if is_much else (ALL, [])
            events += [row[0] for row in conn.execute(sql, [*pair, since, until, *more])]
    before = [row[0] for pair in pairs for row in conn.execute(BEFORE, [*pair, since])]
    left = {name: len(of) - MOST_COMPONENTS for name, of in last.items() if len(of) > MOST_COMPONENTS}
    return Chosen(before, events, left)


def latest(events: Iterable[Event]) -> tuple[Event, ...]:
    """Of each family and component the last one, in order."""
    found = {(family(one.type), one.component): one for one in sorted(events, key=in_order)}
    return tuple(sorted(found.values(), key=in_order))


def family(kind: str) -> str:
    """What a type of event belongs to."""
    return kind.partition(".")[0]


def in_order(one: Event) -> tuple[str, int]:
    """By time; what was written down later, as after a time without a disk, stands where it belongs."""
    return one.at, one.id


def _pairs(conn: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Each component with each type of event that it has: from one to the next, past all the events between."""
    component, kind = "", ""
    for _ in range(_MOST_STEPS):
        row = conn.execute(NEXT_TYPE, [component, kind]).fetchone()
        if row is not None:
            kind = row[0]
            yield component, kind
        elif (following := conn.execute(NEXT_COMPONENT, [component]).fetchone()) is not None:
            component, kind = following[0], ""
        else:
            return
