"""The steps of a transaction: what is to be undone, in which order, by what, and what a person is left with (§9). Pure."""

from __future__ import annotations

import functools
import json
from collections.abc import Container, Iterable, Sequence
from enum import Enum, auto
from typing import Any, ClassVar, Final, Literal, NamedTuple, assert_never

from resilience.context import ErrorImpact, ErrorSeverity, message_of
from resilience.errors import WinClawError
from resilience.exact import InexactError, exact_json
from resilience.redaction import Redactor

StepState = Literal["begun", "done", "undone", "failed"]
PAUSES_S: Final = (0.5, 1.0, 2.0)
"""Between the tries of a compensation that fails, so that there is one try more."""
MAX_STEPS: Final = 10_000
MAX_KEPT_KB: Final = 256
_MAX_NAME: Final = 200
_MAX_WHY: Final = 500
_MAX_READ: Final = 20_000


class Step(NamedTuple):
    """A step as it stands in the file.

    Attributes:
        number: 1 for the transaction's first. name: of the function that does it.
        undo: the name of its compensation, empty if it needs none. registered: whether that outlives the process.
        key: its idempotency key; empty: it stands for a part that has failed, behind the steps of that.
        state: ``begun`` stands before the call, ``done`` after it; a process that dies in between leaves it in doubt.
            ``failed``: it has not happened.
        kept: what its compensation is given, as JSON; None where nothing was kept. Of one that has failed under the
            transaction's key: what it raised.
        why: why it was left undone; empty if it was not.
    """

    number: int
    name: str
    undo: str = ""
    registered: bool = False
    key: str = ""
    state: StepState = "begun"
    kept: str | None = None
    why: str = ""


class Way(Enum):
    """What there is to do about a step, if its transaction is to be undone."""

    NOTHING = auto()
    UNDO = auto()
    ASK = auto()
    """Nobody wrote down whether it happened; its compensation can find out."""
    DOUBT = auto()
    """Nobody wrote down whether it happened, and nobody can say."""
    LOST = auto()
    """What would undo it was known to its own process alone."""
    MISSING = auto()
    """Its compensation is not registered in this process yet."""


class Left(NamedTuple):
    """A step that is not undone: for a person, unless the next try succeeds.

    Attributes: those of ``Step``. in_doubt: nobody knows whether it happened at all.
    """

    number: int
    name: str
    undo: str
    key: str
    kept: str | None
    in_doubt: bool
    why: str

    def __str__(self) -> str:
        happened = "may have happened" if self.in_doubt else f"kept {self.kept[:100]}" if self.kept is not None else "happened"
        return f"step {self.number} {self.name} ({happened}, key {self.key}, undone by {self.undo}): {self.why}"


class CompensationFailedError(WinClawError):
    """Steps of a transaction are left undone, and a person has to see to them. Its cause is the first failure.

    Attributes:
        transaction: the transaction's name. id: for ``transactions.dismiss``. left: the steps, newest first.
    """

    kind = "compensation_failed"
    severity: ClassVar[ErrorSeverity] = ErrorSeverity.CRITICAL
    impact: ClassVar[ErrorImpact] = ErrorImpact.SINGLE_COMPONENT
    transaction: str = ""
    id: str = ""
    left: tuple[Left, ...] = ()


class StepResultError(ValueError):
    """What a step gave cannot be kept as it is, so its compensation could not be given it later."""


class TransactionReplayError(ValueError):
    """A transaction that is committed under this key had other steps, or one that failed and can only fail again."""


class ReplayedFailureError(TransactionReplayError):
    """A step or part failed before its transaction was committed under this key, so it fails in each replay, too.

    Attributes:
        was: the class and the words of the error that it raised then.
    """

    was: str = ""


def way_of(step: Step, *, can_undo: bool, can_find: bool) -> Way:
    """What there is to do about ``step``.

    Args:
        can_undo: whether its compensation is at hand. can_find: whether that can say if a step has happened.
    """
    if not step.undo or step.state in ("undone", "failed"):
        return Way.NOTHING
    if not can_undo:
        return Way.MISSING if step.registered else Way.LOST
    if step.state == "done":
        return Way.UNDO
    return Way.ASK if can_find else Way.DOUBT


def why_left(way: Way, step: Step) -> str:
    """Why a step is left undone without a try; empty if it is not."""
    match way:
        case Way.NOTHING | Way.UNDO | Way.ASK:
            return ""
        case Way.DOUBT:
            return f"it was interrupted, and nothing can say whether it happened: {step.undo} has no found="
        case Way.LOST:
            doubt = "; it was interrupted, and may not have happened" if step.state == "begun" else ""
            return f"{step.undo} is not registered, and was known to the process that ended only{doubt}"
        case Way.MISSING:
            return f"{step.undo} is not registered in this process"
        case _:  # pragma: no cover
            assert_never(way)


def missing(steps: Iterable[Step], registered: Container[str]) -> list[str]:
    """The compensations that ``steps`` need and that are not ``registered`` yet, each once, the newest step's first."""
    return list(dict.fromkeys(
        step.undo for step in newest_first(steps)
        if way_of(step, can_undo=step.undo in registered, can_find=False) is Way.MISSING
    ))  # fmt: skip


