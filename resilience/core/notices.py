"""What waits for the user: what is wrong, why, and what to do. Pure."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from resilience.alerting.alerts import Alert
from resilience.core.services import Probed
from resilience.healing.heals import Heal, HealState
from resilience.isolation.isolated import Isolated
from resilience.processes.status import ProcessStatus
from resilience.processes.supervision import ProcessState

JOURNAL: Final = "journal"
"""The name of the notice that the journal cannot be written."""


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
    cause = f"{process.needs_you[:1].upper()}{process.needs_you[1:]}."
    return Notice(name=f"process:{process.name}", what=what, cause=cause, action=action, page=f"/processes/{process.name}")


def of_isolation(one: Isolated) -> Notice:
    """What is said of something that WinClaw has isolated by itself."""
    by_itself = f" It ends by itself at {one.until:%H:%M} UTC." if one.until is not None else ""
    return Notice(
        name=f"isolated:{one.component}", what=f"{one.component} was isolated.", cause=f"{one.reason}.",
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
    cause = f"{probe.what[:1].upper()}{probe.what[1:]}."
    return Notice(name=f"probe:{name}", what=f"{name} is not well.", cause=cause, action="Mend the cause; this goes by itself.")


def of_channel(name: str, why: str) -> Notice:
    """What is said of a channel whose last alert did not arrive."""
    return Notice(
        name=f"channel:{name}", what=f"Alerts by {name} do not arrive.", cause=_sentence(f"{why[:1].upper()}{why[1:]}"),
        action="Mend that, then test it on the page Alerts.", page="/alerts", component="alerts",
    )  # fmt: skip


def of_alert(alert: Alert) -> Notice:
    """What is said of an alert that nobody has acknowledged."""
    cause = alert.cause
    return Notice(
        name=cause.about, what=_sentence(cause.title), cause=_sentence(cause.message), page=f"/alerts#alert-{alert.id}",
        action="Acknowledge it on the page Alerts.",
    )  # fmt: skip


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def of_refusal(cause: str, *, loses_safe_mode: bool) -> Notice:
    """What is said where the journal cannot be written; ``loses_safe_mode``: it has yet to learn that Safe Mode is on."""
    return Notice(
        name=JOURNAL,
        what="WinClaw cannot write to its journal.",
        cause=cause,
        action="Free some disk space or mend the folder's rights. Errors wait with the agents until then"
        + ("; Safe Mode is on, but would not survive a restart." if loses_safe_mode else "."),
    )


def without(notices: tuple[Notice, ...], name: str) -> tuple[Notice, ...]:
    """``notices`` but for the one of this name."""
    return tuple(one for one in notices if one.name != name)


def of_damage(file: str, kept_as: str) -> Notice:
    """What is said of a journal that was set aside; both are names of files."""
    return Notice(
        name="journal_set_aside",
        what="The journal was damaged. It was set aside, and a new one begun.",
        cause=f"{file} could not be read any more; it is kept as {kept_as}.",
        action="Check the disk. What agents have not had acknowledged, they send again.",
    )
