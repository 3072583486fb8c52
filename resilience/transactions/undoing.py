"""Undoing steps, newest first: each compensation is tried a few times, and what cannot be undone holds nothing else up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from resilience.transactions.asked import Asked, step_name
from resilience.transactions.driving import Call, Pause, Plan
from resilience.transactions.steps import PAUSES_S, Step, Way, way_of, why_left, words

_KEPT: Final = object()
_TRIES: Final = 3


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


def live_of(step: Step, asked: Asked, known: Compensation | None) -> Live:
    """``step``, with what undoes it. known: the compensation as which its ``undo`` is registered.

    Raises:
        TypeError: ``found`` is of no use.
    """
    if asked.undo is None:
        if asked.found is not None:
            raise TypeError(f"found= of the step {step.name} says whether to undo it, so it needs undo=")
        return Live(step, None, None)
    if known is not None:
        return Live(step._replace(undo=known.name, registered=True), asked.undo, asked.found or known.found)
    return Live(step._replace(undo=step_name(asked.undo)), asked.undo, asked.found)


def kept_of(asked: Asked, live: Live, result: Any) -> Any:
    """What of ``result`` is to be kept; whatever ``keep`` raises is raised, and the step is in doubt then."""
    if asked.keep is None:
        return result
    try:
        return asked.keep(result)
    except BaseException as error:
        live.doubt = f"it happened, but what to keep of it is not known, for keep= raised {words(error)}"
        raise


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
        todo = sorted(lives, key=lambda live: live.step.number)
        while todo:
            try:
                yield from self.one(todo[-1])
                todo.pop()
            except (Exception, GeneratorExit):
                raise
            except BaseException as error:  # between two calls: what was undone is not undone again
                self._note(error)

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
        self.through(lambda: self._record(live.to_write()))

    def through(self, work: Callable[[], object]) -> None:
        """Does ``work``, which may be done twice: an exit in the middle of it is raised after the last step, as all are."""
        for _ in range(_TRIES):
            try:
                work()
            except Exception:
                raise
            except BaseException as error:
                self._note(error)
            else:
                return

    def raise_after(self, error: BaseException) -> None:
        """Raises the exit or cancellation that came while steps were undone, unless ``error``, which is raised anyway, is one."""
        if self.interrupt is not None and isinstance(error, Exception):
            raise self.interrupt from error

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
