"""What waits for the user, in words."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec.structs import replace

from resilience.alerting.alerts import Alert, Cause
from resilience.context import ErrorSeverity
from resilience.core import notices
from resilience.core.notices import Notice
from resilience.core.services import Probed
from resilience.healing.diagnosis import Diagnosis
from resilience.healing.heals import Heal, HealState
from resilience.healing.policy import HealingActionType
from resilience.isolation.isolated import BY_ITSELF, Isolated
from resilience.processes.status import ProcessStatus
from resilience.processes.supervision import ProcessState

NOW = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)


def test_a_process_that_only_a_person_can_help() -> None:
    failed = ProcessStatus(name="gateway", state=ProcessState.FAILED, since=NOW, why="", needs_you="it ended 6 times within 60 s")
    assert notices.of_process(failed) == Notice(
        name="process:gateway", what="The process gateway has failed.", cause="It ended 6 times within 60 s.",
        action="Mend the cause, then start it again on the page Processes.", page="/processes/gateway",
    )  # fmt: skip
    blocked = replace(failed, state=ProcessState.WAITING, needs_you="port 18789 is held by another program")
    assert notices.of_process(blocked) == Notice(
        name="process:gateway", what="The process gateway cannot start.", cause="Port 18789 is held by another program.",
        action="End the other program, or give one of them another port.", page="/processes/gateway",
    )  # fmt: skip


def test_what_was_isolated_by_itself() -> None:
    one = Isolated(component="parser", reason="it escaped", actor=BY_ITSELF, since=NOW, until=NOW, services=(), processes=())
    assert notices.of_isolation(one) == Notice(
        name="isolated:parser", what="parser was isolated.", cause="it escaped.",
        action="Look at it, then release it on the page Circuits. It ends by itself at 12:30 UTC.", page="/circuits",
    )  # fmt: skip
    assert notices.of_isolation(replace(one, until=None)).action == "Look at it, then release it on the page Circuits."


def test_a_heal_that_waits_for_a_person() -> None:
    heal = Heal(
        id=7, rule="r", action=HealingActionType.CLEAR_CACHE, target="store", state=HealState.WAITING, trigger="It fell.", at=NOW,
        diagnosis=Diagnosis(pattern="r", component="store", root_cause="store"), verification="It does not answer.",
    )  # fmt: skip
    assert notices.of_heal(heal) == Notice(
        name="heal:7", what="A heal of store waits for your approval: clear cache.", cause="It fell.",
        action="Approve or reject it on the page Healing.", page="/healing/7", component="store",
    )  # fmt: skip
    assert notices.of_heal(replace(heal, state=HealState.ESCALATED)) == Notice(
        name="heal:7", what="store could not be healed.", cause="It fell. It does not answer.",
        action="Mend it, then dismiss this on the page Healing.", page="/healing/7", component="store",
    )  # fmt: skip


def test_a_probe_that_belongs_to_no_service() -> None:
    assert notices.of_probe("disk", Probed(well=False, since=NOW, what="only 3 MB are free")) == Notice(
        name="probe:disk", what="disk is not well.", cause="Only 3 MB are free.", action="Mend the cause; this goes by itself."
    )


def test_a_journal_that_cannot_be_written_or_was_set_aside() -> None:
    kept = notices.of_refusal("The disk is full.", loses_safe_mode=False)
    assert kept == Notice(
        name="journal", what="WinClaw cannot write to its journal.", cause="The disk is full.",
        action="Free some disk space, mend the folder's rights, or end the program that holds the file. WinClaw goes on from "
        "memory: it writes down later what happens, errors wait with the agents, and commands are refused.",
    )  # fmt: skip
    lost = notices.of_refusal("The disk is full.", loses_safe_mode=True)
    assert lost == replace(kept, action=f"{kept.action[:-1]}; Safe Mode is on, but would not survive a restart.")
    assert notices.of_damage("journal.db", "journal-1.db") == Notice(
        name="journal_set_aside", what="The journal was damaged. It was set aside, and a new one begun.",
        cause="journal.db could not be read any more; it is kept as journal-1.db. What can still be read of it is being brought back.",
        action="Check the disk. What agents have not had acknowledged, they send again.",
    )  # fmt: skip
    outcome = notices.of_damage("journal.db", "journal-1.db", "nothing came back.").cause
    assert outcome == "journal.db could not be read any more; it is kept as journal-1.db. Nothing came back."
    assert notices.of_backup("the disk is full") == Notice(
        name="journal_backup", what="The journal could not be backed up.", cause="The disk is full.",
        action="Free some disk space or mend the folder's rights; it is tried again. Older backups are kept.",
    )  # fmt: skip
    assert notices.without((kept, notices.of_damage("a", "b"), lost), "journal") == (notices.of_damage("a", "b"),)


def test_a_channel_that_does_not_deliver() -> None:
    assert notices.of_channel("email", "535, wrong password") == Notice(
        name="channel:email", what="Alerts by email do not arrive.", cause="535, wrong password.",
        action="Mend that, then test it on the page Alerts.", page="/alerts", component="alerts",
    )  # fmt: skip


def test_an_alert_that_nobody_has_acknowledged() -> None:
    cause = Cause(about="error:1", title="web is gone", message="it burns", severity=ErrorSeverity.ERROR, component="web")
    assert notices.of_alert(Alert(id=7, cause=cause, at=NOW, last_at=NOW)) == Notice(
        name="error:1", what="web is gone.", cause="it burns.", action="Acknowledge it on the page Alerts.", page="/alerts#alert-7",
    )  # fmt: skip


def test_what_ends_as_a_sentence_gets_no_second_full_stop() -> None:
    for end in ".!?…":
        assert notices.of_probe("disk", Probed(well=False, since=NOW, what=f"it is full{end}")).cause == f"It is full{end}"
    one = Isolated(component="parser", reason="It escaped.", actor=BY_ITSELF, since=NOW, services=(), processes=())
    assert notices.of_isolation(one).cause == "It escaped."


def test_what_waits_for_the_user_can_be_the_cause_of_an_alert() -> None:
    """It is about what the notice says, or else what its name says."""
    probe = notices.of_probe("disk", Probed(well=False, since=NOW, what="only 3 MB are free"))
    said = Cause(
        about="probe:disk", title="disk is not well", message="Only 3 MB are free. Mend the cause; this goes by itself.",
        severity=ErrorSeverity.CRITICAL, component="disk",
    )  # fmt: skip
    assert notices.cause_of(probe, ErrorSeverity.CRITICAL) == said
    told = replace(probe, component="cellar", page="/disks")
    assert notices.cause_of(told, ErrorSeverity.FATAL) == replace(said, component="cellar", page="/disks", severity=ErrorSeverity.FATAL)
    assert notices.cause_of(notices.of_refusal("", loses_safe_mode=False), ErrorSeverity.FATAL).component == "journal"
