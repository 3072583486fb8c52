"""What waits for the user: what is wrong, why, and what to do. Pure."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from resilience.alerting.alerts import Alert, Cause
from resilience.context import ErrorSeverity
from resilience.core.services import Probed
from resilience.healing.heals import Heal, HealState
from resilience.isolation.isolated import Isolated
from resilience.processes.status import ProcessStatus
from resilience.processes.supervision import ProcessState

JOURNAL: Final = "journal"
"""The name of the notice that the journal cannot be written."""
BACKUP: Final = "journal_backup"
"""The name of the notice that it cannot be backed up."""
BRINGING_BACK: Final = "What can still be read of it is being brought back."


class Notice(Struct, frozen=True, kw_only=True):
    """Something that waits for the user: what, why, what to do, and the page on which to do it, if there is one.

    ``component`` is what it is about, where that is not what follows the colon in ``name``.
    """

    name: str
    what: str
    cause: str
    action: str
    page: str = ""
    component: str = ""


def of_process(process: ProcessStatus) -> Notice:
    """What is said of a process that only a person can help."""
    if process.state is ProcessState.FAILED:
        what, action = f"The process {process.name} has failed.", "Mend the cause, then start it again on the page Processes."
    else:
        what, action = f"The process {process.name} cannot start.", "End the other program, or give one of them another port."
    cause = _sentence(process.needs_you)
    return Notice(name=f"process:{process.name}", what=what, cause=cause, action=action, page=f"/processes/{process.name}")


def of_isolation(one: Isolated) -> Notice:
    """What is said of something that WinClaw has isolated by itself."""
    by_itself = f" It ends by itself at {one.until:%H:%M} UTC." if one.until is not None else ""
    return Notice(
        name=f"isolated:{one.component}", what=f"{one.component} was isolated.", cause=_ended(one.reason),
        action=f"Look at it, then release it on the page Circuits.{by_itself}", page="/circuits",
    )  # fmt: skip


def of_heal(heal: Heal) -> Notice:
    """What is said of a heal that waits for a person."""
    if heal.state is HealState.WAITING:
        what, cause = f"A heal of {heal.target} waits for your approval: {heal.action.value.replace('_', ' ')}.", heal.trigger
        action = "Approve or reject it on the page Healing."
    else:
        what, cause = f"{heal.target} could not be healed.", f"{heal.trigger} {heal.verification}"
        action = "Mend it, then dismiss this on the page Healing."
    page = f"/healing/{heal.id}"
    return Notice(name=f"heal:{heal.id}", what=what, cause=cause, action=action, page=page, component=heal.target)


def of_probe(name: str, probe: Probed) -> Notice:
    """What is said of a probe that fails and belongs to no service."""
    cause, action = _sentence(probe.what), "Mend the cause; this goes by itself."
    return Notice(name=f"probe:{name}", what=f"{name} is not well.", cause=cause, action=action)


def of_channel(name: str, why: str) -> Notice:
    """What is said of a channel whose last alert did not arrive."""
    return Notice(
        name=f"channel:{name}", what=f"Alerts by {name} do not arrive.", cause=_sentence(why),
        action="Mend that, then test it on the page Alerts.", page="/alerts", component="alerts",
    )  # fmt: skip


def of_alert(alert: Alert) -> Notice:
    """What is said of an alert that nobody has acknowledged."""
    cause = alert.cause
    return Notice(
        name=cause.about, what=_ended(cause.title), cause=_ended(cause.message), page=f"/alerts#alert-{alert.id}",
        action="Acknowledge it on the page Alerts.",
    )  # fmt: skip


def cause_of(notice: Notice, severity: ErrorSeverity) -> Cause:
    """What waits for the user, as the cause of an alert."""
    kind, _, name = notice.name.partition(":")
    return Cause(
        about=notice.name, title=notice.what.rstrip("."), message=f"{notice.cause} {notice.action}", severity=severity,
        component=notice.component or name or kind, page=notice.page or "/",
    )  # fmt: skip


def _sentence(text: str) -> str:
    return _ended(f"{text[:1].upper()}{text[1:]}")


def _ended(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def of_refusal(cause: str, *, loses_safe_mode: bool) -> Notice:
    """What is said where the journal cannot be written; ``loses_safe_mode``: it has yet to learn that Safe Mode is on."""
    return Notice(
        name=JOURNAL,
        what="WinClaw cannot write to its journal.",
        cause=cause,
        action="Free some disk space, mend the folder's rights, or end the program that holds the file. WinClaw goes on from "
        "memory: it writes down later what happens, errors wait with the agents, and commands are refused"
        + ("; Safe Mode is on, but would not survive a restart." if loses_safe_mode else "."),
    )


def without(notices: tuple[Notice, ...], name: str) -> tuple[Notice, ...]:
    """``notices`` but for the one of this name."""
    return tuple(one for one in notices if one.name != name)


def of_backup(why: str) -> Notice:
    """What is said where the journal cannot be backed up."""
    return Notice(
        name=BACKUP, what="The journal could not be backed up.", cause=_sentence(why),
        action="Free some disk space or mend the folder's rights; it is tried again. Older backups are kept.",
    )  # fmt: skip


def of_damage(file: str, kept_as: str, outcome: str = BRINGING_BACK) -> Notice:
    """What is said of a journal that was set aside, and of what was brought back; both are names of files."""
    return Notice(
        name="journal_set_aside",
        what="The journal was damaged. It was set aside, and a new one begun.",
        cause=f"{file} could not be read any more; it is kept as {kept_as}. {outcome[:1].upper()}{outcome[1:]}",
        action="Check the disk. What agents have not had acknowledged, they send again.",
    )
