"""Undoing steps, newest first: each compensation is tried a few times, and what cannot be undone holds nothing else up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from resilience.transactions.driving import Call, Pause, Plan
from resilience.transactions.steps import PAUSES_S, Step, Way, way_of, why_left, words

_KEPT: Final = object()


class Compensation(NamedTuple):
    """What undoes a step, by the name under which it is registered. found: whether the step of a key has happened."""

    name: str
    undo: Callable[..., Any]
    found: Callable[..., Any] | None = None


class Live:
    """A step, and what is at hand in this process to undo it.

    Attributes:
        value: what the step gave, if it could not be kept. doubt: why it is in doubt, if there is a reason of its own.
    """

    __slots__ = ("doubt", "found", "step", "undo", "value")

    def __init__(self, step: Step, undo: Callable[..., Any] | None, found: Callable[..., Any] | None) -> None:
        self.step, self.undo, self.found = step, undo, found
        self.value: Any = _KEPT
        self.doubt = ""

    @property
    def way(self) -> Way:
        return way_of(self.step, can_undo=self.undo is not None, can_find=self.found is not None)

    def to_write(self) -> Step:
        """The step as it may stand in the file: one whose result was not kept is in doubt for the next process."""
        unkept = self.value is not _KEPT and self.step.state == "done"
        return self.step._replace(state="begun") if unkept else self.step


class Undoing:
    """One pass over steps that are to be undone.

    Args:
        record: told of each step that stands elsewhere now.

    Attributes:
        undone: the names of what was undone, in that order. tried: the numbers of the steps of which something was called.
        cause: the first failure. interrupt: the first cancellation or exit on the way, which comes after the last step.
    """

    def __init__(self, record: Callable[[Step], object]) -> None:
        self._record = record
        self.undone: list[str] = []
        self.tried: set[int] = set()
        self.cause: BaseException | None = None
        self.interrupt: BaseException | None = None

    def all(self, lives: Iterable[Live]) -> Plan[None]:
        """Undoes what of ``lives`` is to be undone, newest first."""
        for live in sorted(lives, key=lambda live: live.step.number, reverse=True):
            yield from self.one(live)

    def one(self, live: Live) -> Plan[None]:
        """Undoes a step, if it is to be undone; afterwards it is undone, has not happened, or says why it is left."""
        way, step = live.way, live.step
        if way is Way.NOTHING:
            return
        if way in (Way.UNDO, Way.ASK):
            self.tried.add(step.number)
            yield from self._try(live)
        else:
            live.step = step._replace(why=(live.doubt if way is Way.DOUBT else "") or why_left(way, step))
        self._record(live.to_write())

    def _try(self, live: Live) -> Plan[None]:
        for pause_s in (*PAUSES_S, None):
            try:
                value = yield from _value_of(live)
                if value is _NOTHING:
                    live.step = live.step._replace(state="failed", why="")
                    return
                yield Call(live.undo or _nobody, (value,))
            except GeneratorExit:
                raise
            except BaseException as error:  # an exit in the middle, too: steps are undone all the same, and it is raised then
                self._note(error)
                live.step = live.step._replace(why=words(error))
            else:
                live.step = live.step._replace(state="undone", why="")
                self.undone.append(live.step.name)
                return
            if pause_s is not None:
                yield from self._rest(pause_s)

    def _rest(self, pause_s: float) -> Plan[None]:
        try:
            yield Pause(pause_s)
        except GeneratorExit:
            raise
        except BaseException as error:  # whoever has no patience has the next try at once
            self._note(error)

    def _note(self, error: BaseException) -> None:
        self.cause = self.cause or error
        if not isinstance(error, Exception):
            self.interrupt = self.interrupt or error


_NOTHING: Final = object()


def _value_of(live: Live) -> Plan[Any]:
    """What the compensation is given; ``_NOTHING`` where the step turns out not to have happened."""
    if live.way is Way.ASK:
        try:
            return (yield Call(live.found or _nobody, (live.step.key,)))
        except LookupError:
            return _NOTHING
    return live.value if live.value is not _KEPT else None if live.step.kept is None else _read(live.step.kept)


def _read(kept: str) -> Any:
    import json  # noqa: PLC0415 -- who undoes nothing needs none of it

    return json.loads(kept)


def _nobody(_: object) -> None:
    raise AssertionError("there is nobody to call")  # pragma: no cover -- the way of a step says so before
