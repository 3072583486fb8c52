"""The files of an export without secrets: a checkpoint, a version of the configuration, reports that wait; bytes to bytes."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from msgspec.structs import replace

from resilience.config.cleaning import clean_yaml
from resilience.exact import exact_json
from resilience.exporting.bundle import MOST_TOLD
from resilience.exporting.leaving_out import Clean
from resilience.recovery.checkpoint import Checkpoint, CheckpointHead, decoded, encoded

LEFT_OUT: Final = "left_out_of_export"
"""Under this name the metadata of a checkpoint say where values were left out of its state."""


def clean_checkpoint(content: bytes, clean: Clean) -> tuple[Checkpoint, bytes]:
    """What a checkpoint's file holds, and its content without secrets: proven, and valid again; as it was where it holds none.

    Raises:
        CheckpointDamagedError: it is damaged.
    """
    saved = decoded(content)
    state, metadata = clean.value(saved.state), clean.value(dict(saved.metadata), "metadata")
    if not clean.places:
        return saved, content
    return saved, _again(saved, state, {**metadata, LEFT_OUT: _told(clean)})


def clean_version(content: bytes, clean: Clean, files: dict[str, str]) -> tuple[Checkpoint, bytes]:
    """The same for a version of the configuration, whose text stays YAML.

    Args:
        files: the checksums of files that were cleaned, and what those are now; a version may be held against one.

    Raises:
        CheckpointDamagedError: it is damaged.
    """
    saved = decoded(content)
    state = saved.state
    if not isinstance(state, dict) or not isinstance(state.get("text"), str):
        return clean_checkpoint(content, clean)
    text, metadata = clean_yaml(state["text"], clean), clean.value(dict(saved.metadata), "metadata")
    if text != state["text"]:
        metadata = {**metadata, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    if metadata.get("file_sha256") in files:
        metadata = {**metadata, "file_sha256": files[metadata["file_sha256"]]}
    if metadata == saved.metadata:
        return saved, content
    return saved, _again(saved, {**state, "text": text}, metadata)


def clean_lines(content: bytes, clean: Clean) -> bytes:
    """Reports, a line each, without secrets; the last line may be torn, and is none then."""
    return b"".join(_clean_line(line, number, clean) for number, line in enumerate(_whole(content).splitlines(keepends=True), 1))


def clean_json(content: bytes, clean: Clean) -> bytes:
    """A JSON file without secrets.

    Raises:
        ValueError: it is none.
    """
    found = json.loads(content)
    after = clean.value(found)
    return content if after is found else json.dumps(after).encode()


def _clean_line(line: bytes, number: int, clean: Clean) -> bytes:
    place = f"line {number}"
    try:
        found: Any = json.loads(line)
    except (ValueError, RecursionError):
        text = line.decode("utf-8", "surrogateescape").rstrip("\n")
        after = clean.text(text, place)
        return line if after is text else after.encode() + b"\n"
    after = clean.value(found, place)
    return line if after is found else json.dumps(after, separators=(",", ":")).encode() + b"\n"


def _whole(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]


def _again(saved: Checkpoint, state: Any, metadata: dict[str, Any]) -> bytes:
    head = CheckpointHead(**{name: getattr(saved, name) for name in CheckpointHead.__struct_fields__})
    return encoded(replace(head, metadata=metadata), exact_json(state, "state"), max_bytes=1 << 62)[1]


def _told(clean: Clean) -> list[str]:
    more = len(clean.places) - MOST_TOLD
    return [*clean.places[:MOST_TOLD], *([f"and {more} more"] if more > 0 else [])]
