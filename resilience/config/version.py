"""A version of the configuration: who made it, how all stood when it came into force, and what became of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from resilience.degradation.levels import DegradationLevel
from resilience.processes.status import ProcessStatus
from resilience.processes.supervision import ProcessState

_MOST_TROUBLES: Final = 100


class ConfigVersion(Struct, frozen=True, kw_only=True):
    """One configuration that was accepted.

    ``sha256`` is of its text; ``author`` made it, and ``origin`` is from where. ``changed`` lists its settings that were others
    before, without secrets. ``replaces`` is the version before it. One that has the text of an earlier version ``restores``
    that, and says ``because`` of what. ``file_sha256`` is what the user's file held, where that was left as it was.
    """

    number: int = field(name="version")
    sha256: str
    author: str
    origin: str = ""
    changed: tuple[str, ...] = ()
    replaces: int | None = None
    restores: int | None = None
    because: str = ""
    file_sha256: str | None = None


class ConfigTrouble(Struct, frozen=True):
    """What followed a version, and since when that is known; ``offered``: whether going back has been decided on, either way."""

    version: int
    what: str
    at: datetime | None = None
    offered: bool = False


class InForce(Struct, frozen=True, kw_only=True):
    """The version that is in force, and how all stood when it came; kept in the journal.

    ``since_s`` is monotonic; None where an earlier life's clock does not tell. ``before`` is what it would be rolled back to;
    None: trouble is not put down to it. ``level`` is what the rules chose then, ``well`` are the processes that ran and
    answered. ``highest`` is the highest number that was given yet. ``troubles`` is what followed this version and earlier ones.
    ``changed_by`` is the version that changed something, where only comments have changed since: all else is then as of that.
    Without ``holds`` the version was the last that was in force, and the defaults are now.
    """

    version: ConfigVersion
    since: datetime
    since_s: float | None
    before: int | None
    level: DegradationLevel
    well: tuple[str, ...] = ()
    highest: int
    troubles: tuple[ConfigTrouble, ...] = ()
    changed_by: ConfigVersion | None = None
    holds: bool = True

    @property
    def blamed(self) -> ConfigVersion:
        """The version that trouble is put down to: the last one with which a setting changed."""
        return self.changed_by or self.version

    @property
    def known_trouble(self) -> ConfigTrouble | None:
        """What followed that version; None: nothing is known of."""
        return next((one for one in reversed(self.troubles) if one.version == self.blamed.number), None)

    @property
    def trouble(self) -> str:
        """The same, in words; empty: nothing is known of."""
        return self.known_trouble.what if self.known_trouble is not None else ""

    @property
    def of_versions(self) -> dict[int, str]:
        """What followed each version that trouble followed."""
        return {one.version: one.what for one in self.troubles}


def came_into_force(
    before: InForce | None,
    version: ConfigVersion,
    level: DegradationLevel,
    processes: Mapping[str, ProcessStatus],
    *,
    now: datetime,
    now_s: float,
    within_s: float,
) -> InForce:
    """What is kept of ``version``, which comes into force now.

    Of two that come in quick succession, the second does not start from the damage that the first one did: it is held against
    how all stood before both, and would be rolled back to that. What was rolled back to by anybody is not watched again. One in
    which only comments are others changes nothing of what is put down to the one before it.

    Args:
        level, processes: how all stands now. within_s: for how long trouble is put down to a version.
    """
    highest = max(before.highest if before is not None else 0, version.number)
    if before is not None and _only_comments_changed(before, version) and (is_watched(before, within_s, now_s) or before.trouble):
        return replace(before, version=version, changed_by=before.blamed, highest=highest)
    well, is_change = _well(processes), bool(version.changed) and version.restores is None
    rolls_back_to = before.version.number if before is not None and before.holds and is_change else None
    if before is not None and rolls_back_to is not None and is_watched(before, within_s, now_s):
        if level.value > before.level.value or not well.issuperset(before.well):
            rolls_back_to = before.before
        level, well = min(level, before.level, key=_depth), well.union(before.well)
    return InForce(
        version=version, since=now, since_s=now_s, before=rolls_back_to, level=level, well=tuple(sorted(well)),
        highest=highest, troubles=before.troubles if before is not None else (),
    )  # fmt: skip


def without_version(one: InForce, now: datetime, now_s: float) -> InForce:
    """What is kept while no version is in force, but the defaults are, for want of anything else."""
    return replace(one, holds=False, since=now, since_s=now_s, before=None, changed_by=None)


def begun_again(kept: InForce, now: datetime, now_s: float) -> InForce:
    """What was kept, in another life; where the clock was set back since, nobody knows how old it is."""
    age_s = (now - kept.since).total_seconds()
    return replace(kept, since_s=now_s - age_s if age_s >= 0 else None)


def is_watched(one: InForce, within_s: float, now_s: float) -> bool:
    """Whether trouble that comes now is put down to the version in force."""
    return one.before is not None and one.since_s is not None and now_s - one.since_s <= within_s


def trouble_after(one: InForce, level: DegradationLevel, processes: Mapping[str, ProcessStatus]) -> str:
    """What is worse now than when it came into force, for people; empty: nothing is.

    Args:
        level: what the rules choose now; what a person has pinned is no trouble.
    """
    return "; ".join(_worse(one, level, processes))


def has_crashed(one: InForce, crashed_at: datetime, within_s: float) -> str:
    """That a crash of WinClaw's own is put down to the version in force; empty: it is not."""
    lived_s = (crashed_at - one.since).total_seconds()
    return f"WinClaw itself crashed {lived_s:.0f} s later" if one.before is not None and 0 <= lived_s <= within_s else ""


