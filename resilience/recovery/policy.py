"""What can be set of recovery (§9): checkpoints, the roll-back of a configuration, and the care of the journal."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from resilience.config.sections import Section, means

CheckpointLevel = Literal["operation", "session", "component", "system", "memory"]
LEVELS: tuple[CheckpointLevel, ...] = get_args(CheckpointLevel)


class Checkpointing(Section, frozen=True, kw_only=True):
    """What is saved, to go back to (§9)."""

    enabled: Annotated[bool, means("whether checkpoints are made")] = True
    max_checkpoints: Annotated[
        int, means("how many are kept of each component and level; the newest good one always is", ge=1, le=100_000)
    ] = 100
    auto_checkpoint_interval: Annotated[
        float, means("time between two that are made by themselves", "s", ge=1, le=86_400)
    ] = 300.0
    max_state_mb: Annotated[int, means("how large a state may be, as JSON", "MB", ge=1, le=1024)] = 16
    levels: Annotated[
        tuple[CheckpointLevel, ...], means("what they are made of by themselves; what an agent asks for is always made")
    ] = LEVELS


class Recovering(Section, frozen=True, kw_only=True):
    """How WinClaw brings back what was lost, and cares for its journal (§9)."""

    config_roll_back: Annotated[
        Literal["offer", "automatic", "never"],
        means("what is done where trouble follows a new configuration: `offer` asks a person, `automatic` does not"),
    ] = "offer"
    config_trouble_within_s: Annotated[
        float, means("for how long trouble is put down to a new configuration", "s", ge=1, le=86_400)
    ] = 600.0
    check_every_h: Annotated[float, means("time between two checks of the whole journal", "h", ge=0.01, le=8760)] = 24.0
    backup_every_h: Annotated[float, means("time between two backups of the journal", "h", ge=0.01, le=8760)] = 24.0
    backups: Annotated[int, means("how many backups are kept; 0: none is made", ge=0, le=1000)] = 2
