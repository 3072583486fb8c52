"""The core under another configuration, and what is known of its versions. No I/O: a part of ``decisions``."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from resilience.config.version import ConfigTrouble, came_into_force, with_trouble, without_version
from resilience.core import notices
from resilience.core.inputs import Configuration
from resilience.core.records import Records
from resilience.core.state import State, with_settings
from resilience.events import EventType
from resilience.journal.schema import Record


def configured(state: State, told: Configuration, records: Records, now: datetime, now_s: float) -> tuple[State, list[Record]]:
    """The state under other settings; how all stands in this moment is what their version is held against."""
    said = notices.without(state.notices, "config") + ((told.notice,) if told.notice is not None else ())
    after = replace(state, notices=said)
    if told.settings is not None:
        after = with_settings(after, told.settings)
    if told.version is None:
        gone = without_version(state.config, now, now_s) if told.is_no_version and state.config is not None else state.config
        return replace(after, config=gone), []
    in_force = came_into_force(
        state.config, told.version, state.standing.wanted.level, state.processes, now=now, now_s=now_s,
        within_s=state.settings.recovery.config_trouble_within_s,
    )  # fmt: skip
    kind = EventType.CONFIG_ROLLED_BACK if told.version.restores is not None else EventType.CONFIG_CHANGED
    event = [records.event(kind, "config", **told.told)] if told.told else []
    return replace(after, config=in_force), [*event]


def troubled(state: State, trouble: ConfigTrouble, records: Records) -> tuple[State, list[Record]]:
    """The state after trouble that followed the version in force, which comes once for each; or after a decision on it."""
    followed_by = with_trouble(state.config, trouble) if state.config is not None else None
    if state.config is None or followed_by is None:
        return state, []
    is_news = not state.config.trouble
    said = [records.event(EventType.CONFIG_TROUBLE, "config", version=trouble.version, what=trouble.what)] if is_news else []
    return replace(state, config=followed_by), [*said]
