"""What the control plane makes of what was done for the journal: it is checked, backed up, and repaired. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from resilience import home
from resilience.core import notices
from resilience.core.records import Records
from resilience.core.state import State
from resilience.events import EventType
from resilience.journal.health import BackedUp, Checked, Repaired
from resilience.journal.schema import Record


def cared(state: State, told: Checked | BackedUp | Repaired, records: Records) -> tuple[State, list[Record]]:
    """The state after that was done, and the records that it makes."""
    state = replace(state, health=state.health.after(told))
    match told:
        case Checked():
            return state, []
        case BackedUp():
            left = notices.without(state.notices, notices.BACKUP)
            said = (*left, notices.of_backup(told.why)) if told.why else left
            return (state if said == state.notices else replace(state, notices=said)), []
        case Repaired():
            notice = notices.of_damage(home.JOURNAL, told.file, told.said)
            state = replace(state, notices=(*notices.without(state.notices, notice.name), notice))
            event = records.event(
                EventType.JOURNAL_REPAIRED, "journal", message=told.said, file=told.file, errors=told.errors,
                events=told.events, from_backups=told.from_backups, lost=told.lost, gaps=told.gaps,
            )  # fmt: skip
            return state, [event]
