"""What an export says of itself, and what a file that claims to be one must keep to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.exporting.bundle import (
    MANIFEST,
    Compared,
    Entry,
    Kind,
    Manifest,
    Part,
    Table,
    UnfitExportError,
    compared,
    kind_of,
    read_manifest,
    refuse_entries,
    refuse_lies,
)
from resilience.home import file_name
from tests.resilience.records import NOW


def a_part(name: str, size: int = 3, **changes: Any) -> Part:
    return Part(**{"name": name, "bytes": size, "sha256": "s", **changes})


def a_manifest(*parts: Part, **changes: Any) -> Manifest:
    told = {"format": 1, "winclaw": "1.2", "at": NOW, "home": "/h", "machine": "m", "journal": 2, "with_secrets": False}
    return Manifest(**{**told, "parts": parts, **changes})


def an_entry(name: str, size: int = 3, *, is_plain: bool = True) -> Entry:
    return Entry(name=name, bytes=size, is_plain=is_plain)


def messages(rows: int = 1, sha256: str = "m") -> Mapping[str, Table]:
    return {"messages": Table(rows, sha256)}


OUTBOX = a_part("outbox/a.db", tables=messages())


@pytest.mark.parametrize(("name", "kind"), [
    ("journal.db", Kind.JOURNAL), ("error_handling_config.yaml", Kind.CONFIG), ("held.json", Kind.HELD),
    ("config_versions/config/system/chk_1_a.checkpoint", Kind.VERSION), ("checkpoints/m/memory/chk_1_a.checkpoint", Kind.CHECKPOINT),
    ("checkpoints/component-%C3%A4-0123abcd/memory/chk_1_a.checkpoint", Kind.CHECKPOINT), ("outbox/.a.db", Kind.OUTBOX),
    ("transactions/a.db", Kind.TRANSACTIONS), ("spool/1-a.spool", Kind.REPORTS), ("spool/refused.jsonl", Kind.REPORTS),
    ("processes/gateway/process.json", Kind.PROCESS), ("logs/winclaw.jsonl.1", Kind.LOG), ("journal-db", None), ("journal.db ", None),
    ("xjournal.db", None), ("journal.dbx", None), ("outbox/a.damaged-1.db/x", None), ("checkpoints/a/memory/x.damaged", None),
    ("checkpoints/../memory/x.checkpoint", None), ("checkpoints/./memory/x.checkpoint", None), ("outbox/con.db", None),
    ("processes/CON/process.json", None), ("outbox/COM1.x.db", None), ("outbox/console.db", Kind.OUTBOX), ("outbox//a.db", None),
    ("outbox/ä.db", None), ("logs/", None), ("logs/" + "a" * 200, Kind.LOG), ("logs/" + "a" * 201, None), ("", None),
])  # fmt: skip
def test_a_name_says_what_a_file_is(name: str, kind: Kind | None) -> None:
    assert kind_of(name) is kind


@given(st.text(min_size=1, max_size=200))
def test_whatever_an_agent_or_a_component_is_called_its_file_can_be_exported(name: str) -> None:
    assert kind_of(f"outbox/{file_name(name, 'outbox')}.db") is Kind.OUTBOX
    assert kind_of(f"checkpoints/{file_name(name, 'component')}/memory/chk_1_a.checkpoint") is Kind.CHECKPOINT


def test_a_manifest_is_read_as_it_was_written() -> None:
    manifest = a_manifest(OUTBOX)
    assert read_manifest(msgspec.json.encode(manifest), 2) == manifest


@pytest.mark.parametrize(("changes", "journal", "said"), [
    ({"format": 2}, 2, r"newer WinClaw \(1\.2\): its format is 2, and this WinClaw knows 1; install that one to restore it"),
    ({"journal": 3}, 2, r"newer WinClaw \(1\.2\): its journal has version 3, and this WinClaw knows 2"),
])  # fmt: skip
def test_one_of_a_newer_winclaw_is_refused_by_its_version(changes: dict[str, Any], journal: int, said: str) -> None:
    content = msgspec.json.encode(a_manifest(**changes))
    with pytest.raises(UnfitExportError, match=said):
        read_manifest(content, journal)


def test_an_older_format_and_journal_are_read() -> None:
    assert read_manifest(msgspec.json.encode(a_manifest(format=0, journal=1)), 2).journal == 1


def test_what_is_no_manifest_is_said_to_be_none() -> None:
    with pytest.raises(UnfitExportError, match=r"no export of WinClaw: its manifest\.json cannot be read: Object missing"):
        read_manifest(b"{}", 2)


def refusal(entries: list[Entry], **limits: int) -> str:
    with pytest.raises(UnfitExportError) as refused:
        refuse_entries(entries, **limits)
    return str(refused.value)


def test_names_are_looked_at_before_anything_is_read() -> None:
    manifest = an_entry(MANIFEST)
    refuse_entries([manifest, an_entry("journal.db"), an_entry("held.json")])
    assert refusal([manifest, an_entry("../x")]) == "it is no export of WinClaw: '../x' is no name of a file in one"
    assert refusal([manifest, an_entry("outbox/a.db"), an_entry("outbox/A.db")]) == "it holds 'outbox/A.db' twice"
    assert refusal([manifest, manifest]) == "it holds 'manifest.json' twice"
    assert refusal([manifest, an_entry("held.json", is_plain=False)]).startswith("'held.json' is no plain file in it")
    assert refusal([an_entry("held.json")]) == "it is no export of WinClaw: it has no manifest.json"
    refuse_entries([manifest, an_entry("held.json")], most=1)
    assert refusal([manifest, an_entry("held.json"), an_entry("journal.db")], most=1).startswith("it holds 3 files, and 1 is the most")


def lie(manifest: Manifest, *entries: Entry, **limits: int) -> str:
    with pytest.raises(UnfitExportError) as refused:
        refuse_lies(manifest, entries, **limits)
    return str(refused.value)


def test_a_manifest_must_fit_the_file_in_which_it_lies() -> None:
    refuse_lies(a_manifest(OUTBOX), [an_entry(MANIFEST, 9), an_entry(OUTBOX.name)])
    assert lie(a_manifest(OUTBOX, OUTBOX), an_entry(OUTBOX.name)) == "its manifest lists a file twice"
    assert lie(a_manifest(), an_entry(OUTBOX.name)) == "it is not whole: 'outbox/a.db' is not in its manifest"
    assert lie(a_manifest(OUTBOX)) == "it is not whole: 'outbox/a.db' is in its manifest, and missing"
    assert lie(a_manifest(OUTBOX), an_entry(OUTBOX.name, 4)) == "it is not whole: 'outbox/a.db' has 4 bytes, and its manifest says 3"
    unsaid = "its manifest does not say what the tables of 'outbox/a.db' hold"
    assert lie(a_manifest(a_part("outbox/a.db")), an_entry("outbox/a.db")) == unsaid
    assert lie(a_manifest(a_part("held.json", tables=messages())), an_entry("held.json")) == unsaid.replace("outbox/a.db", "held.json")
    refuse_lies(a_manifest(OUTBOX), [an_entry(OUTBOX.name)], most_bytes=3)
    parts = an_entry("outbox/a.db"), an_entry("held.json", 1)
    assert lie(a_manifest(OUTBOX, a_part("held.json", 1)), *parts, most_bytes=3) == "it would unpack to 0 GB, and at most 0 GB are taken"


def test_files_of_a_sort_share_a_line_and_databases_have_their_own() -> None:
    parts = (a_part("spool/b.spool"), OUTBOX, a_part("spool/a.spool"), a_part("outbox/b.db", tables=messages(2)), a_part("held.json"))
    assert compared(a_manifest(*parts), {one.name: one for one in parts}) == [
        Compared(what="held.json", held="1 file"), Compared(what="outbox/a.db", held="1 messages"),
        Compared(what="outbox/b.db", held="2 messages"), Compared(what="spool", held="2 files"),
    ]  # fmt: skip


@pytest.mark.parametrize(("now", "differs"), [
    (OUTBOX, ()),
    (None, ("outbox/a.db is missing",)),
    (a_part("outbox/a.db", tables=messages(2)), ("outbox/a.db: messages has 2 rows, and had 1",)),
    (a_part("outbox/a.db", tables=messages(1, "x")), ("outbox/a.db: rows of messages are others",)),
    (a_part("outbox/a.db"), ("outbox/a.db: messages cannot be read",)),
    (a_part("outbox/a.db", 4, tables=messages()), ("outbox/a.db is another file",)),
    (a_part("outbox/a.db", sha256="x", tables=messages()), ("outbox/a.db is another file",)),
])  # fmt: skip
def test_each_difference_is_named(now: Part | None, differs: tuple[str, ...]) -> None:
    [line] = compared(a_manifest(OUTBOX), {} if now is None else {now.name: now})
    assert line.differs == differs