def with_trouble(one: InForce, trouble: ConfigTrouble) -> InForce | None:
    """With what followed its version, or that going back was decided on; None: that is known, or another one is in force."""
    known = one.known_trouble
    if one.blamed.number != trouble.version or (known is not None and (known.offered or not trouble.offered)):
        return None
    others = tuple(other for other in one.troubles if other is not known)
    told = trouble if known is None else replace(known, offered=True)
    return replace(one, troubles=(*others, told)[-_MOST_TROUBLES:])


def has_lapsed(trouble: ConfigTrouble, within_s: float, now: datetime) -> bool:
    """Whether trouble is known for so long that, if it has passed since, nobody is offered to go back because of it."""
    return trouble.at is not None and (now - trouble.at).total_seconds() > within_s


def outcomes(versions: Sequence[ConfigVersion], in_force: int | None, troubles: Mapping[int, str]) -> dict[int, str]:
    """What became of each of ``versions``, in words."""
    followers = {one.replaces: one for one in sorted(versions, key=_number, reverse=True) if one.replaces is not None}
    return {one.number: "; ".join(_became(one.number, followers.get(one.number), in_force, troubles)) for one in versions}


def _became(number: int, follower: ConfigVersion | None, in_force: int | None, troubles: Mapping[int, str]) -> Iterator[str]:
    is_rolled_back = number != in_force and follower is not None and follower.restores is not None
    if number == in_force:
        yield "in force"
    if number in troubles and not (is_rolled_back and follower is not None and follower.because == troubles[number]):
        yield f"followed by trouble: {troubles[number]}"
    if number == in_force:
        return
    if follower is None:
        yield "no longer in force"
    elif follower.restores is not None:
        yield f"rolled back to {follower.restores}{': ' if follower.because else ''}{follower.because}"
    else:
        yield f"replaced by {follower.number}"


def _only_comments_changed(before: InForce, version: ConfigVersion) -> bool:
    is_next = before.holds and version.replaces == before.version.number
    return is_next and before.before is not None and not version.changed and version.restores is None


def _worse(one: InForce, level: DegradationLevel, processes: Mapping[str, ProcessStatus]) -> Iterator[str]:
    if level.value > one.level.value:
        yield f"the level became {level.title}, and was {one.level.title}"
    for name in one.well:
        process = processes.get(name)
        if process is None:
            continue
        if process.state is ProcessState.FAILED:
            yield f"the process {name}, which ran well, has failed: {process.why}"
        elif process.needs_you:
            yield f"the process {name}, which ran well, cannot start: {process.needs_you}"


def _well(processes: Mapping[str, ProcessStatus]) -> set[str]:
    return {one.name for one in processes.values() if one.state is ProcessState.RUNNING and one.ready}


def _depth(level: DegradationLevel) -> int:
    return level.value


def _number(version: ConfigVersion) -> int:
    return version.number
