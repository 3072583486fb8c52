"""What is asked of recovery over HTTP: the shapes of its requests."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from resilience.events import Name
from resilience.recovery.plans import RecoveryLevel
from resilience.recovery.policy import CheckpointLevel


class RecoveryWanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be recovered: how much (§9.1), what, from which checkpoint, and whether only the plan is asked for.

    ``plan`` is the digest of the plan that was shown, if one was.
    """

    level: RecoveryLevel
    target: Annotated[str, Meta(max_length=200)] = ""
    checkpoint: Annotated[str, Meta(max_length=100)] = ""
    dry_run: bool = False
    plan: Annotated[str, Meta(max_length=100)] = ""


class StateSaved(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A state that an agent saves."""

    component: Name
    state: msgspec.Raw
    level: CheckpointLevel = "component"
    metadata: dict[str, Any] = {}
    parent: Annotated[str, Meta(max_length=100)] | None = None


class Progress(Struct, frozen=True, kw_only=True):
    """How long to wait for a further step: seconds, of which at most 25 count."""

    wait: Annotated[float, Meta(ge=0)] = 0.0


class CheckpointQuery(Struct, frozen=True, kw_only=True):
    """Checkpoints of which component, and of which level; all."""

    component: str = ""
    level: CheckpointLevel | None = None
