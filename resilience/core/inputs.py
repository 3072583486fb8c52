"""What reaches the control plane: everything that happens, and everything that somebody commands, is one of these."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from resilience.config.settings import Settings
from resilience.config.version import ConfigTrouble, ConfigVersion
from resilience.core.notices import Notice
from resilience.core.orders import Order
from resilience.core.services import CircuitCommand, Probed
from resilience.degradation.levels import DegradationLevel
from resilience.events import EventType, Heartbeat, Report
from resilience.healing.heals import Heal
from resilience.journal.health import BackedUp, Checked, Repaired
from resilience.processes.status import ProcessStatus
from resilience.recovery.plans import Recovery

AlertDecisionName = Literal["acknowledge", "snooze"]
HealingDecision = Literal["approve", "reject", "dismiss"]


class TooLateError(Exception):
    """What was to be decided is decided already; the message says how."""


class ConfirmationNeededError(Exception):
    """Leaving Safe Mode takes a confirmation, and there was none; nothing has changed."""


class Errors(Struct, frozen=True):
    """Errors that were reported."""

    reports: tuple[Report, ...]


class Choice(Struct, frozen=True):
    """A person chooses a level, or *Auto* (None)."""

    level: DegradationLevel | None
    actor: str
    origin: str
    confirmed: bool


class HowIsolated(Struct, frozen=True):
    """How something is isolated: why, for how many seconds (None: not by time), until a verified heal, with its processes."""

    reason: str = ""
    for_s: float | None = None
    until_healed: bool = False
    stop_processes: bool = False


class Switch(Struct, frozen=True):
    """A person commands a circuit, or isolates and releases a component; ``isolation`` says how."""

    service: str
    command: CircuitCommand
    actor: str
    origin: str
    isolation: HowIsolated = HowIsolated()


class Configuration(Struct, frozen=True):
    """Other settings are in force; or (None) those of the file are not, and ``notice`` says why.

    ``version`` is what they are a version of, where it is another one; ``told`` is what the event says of it. With
    ``is_no_version`` they are the defaults, for want of any version.
    """

    settings: Settings | None
    notice: Notice | None = None
    version: ConfigVersion | None = None
    told: dict[str, Any] = {}
    is_no_version: bool = False


class ConfigTroubled(Struct, frozen=True):
    """Trouble followed the version of the configuration that is in force, or going back because of it was decided on."""

    trouble: ConfigTrouble


class Noticed(Struct, frozen=True):
    """A part of WinClaw has something for the user; or (None) what it had under that name is over."""

    name: str
    notice: Notice | None


class Announcement(Struct, frozen=True):
    """Something happened in the program's own life."""

    type: EventType
    component: str
    body: dict[str, Any]


class Waiting(Struct, frozen=True):
    """So many messages wait in the agents' outboxes, by channel."""

    channels: dict[str, int]


class ProcessTold(Struct, frozen=True):
    """Where a supervised process stands now; None: it is no longer configured."""

    name: str
    status: ProcessStatus | None


class ProbeTold(Struct, frozen=True):
    """What WinClaw's own probe of a service finds now."""

    service: str
    found: Probed


class HealTold(Struct, frozen=True):
    """Where a heal stands now."""

    heal: Heal


class HealDecision(Struct, frozen=True):
    """A person approves or rejects a heal that waits for it, or dismisses one that was left to people."""

    id: int
    decision: HealingDecision
    actor: str
    origin: str


class Sending(Struct, frozen=True):
    """A channel is about to send the tellings of those keys, several as the one message ``digest``; refused where one of them
    is not to be sent any more."""

    keys: tuple[str, ...]
    digest: str = ""


class TellingTold(Struct, frozen=True):
    """What became of tellings: they were delivered, or cannot be (False), or are tried again (None); and who says so, or why."""

    keys: tuple[str, ...]
    delivered: bool | None
    why: str


class AlertDecision(Struct, frozen=True):
    """A person sees to an alert, or wants to hear nothing of it, for so many seconds."""

    id: int
    decision: AlertDecisionName
    actor: str
    origin: str
    for_s: float = 0.0


class Snooze(Struct, frozen=True):
    """A person wants to hear of nothing that is not FATAL, for so many seconds; 0: wants to hear again."""

    for_s: float
    actor: str
    origin: str


class TestMessage(Struct, frozen=True):
    """A person wants to see whether a channel works."""

    channel: str
    actor: str
    origin: str


class Offered(Struct, frozen=True):
    """Whether this WinClaw has a channel that not every one has."""

    channel: str
    offered: bool


class RecoveryTold(Struct, frozen=True):
    """Where a recovery stands now."""

    recovery: Recovery


class OrderGiven(Struct, frozen=True):
    """Agents are asked to do something; None: nobody waits for the answers to ``id`` any more."""

    id: str
    order: Order | None


class CareTold(Struct, frozen=True):
    """What was done for the journal: it was checked, backed up (or could not be), or a damaged one repaired."""

    done: Checked | BackedUp | Repaired


class Look(Struct, frozen=True):
    """A look at the clock."""


Told = (
    Configuration | Waiting | ProcessTold | ProbeTold | HealTold | RecoveryTold | OrderGiven | Sending | TellingTold | Offered
    | CareTold | ConfigTroubled | Noticed
)  # fmt: skip
"""What the parts of WinClaw tell the core of their own accord."""
Input = Told | Errors | Heartbeat | Choice | Switch | HealDecision | AlertDecision | Snooze | TestMessage | Announcement | Look
