"""What of WINCLAW_HOME goes into an export, how, and in which order.

Each database is copied as it is in one moment. What waits to be reported is taken before the journal, so that a report is in one
of them, or in both under one key; what the journal speaks of is taken after it.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from resilience import __version__, home
from resilience.clock import Clock, as_text
from resilience.config.cleaning import clean_yaml
from resilience.damage import is_damage
from resilience.exporting import clean_parts, placing, snapshot
from resilience.exporting.archive import Packing
from resilience.exporting.bundle import FORMAT, MOST_TOLD, Kind, LeftOut, Manifest, NotIn, kind_of
from resilience.exporting.leaving_out import Clean
from resilience.recovery.checkpoint import Checkpoint, CheckpointDamagedError
from resilience.redaction import Redactor

_CHUNK: Final = 1 << 20
# In this order, each looked for only when it is its turn: until then there may be others.
_WHERE: Final = {
    Kind.REPORTS: home.SPOOL, Kind.OUTBOX: home.OUTBOX, Kind.TRANSACTIONS: home.TRANSACTIONS, Kind.JOURNAL: home.JOURNAL,
    Kind.CONFIG: home.CONFIG, Kind.VERSION: home.VERSIONS, Kind.CHECKPOINT: home.CHECKPOINTS, Kind.HELD: home.HELD,
    Kind.PROCESS: home.PROCESSES, Kind.LOG: home.LOGS,
}  # fmt: skip
_WHY_NOT: Final = {
    home.OPERATOR: "a secret of its own, made anew", home.ENDPOINT: "a secret of its own, made anew",
    home.BACKUPS: "copies of the journal", home.LOGS: "logs; --with-logs adds them",
    home.PROCESSES: "output and working folders of processes",
}  # fmt: skip
_PASSING: Final = (".mending", ".alive", "-wal", "-shm", ".lock", home.ALIVE, placing.PARTIAL)
_MOST_NOT_IN: Final = 200


class ExportError(Exception):
    """Nothing was exported; the message says why."""


class Wanted(Struct, frozen=True, kw_only=True):
    """What the export is to be like.

    ``names`` are further names of keys whose values are secrets. ``force``: another file of that name is replaced.
    """

    names: Sequence[str] = ()
    with_secrets: bool = False
    with_logs: bool = False
    force: bool = False


class Taking:
    """One export on its way: takes part after part out of ``folder``, and packs it.

    Args:
        work: a private folder for copies.
    """

    def __init__(self, folder: Path, work: Path, packing: Packing, clock: Clock, wanted: Wanted) -> None:
        self._folder, self._work, self._packing, self._clock, self._wanted = folder, work, packing, clock, wanted
        self._redactor = Redactor(wanted.names)
        self._left_out: list[LeftOut] = []
        self._not_in: dict[str, str] = {}
        self._changed: dict[str, None] = {}
        self._cleaned_files: dict[str, str] = {}
        self._journal_version = 0

    def run(self) -> Manifest:
        """Packs everything; returns the manifest."""
        now = self._clock.now()
        for kind, top in _WHERE.items():
            for name, path in self._of(kind, top):
                self._pack(kind, name, path)
        for one in sorted(self._folder.iterdir()):
            if one.name not in _WHERE.values():
                self._leave(one.name)
        if not self._packing.parts:
            raise ExportError(f"there is nothing to export in {self._folder}")
        manifest = Manifest(
            format=FORMAT, winclaw=__version__, at=now, home=str(self._folder), machine=platform.node(),
            journal=self._journal_version, with_secrets=self._wanted.with_secrets, parts=tuple(self._packing.parts),
            left_out=tuple(self._left_out), changed=tuple(self._changed),
            not_in=tuple(NotIn(name, why) for name, why in list(self._not_in.items())[:_MOST_NOT_IN]),
        )  # fmt: skip
        self._packing.end(manifest)
        return manifest

    def _of(self, wanted: Kind, top: str) -> Iterator[tuple[str, Path]]:
        if wanted is Kind.LOG and not self._wanted.with_logs:
            self._leave(top)
            return
        for path in _files(self._folder / top):
            name = path.relative_to(self._folder).as_posix()
            if kind_of(name) is not wanted:
                self._leave(name)
            elif "/crash-" not in name:  # which would tell the next WinClaw of a death
                yield name, path

    def _leave(self, name: str) -> None:
        """Notes that something is not in the export, and why; nothing of what does not last."""
        top = name.partition("/")[0]
        if not (self._folder / name).exists() or top in _PASSING or name.endswith(_PASSING) or name.startswith(placing.ASIDE):
            return
        if ".damaged" in name:
            self._not_in[name] = "damaged, and kept where it is"
        elif top in _WHY_NOT:
            self._not_in[top] = _WHY_NOT[top]
        else:
            self._not_in[name] = "no part of WinClaw's state"

    def _pack(self, kind: Kind, name: str, path: Path) -> None:
        try:
            match kind:
                case Kind.JOURNAL | Kind.OUTBOX | Kind.TRANSACTIONS:
                    self._pack_database(kind, name, path)
                case Kind.LOG:
                    with path.open("rb") as file:
                        self._packing.add(name, iter(lambda: file.read(_CHUNK), b""), path.stat().st_size)
                case _:
                    self._pack_file(kind, name, path.read_bytes())
        except FileNotFoundError:  # it has just made room, or has been delivered
            return

    def _pack_file(self, kind: Kind, name: str, content: bytes) -> None:
        clean = Clean(self._redactor)
        try:
            what, after = self._cleaned(kind, content, clean)
        except CheckpointDamagedError as error:
            self._not_in[name] = f"damaged: {error}"
            return
        except (ValueError, RecursionError) as error:
            self._not_in[name] = f"damaged: it is no JSON: {error}"
            return
        if self._wanted.with_secrets and kind is not Kind.PROCESS:
            after = content
        elif clean.places:
            self._note(name, what, clean)
        if after:
            self._packing.add(name, [after], len(after))

    def _cleaned(self, kind: Kind, content: bytes, clean: Clean) -> tuple[str, bytes]:
        """What a file is of, for people, and its content without secrets."""
        match kind:
            case Kind.CONFIG:
                after = _as_yaml(content, clean)
                self._cleaned_files[_digest(content)] = _digest(after)
                return "the configuration", after
            case Kind.VERSION:
                saved, after = clean_parts.clean_version(content, clean, self._cleaned_files)
                return f"version {saved.metadata.get('version')} of the configuration", after
            case Kind.CHECKPOINT:
                saved, after = clean_parts.clean_checkpoint(content, clean)
                return _named(saved, clean), after
            case Kind.REPORTS:
                return "reports that wait", clean_parts.clean_lines(content, clean)
            case Kind.PROCESS:
                found = msgspec.json.decode(content, type=dict)
                if found.get("identity") is not None:
                    self._changed["which processes ran is not in it: they are others where it is restored"] = None
                return "a process", msgspec.json.encode({**found, "identity": None})
            case _:
                return str(kind), clean_parts.clean_json(content, clean)

    def _pack_database(self, kind: Kind, name: str, path: Path) -> None:
        clean = Clean(self._redactor)
        with tempfile.TemporaryDirectory(dir=self._work) as place:
            copy = Path(place) / "copy.db"
            try:
                snapshot.snapshot(path, copy)
                self._prepare(kind, copy, clean)
                tables = snapshot.tables_in(copy, kind)
            except sqlite3.Error as error:
                self._not_copied(kind, name, path, error)
                return
            if clean.places:
                self._note(name, str(kind), clean)
            with copy.open("rb") as file:
                self._packing.add(name, iter(functools.partial(file.read, _CHUNK), b""), copy.stat().st_size, tables)

    def _prepare(self, kind: Kind, copy: Path, clean: Clean) -> None:
        """Makes of a copy what is exported."""
        if kind is Kind.JOURNAL:
            self._journal_version = snapshot.version_of(copy)
            if snapshot.end_life(copy):
                self._changed["its WinClaw has said goodbye: else the next one would take it for one that crashed"] = None
        if self._wanted.with_secrets:
            return
        match kind:
            case Kind.JOURNAL:
                snapshot.clean_journal(copy, self._wanted.names, clean)
            case Kind.OUTBOX:
                snapshot.clean_outbox(copy, as_text(self._clock.now()), clean)
            case _:
                snapshot.clean_transactions(copy, clean)

    def _not_copied(self, kind: Kind, name: str, path: Path, error: sqlite3.Error) -> None:
        if not path.exists():  # another process has just set it aside
            self._not_in[name] = "damaged, and set aside in this moment"
        elif not is_damage(error):
            raise ExportError(f"{path} cannot be copied: {error}") from error
        elif kind is Kind.JOURNAL:
            said = "start WinClaw, which sets it aside and brings back what can be read of it, then export again"
            raise ExportError(f"the journal {path} is damaged ({error}); {said}") from error
        else:
            self._not_in[name] = f"damaged: {error}"

    def _note(self, name: str, what: str, clean: Clean) -> None:
        places = tuple(clean.places[:MOST_TOLD])
        self._left_out.append(LeftOut(part=name, what=what, count=len(clean.places), places=places))


def _files(top: Path) -> Iterator[Path]:
    """The files at ``top`` and below; what a process has in its working folder is not looked at."""
    if top.name == home.PROCESSES:
        yield from (path for folder in sorted(top.glob("*")) for path in (folder / "process.json", folder / "output.log"))
    elif top.is_dir():
        for folder, _, names in os.walk(top):  # whose folders may go meanwhile
            yield from (Path(folder) / name for name in sorted(names))
    elif top.exists():
        yield top


def _as_yaml(content: bytes, clean: Clean) -> bytes:
    """A configuration without secrets; one that is no text is what nobody could start with, and its secrets are not known."""
    try:
        return clean_yaml(content.decode(), clean).encode()
    except UnicodeDecodeError:
        text = content.decode("utf-8", "replace")
        after = clean.text(text, "the text")
        return content if after is text else after.encode()


def _named(saved: Checkpoint, clean: Clean) -> str:
    return f"a checkpoint of {clean.shown(saved.component)}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
