"""A checkpoint (§9.2): what it holds, and the bytes of its file, of which no bit can change unnoticed. Pure; msgspec only.

A file is a line with the checksum of all that follows, a line with everything but the state, and the state.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from resilience.exact import exact_json
from resilience.recovery.policy import CheckpointLevel

_MAGIC: Final = b"winclaw-checkpoint 1 "
_COMPRESSED_FROM: Final = 4_096
_MOST_METADATA: Final = 100_000
HEAD_BYTES: Final = 200_000
"""In so much of a file its first two lines stand."""


class CheckpointError(OSError):
    """A checkpoint cannot be read or written; whatever was to be done was not done."""


class CheckpointDamagedError(CheckpointError):
    """What stands in a checkpoint's file is not what was written there."""


class CheckpointTooLargeError(ValueError):
    """A state is larger than checkpoints may be; nothing was saved."""


class CheckpointHead(Struct, frozen=True, kw_only=True):
    """Everything of a checkpoint but its state; ``size_bytes`` is how large that is, as JSON.

    ``component`` is what it is of, and ``level`` how much of it (§9.1). ``parent_checkpoint`` is the one that the state stems
    from: what was saved or restored before it.
    """

    id: str
    at: datetime
    level: CheckpointLevel
    component: str
    metadata: Mapping[str, Any] = {}
    parent_checkpoint: str | None = None
    size_bytes: int = 0

    def view(self) -> dict[str, Any]:
        """It as the API gives it."""
        seen: dict[str, Any] = msgspec.to_builtins(self)
        return seen


class Checkpoint(CheckpointHead, frozen=True, kw_only=True):
    """A state of a component, as it was ``at`` a moment (§9.2)."""

    state: Any


class _Stored(CheckpointHead, frozen=True, kw_only=True):
    encoding: Literal["json", "zlib"]


def encoded(head: CheckpointHead, state: str, max_bytes: int) -> tuple[CheckpointHead, bytes]:
    """The head with the size of ``state``, which is exact JSON, and the bytes of the checkpoint's file.

    Raises:
        InexactError: JSON cannot hold the metadata exactly; it says where.
        CheckpointTooLargeError: the state is larger than ``max_bytes``, or the metadata are larger than they may be.
    """
    body = state.encode()
    if len(body) > max_bytes:
        raise CheckpointTooLargeError(
            f"the state of {head.component} is too large for a checkpoint: {len(body) / 1e6:.1f} MB as JSON, and "
            f"{max_bytes / 1e6:g} MB is the limit (checkpoint.max_state_mb); put what is large into a file and save where it lies"
        )
    told = len(exact_json(dict(head.metadata), "metadata"))
    if told > _MOST_METADATA:
        said = f"the metadata are {told} bytes as JSON, and {_MOST_METADATA} is the limit; make it a part of the state"
        raise CheckpointTooLargeError(said)
    head = replace(head, size_bytes=len(body))
    is_large = len(body) > _COMPRESSED_FROM
    stored = msgspec.json.encode(_Stored(**_fields(head), encoding="zlib" if is_large else "json"))
    rest = stored + b"\n" + (zlib.compress(body, 1) if is_large else body)
    checksum = hashlib.sha256(rest).hexdigest().encode()
    return head, _MAGIC + checksum + b"\n" + rest


def with_state(head: CheckpointHead, state: str | bytes) -> Checkpoint:
    """The checkpoint of that head, with what stands in ``state``, which is JSON."""
    return Checkpoint(**_fields(head), state=json.loads(state))


def head_of(content: bytes) -> CheckpointHead:
    """What the first lines of a file say, unproven: the checksum is over all of it.

    Raises:
        CheckpointDamagedError: they say nothing.
    """
    return CheckpointHead(**_fields(_stored(content.split(b"\n", 2))))


def proven(content: bytes) -> CheckpointHead:
    """What the first lines of a file say, where its checksum fits.

    Raises:
        CheckpointDamagedError: it is not what was written.
    """
    return _proven(content.split(b"\n", 2), content)


def decoded(content: bytes) -> Checkpoint:
    """The checkpoint in a file's bytes, proven.

    Raises:
        CheckpointDamagedError: it is not what was written.
    """
    lines = content.split(b"\n", 2)
    stored = _proven(lines, content)
    try:
        body = lines[2]
        if stored.encoding == "zlib":
            body = zlib.decompressobj().decompress(body, stored.size_bytes + 1)
        if len(body) != stored.size_bytes:
            raise CheckpointDamagedError("it is not as long as it says")
        return with_state(stored, body)
    except (zlib.error, ValueError, RecursionError) as error:  # written so: the checksum is right
        raise CheckpointDamagedError(f"its state is no JSON: {error}") from error


def _proven(lines: list[bytes], content: bytes) -> _Stored:
    stored = _stored(lines)
    checksum = hashlib.sha256(content[len(lines[0]) + 1 :]).hexdigest().encode()
    if lines[0] != _MAGIC + checksum:
        raise CheckpointDamagedError("its checksum does not fit")
    return stored


def _stored(lines: list[bytes]) -> _Stored:
    if not lines[0].startswith(_MAGIC) or len(lines) < 3:
        raise CheckpointDamagedError("it does not begin as a checkpoint does")
    try:
        return msgspec.json.decode(lines[1], type=_Stored)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CheckpointDamagedError(f"what it says of itself cannot be read: {error}") from error


def _fields(head: CheckpointHead) -> dict[str, Any]:
    return {name: getattr(head, name) for name in CheckpointHead.__struct_fields__}
