"""What changed in a time, and how it had stood before: from the journal, by its index."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from resilience.clock import as_text
from resilience.journal import course
from resilience.journal.history import History
from resilience.journal.journal import Journal
from resilience.journal.schema import EventRecord
from tests.resilience.records import NOW, an_error

HOUR = timedelta(hours=1)


@pytest.fixture
def history(journal: Journal) -> Iterator[History]:
    opened = History(journal.path)
    yield opened
    opened.close()


def at(minutes: float) -> str:
    """So many minutes after the window has begun."""
    return as_text(NOW + timedelta(minutes=minutes))


def happened(minutes: float, kind: str, component: str = "gpt-5.2") -> EventRecord:
    return EventRecord(at(minutes), kind, component, b"{}")


def told(history: History, known: dict[str, list[str]] | None = None, digits: int = 16) -> tuple[list[str], list[str]]:
    """What is told of an hour: how it stood before, and what changed."""
    found = history.course(as_text(NOW), as_text(NOW + HOUR), known or {}, digits)
    return [f"{one.component} {one.type}" for one in found.before], [f"{one.component} {one.type}" for one in found.events]


def test_of_what_changed_it_is_told_how_it_had_stood_before_and_of_nothing_else(journal: Journal, history: History) -> None:
    journal.commit([
        happened(-90, "circuit.opened"), happened(-80, "circuit.half_open"), happened(-70, "circuit.opened", "quiet"),
        happened(5, "circuit.closed"), happened(3, "level.changed", "level"), happened(60, "circuit.opened"),
        happened(4, "command", "level"), an_error(at=at(6)),
    ])  # fmt: skip
    assert told(history) == (["gpt-5.2 circuit.half_open"], ["level level.changed", "gpt-5.2 circuit.closed"])


def test_what_is_known_to_matter_is_told_of_though_it_did_not_change(journal: Journal, history: History) -> None:
    """A circuit that has been open for days has no event in the window, and stands in it all the same."""
    journal.commit([happened(-9000, "circuit.opened", "old")])
    assert told(history, {"circuit": ["old", "never heard of"]}) == (["old circuit.opened"], [])


def test_the_families_of_one_component_are_kept_apart(journal: Journal, history: History) -> None:
    journal.commit([
        happened(-2, "process.started", "ollama"), happened(-3, "circuit.opened", "ollama"), happened(1, "circuit.closed", "ollama"),
    ])  # fmt: skip
    assert told(history) == (["ollama circuit.opened"], ["ollama circuit.closed"])
    assert told(history, {"process": ["ollama"]})[0] == ["ollama circuit.opened", "ollama process.started"]


def test_of_too_many_components_those_that_changed_last_are_told_of_and_the_known_ones(journal: Journal, history: History) -> None:
    names = [f"c{number:02}" for number in range(course.MOST_COMPONENTS + 3)]
    journal.commit([happened(number, "circuit.opened", name) for number, name in enumerate(names)])
    found = history.course(as_text(NOW), as_text(NOW + HOUR), {"circuit": ["c00"]}, 16)
    assert [one.component for one in found.events] == ["c00", *names[-course.MOST_COMPONENTS + 1 :]]
    assert found.left_out == {"circuit": 3}


def test_where_there_is_very_much_the_last_of_each_sort_and_minute_is_told(journal: Journal, history: History) -> None:
    kinds = ("circuit.opened", "circuit.closed")
    many = [happened(number * 50 / course.MOST, kinds[number % 2]) for number in range(course.MOST + 2)]
    journal.commit(many)
    found = history.course(as_text(NOW), as_text(NOW + HOUR), {}, 16).events
    assert len(found) == 2 * 51
    assert [one.at for one in found[-2:]] == [one.at for one in many[-2:]]
    del many[course.MOST :]
    journal.commit(many)  # now there are some more
    assert len(history.course(as_text(NOW), as_text(NOW + HOUR), {}, 13).events) == 2


def test_what_was_written_later_stands_where_it_belongs(journal: Journal, history: History) -> None:
    journal.commit([happened(9, "circuit.closed"), happened(8, "circuit.opened"), happened(-1, "circuit.half_open")])
    assert told(history) == (["gpt-5.2 circuit.half_open"], ["gpt-5.2 circuit.opened", "gpt-5.2 circuit.closed"])


@pytest.mark.parametrize("name", ["", "\U0010ffff", "'; DROP TABLE events; --", "a\x00b", "%", "\u202eevil"])
def test_no_name_hides_others(journal: Journal, history: History, name: str) -> None:
    journal.commit([happened(1, "agent.connected", one) for one in ("a", name, "z")])
    found = history.course(as_text(NOW), as_text(NOW + HOUR), {}, 16).events
    assert {one.component for one in found} >= {"a", "z"} | ({name} - {""})


def test_it_is_said_when_the_journal_begins(journal: Journal, history: History) -> None:
    assert history.course(as_text(NOW), as_text(NOW + HOUR), {}, 16).begun is None
    journal.commit([happened(-500, "app.started", "winclaw"), happened(1, "level.changed", "level")])
    assert history.course(as_text(NOW), as_text(NOW + HOUR), {}, 16).begun == at(-500)


@pytest.mark.parametrize(
    ("sql", "bound"),
    [(course.NEXT_COMPONENT, "component>?"), (course.NEXT_TYPE, "component=? AND type>?"), (course.BEFORE, "component=? AND type=? AND at<?"),
     *((sql, "component=? AND type=? AND at>? AND at<?") for sql in (course.COUNT, course.ALL, course.THINNED))],
)  # fmt: skip
def test_however_many_events_there_are_the_index_alone_answers(journal: Journal, history: History, sql: str, bound: str) -> None:
    """A hundred thousand events, or a million, are not looked through for the few that are told."""
    with history._reading() as conn:
        plan = [row["detail"] for row in conn.execute(f"EXPLAIN QUERY PLAN {sql}", ["x"] * sql.count("?"))]
    assert plan[0] == f"SEARCH events USING COVERING INDEX events_component ({bound})"
    assert all("SCAN" not in step for step in plan)


def test_troubles_of_a_time_are_counted_from_the_minutes_the_most_frequent_first(journal: Journal, history: History) -> None:
    journal.commit([an_error(at=at(minute), fingerprint=of) for minute, of in ((0, "a"), (5, "a"), (5.5, "b"), (6, "b"), (6.9, "b"), (7, "a"))])
    found = history.troubles(at(5), at(7))
    assert [(one["fingerprint"], one["count"], one["severity"]) for one in found] == [("b", 3, "WARNING"), ("a", 1, "WARNING")]
    assert [one["fingerprint"] for one in history.troubles(at(5), at(7), 1)] == ["b"]
    with history._reading() as conn:
        plan = [row["detail"] for row in conn.execute(f"EXPLAIN QUERY PLAN {course.TROUBLES}", ["x", "y", 3])]
    assert "SEARCH minutes USING PRIMARY KEY (minute>? AND minute<?)" in plan
    assert "SEARCH groups USING PRIMARY KEY (fingerprint=?)" in plan


def test_errors_of_all_components_are_told_where_none_is_named(journal: Journal, history: History) -> None:
    journal.commit([an_error(component="a", at=at(1)), an_error(component="b", at=at(2)), happened(3, "level.changed")])
    assert [one.component for one in history.between(at(0), at(5), None)] == ["a", "b", "gpt-5.2"]
    assert [one.component for one in history.between(at(0), at(5), ["b"])] == ["b", "gpt-5.2"]
