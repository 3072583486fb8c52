"""What an export says of itself, what a file that claims to be one must keep to, and how what stands on disk is compared. Pure.

An export is a zip file: ``manifest.json`` and, under the names that they have in WINCLAW_HOME, the parts that it lists.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Struct

from resilience import home

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
MOST_PARTS: Final = 1_000_000
MOST_BYTES: Final = 200_000_000_000
"""So many bytes an export may hold, unpacked."""
MOST_TOLD: Final = 20
"""Of so many values of a part it is told where they stood; of more, only how many they are."""


class UnfitExportError(ValueError):
    """A file is no export that this WinClaw could restore; nothing was written."""


class Kind(StrEnum):
    """What a part is."""

    JOURNAL = "the journal"
    CONFIG = "the configuration"
    VERSION = "versions of the configuration"
    CHECKPOINT = "checkpoints"
    OUTBOX = "an outbox"
    TRANSACTIONS = "transactions"
    REPORTS = "reports that wait"
    HELD = "what is held"
    PROCESS = "what people wanted of processes"
    LOG = "logs"


_SEGMENT: Final = r"[A-Za-z0-9_.~%-]{1,200}"
_LEVEL: Final = r"[a-z]{1,20}"
_KINDS: Final = {
    re.escape(home.JOURNAL): Kind.JOURNAL, re.escape(home.CONFIG): Kind.CONFIG, re.escape(home.HELD): Kind.HELD,
    rf"{home.VERSIONS}/{_SEGMENT}/{_LEVEL}/{_SEGMENT}\.checkpoint": Kind.VERSION,
    rf"{home.CHECKPOINTS}/{_SEGMENT}/{_LEVEL}/{_SEGMENT}\.checkpoint": Kind.CHECKPOINT,
    rf"{home.OUTBOX}/{_SEGMENT}\.db": Kind.OUTBOX, rf"{home.TRANSACTIONS}/{_SEGMENT}\.db": Kind.TRANSACTIONS,
    rf"{home.SPOOL}/(?:{_SEGMENT}\.spool|refused\.jsonl)": Kind.REPORTS,
    rf"{home.PROCESSES}/{_SEGMENT}/process\.json": Kind.PROCESS,
    rf"{home.LOGS}/{_SEGMENT}": Kind.LOG,
}  # fmt: skip
_PATTERNS: Final = tuple((re.compile(pattern, re.ASCII), kind) for pattern, kind in _KINDS.items())
_DEVICE: Final = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.ASCII | re.IGNORECASE)

TABLES: Final[Mapping[Kind, Mapping[str, str]]] = {
    Kind.JOURNAL: {
        "errors": "id", "events": "id", "groups": "fingerprint", "minutes": "minute, fingerprint", "state": "name",
        "samples": "minute, component",
    },
    Kind.OUTBOX: {"messages": "id"},
    Kind.TRANSACTIONS: {"transactions": "id", "steps": "id, number"},
}  # fmt: skip
"""The tables of each sort of database, and the order of their rows."""
LATER: Final = frozenset({"samples"})
"""The tables that older databases do not have."""


class Table(Struct, frozen=True):
    """What a table holds, whatever the pages on which it lies: how many rows, and a checksum over them in their order."""

    rows: int
    sha256: str


class Part(Struct, frozen=True, kw_only=True):
    """A file of the export; ``name`` is its place in WINCLAW_HOME, with slashes."""

    name: str
    bytes: int
    sha256: str
    tables: Mapping[str, Table] = {}


class LeftOut(Struct, frozen=True, kw_only=True):
    """Values of a part that may be secrets, and were left out: how many, what they were of, and where the first of them stood."""

    part: str
    what: str
    count: int
    places: tuple[str, ...] = ()


class NotIn(Struct, frozen=True):
    """Something in WINCLAW_HOME that is not in the export, and why."""

    name: str
    why: str


class Manifest(Struct, frozen=True, kw_only=True):
    """What an export says of itself.

    ``winclaw`` is the version that made it, ``home`` and ``machine`` are where, and ``journal`` is the version of the journal's
    tables. ``changed`` is what differs on purpose from what was there, beside what was ``left_out``.
    """

    format: int
    winclaw: str
    at: datetime
    home: str
    machine: str
    journal: int
    with_secrets: bool
    parts: tuple[Part, ...]
    left_out: tuple[LeftOut, ...] = ()
    not_in: tuple[NotIn, ...] = ()
    changed: tuple[str, ...] = ()


class _Format(Struct, frozen=True):
    format: int
    winclaw: str
    parts: msgspec.Raw


class Entry(Struct, frozen=True, kw_only=True):
    """What a zip file says of one of its files; ``is_plain``: it is a file, and neither encrypted nor packed in an odd way."""

    name: str
    bytes: int
    is_plain: bool


def kind_of(name: str) -> Kind | None:
    """What a file of this name in an export is; None: an export has no such file."""
    kind = next((kind for pattern, kind in _PATTERNS if pattern.fullmatch(name)), None)
    segments = name.split("/")
    return None if any(one in (".", "..") or _DEVICE.fullmatch(one) for one in segments) else kind


def read_manifest(content: bytes, journal: int) -> Manifest:
    """The manifest in ``content``.

    Args:
        journal: the version of the journal's tables that this WinClaw knows.

    Raises:
        UnfitExportError: it is none, or one of a newer WinClaw.
    """
    try:
        found = msgspec.json.decode(content, type=_Format)
        if found.format > FORMAT:
            raise _newer(found.winclaw, f"its format is {found.format}, and this WinClaw knows {FORMAT}")
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnfitExportError(f"it is no export of WinClaw: its {MANIFEST} cannot be read: {error}") from error
    if manifest.journal > journal:
        raise _newer(manifest.winclaw, f"its journal has version {manifest.journal}, and this WinClaw knows {journal}")
    return manifest


def _newer(version: str, why: str) -> UnfitExportError:
    return UnfitExportError(f"it was made by a newer WinClaw ({version[:40]}): {why}; install that one to restore it")


def refuse_entries(entries: Sequence[Entry], most: int = MOST_PARTS) -> None:
    """Looks at the names in a zip file before anything of it is read.

    Args:
        most: so many parts are taken.

    Raises:
        UnfitExportError: there are names, or sorts of files, that no export has.
    """
    if len(entries) > most + 1:
        raise UnfitExportError(f"it holds {len(entries)} files, and {most} is the most that are taken")
    seen = set[str]()
    for one in entries:
        if one.name != MANIFEST and kind_of(one.name) is None:
            raise UnfitExportError(f"it is no export of WinClaw: {one.name[:200]!r} is no name of a file in one")
        if one.name.lower() in seen:
            raise UnfitExportError(f"it holds {one.name!r} twice")
        if not one.is_plain:
            raise UnfitExportError(f"{one.name!r} is no plain file in it: a link, a folder, encrypted, or packed in an odd way")
        seen.add(one.name.lower())
    if MANIFEST not in seen:
        raise UnfitExportError(f"it is no export of WinClaw: it has no {MANIFEST}")


def refuse_lies(manifest: Manifest, entries: Iterable[Entry], most_bytes: int = MOST_BYTES) -> None:
    """Looks whether a manifest fits the file in which it lies.

    Args:
        most_bytes: so many bytes are taken, unpacked.

    Raises:
        UnfitExportError: it does not, or the whole is too large.
    """
    there = {one.name: one.bytes for one in entries if one.name != MANIFEST}
    listed = {one.name: one for one in manifest.parts}
    if len(listed) != len(manifest.parts):
        raise UnfitExportError("its manifest lists a file twice")
    if odd := sorted(there.keys() ^ listed.keys()):
        where = "is not in its manifest" if odd[0] in there else "is in its manifest, and missing"
        raise UnfitExportError(f"it is not whole: {odd[0]!r} {where}")
    for name, part in listed.items():
        if part.bytes != there[name]:
            raise UnfitExportError(f"it is not whole: {name!r} has {there[name]} bytes, and its manifest says {part.bytes}")
        kind = kind_of(name)
        known = TABLES.get(kind, {}).keys() if kind is not None else set[str]()
        if not known - LATER <= part.tables.keys() <= known:
            raise UnfitExportError(f"its manifest does not say what the tables of {name!r} hold")
    if (total := sum(there.values())) > most_bytes:
        raise UnfitExportError(f"it would unpack to {total / 1e9:.0f} GB, and at most {most_bytes / 1e9:.0f} GB are taken")


class Compared(Struct, frozen=True, kw_only=True):
    """One line of the comparison: ``what`` was compared, ``held`` is how much of it there is, and what ``differs``."""

    what: str
    held: str
    differs: tuple[str, ...] = ()


def compared(manifest: Manifest, found: Mapping[str, Part]) -> list[Compared]:
    """Each part as it was exported against what stands there now; files of one sort share a line, databases have one each.

    Args:
        found: what stands there, by its name; what is not there is missing here.
    """
    lines: dict[str, list[Part]] = {}
    for part in sorted(manifest.parts, key=lambda one: one.name):
        lines.setdefault(part.name if part.tables else part.name.partition("/")[0], []).append(part)
    result = []
    for what, parts in lines.items():
        differs = tuple(said for part in parts for said in _differences(part, found.get(part.name)))
        result.append(Compared(what=what, held=_held(parts), differs=differs))
    return result


def _differences(part: Part, now: Part | None) -> Iterator[str]:
    if now is None:
        yield f"{part.name} is missing"
        return
    for table, then in part.tables.items():
        there = now.tables.get(table)
        if there is None:
            yield f"{part.name}: {table} cannot be read"
        elif there.rows != then.rows:
            yield f"{part.name}: {table} has {there.rows} rows, and had {then.rows}"
        elif there != then:
            yield f"{part.name}: rows of {table} are others"
    if (now.bytes, now.sha256) != (part.bytes, part.sha256):
        yield f"{part.name} is another file"


def _held(parts: Sequence[Part]) -> str:
    """How much there is of a line of the comparison."""
    if parts[0].tables:
        return ", ".join(f"{table.rows} {name}" for name, table in parts[0].tables.items())
    return "1 file" if len(parts) == 1 else f"{len(parts)} files"