def is_news(ways: Iterable[tuple[Step, Way]]) -> bool:
    """Whether a transaction that was left is worth a pass over its steps.

    So it is where something can be tried, where something is left of which nobody was told, and where nothing is to be
    undone at all, so that it can be ended.
    """
    open_ones = [(step, way) for step, way in ways if way is not Way.NOTHING]
    return not open_ones or any(way in (Way.UNDO, Way.ASK) or not step.why for step, way in open_ones)


def newest_first(steps: Iterable[Step]) -> list[Step]:
    """In the order in which they are undone."""
    return sorted(steps, key=lambda step: step.number, reverse=True)


def left_of(steps: Iterable[Step]) -> tuple[Left, ...]:
    """What is left of ``steps`` when as many as possible are undone, newest first: those that say why."""
    return tuple(
        Left(step.number, step.name, step.undo, step.key, step.kept, step.state == "begun", step.why)
        for step in newest_first(steps)
        if step.why
    )


def failure(transaction: str, id_: str, left: Sequence[Left], cause: BaseException | None = None) -> CompensationFailedError:
    """The error that names each step of ``left``. cause: why the first of them was not undone."""
    number = len(left)
    error = CompensationFailedError(
        f"the transaction {transaction!r} ({id_}) is not wholly undone: {number} step{'s are' if number > 1 else ' is'} left; "
        + "; ".join(map(str, left[:20]))
        + (f"; and {number - 20} more" if number > 20 else "")
    )
    error.transaction, error.id, error.left = transaction, id_, tuple(left)
    error.__cause__ = cause
    return error


def kept_text(value: Any, step: str) -> str:
    """``value`` as the JSON that is kept for the compensation of ``step``.

    Raises:
        StepResultError: JSON cannot hold it exactly, or it is too large.
    """
    try:
        text = exact_json(value, "result")
    except InexactError as error:
        raise StepResultError(f"what the step {step} gave cannot be kept: {error}; or say by keep= what of it to keep") from error
    if len(text) > MAX_KEPT_KB * 1000:
        raise StepResultError(
            f"what the step {step} gave is too large: {len(text) / 1000:.1f} kB as JSON, and {MAX_KEPT_KB} kB is the limit; "
            "say by keep= what of it to keep"
        )
    return text


def checked_text(what: str, text: object) -> str:
    """``text``, if it can be the name or key of something.

    Raises:
        ValueError: it is no text of 1 to 200 characters. TypeError: it is none at all.
    """
    if not isinstance(text, str):
        raise TypeError(f"{what} is a text of 1 to {_MAX_NAME} characters, not {type(text).__name__}")
    if not 1 <= len(text) <= _MAX_NAME:
        raise ValueError(f"{what} has 1 to {_MAX_NAME} characters; it has {len(text)}: {text[:40]!r}")
    if "\0" in text or any("\ud800" <= one <= "\udfff" for one in text):
        raise ValueError(f"{what} {text!r} holds a NUL or half a character, which no file keeps")
    return text


def replayed(step: Step | None, number: int, name: str, committed_at: str) -> str | None:
    """What was kept of the step that a committed transaction had at this place, as JSON.

    Raises:
        TransactionReplayError: there it had another step, or none. ReplayedFailureError: the step, or its part, failed there.
    """
    told = f"the transaction was committed at {committed_at} under this key"
    if step is None:
        raise TransactionReplayError(f"{told}, with no step {number}, and {name} is asked for; take another key for other steps")
    if is_part(step):
        raise failed_before(step, committed_at)
    if step.name != name:
        raise TransactionReplayError(f"{told}; its step {number} was {step.name}, not {name}; take another key for other steps")
    if step.state == "done" or (step.state == "undone" and step.kept is not None):  # with its part, which will fail, too
        return step.kept
    raise failed_before(step, committed_at)


def is_part(step: Step) -> bool:
    """Whether it stands for a part that has failed."""
    return not step.key


def failed_before(step: Step, committed_at: str) -> ReplayedFailureError:
    """The error that a replay raises where ``step``, or the part for which it stands, had failed."""
    said = json.loads(step.kept) if step.state == "failed" and step.kept is not None else ""
    was = said if isinstance(said, str) else ""
    what = f"its part {step.name!r}" if is_part(step) else f"its step {step.number} ({step.name})"
    error = ReplayedFailureError(
        f"the transaction was committed at {committed_at} under this key; {what} had failed then, and is not called again"
        + (f": {was}" if was else "")
    )
    error.was = was
    return error


def words(error: BaseException) -> str:
    """What is noted of a failure, and shown: without secrets."""
    said = f"{type(error).__name__}: {message_of(error)}"[:_MAX_READ].replace("\0", "\N{SYMBOL FOR NULL}")
    return _redactor().text(said)[:_MAX_WHY]


@functools.cache
def _redactor() -> Redactor:
    return Redactor()
