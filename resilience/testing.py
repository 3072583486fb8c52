"""Fakes for users' own tests: time that moves only when told to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class FakeClock:
    """A clock that stands still until ``advance``.

    Args:
        now: the wall clock's first reading, an aware datetime.
    """

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = now
        self._monotonic = 0.0

    def monotonic(self) -> float:
        return self._monotonic

    def now(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        """Moves both clocks forward by ``seconds``.

        Raises:
            ValueError: for a negative number; time does not run backwards here.
        """
        if seconds < 0:
            raise ValueError(f"seconds must be 0 or more, not {seconds}")
        self._monotonic += seconds
        self._now += timedelta(seconds=seconds)
