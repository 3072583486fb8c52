"""Secrets in exact states are left out of an export where they stand, it is told where, and all else stays exactly as it was."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from resilience.config.version import ConfigVersion
from resilience.config.versions import Versions, digest
from resilience.journal import sums
from resilience.journal.journal import Journal
from resilience.outbox.store import waiting_in
from resilience.recovery.checkpoints import CheckpointManager
from resilience.redaction import REDACTED
from resilience.transactions.file import unfinished_in
from tests.resilience.exporting.exporting import CONFIG, Machine, a_machine, reading, restored, rows_of
from tests.resilience.records import NOW, an_error, an_event
from tray.startup import what_is_in_force

KEY = "sk-abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return a_machine(tmp_path / "home")


def everything_in(file: Path) -> bytes:
    with zipfile.ZipFile(file) as found:
        return b"".join(found.read(name) for name in found.namelist())


def test_a_checkpoint_without_its_secrets_is_valid_and_says_what_it_lacks(machine: Machine, tmp_path: Path) -> None:
    saved = machine.checkpoints.create_checkpoint("component", "memory", {"notes": ["\x01"], "a": [{"api_key": KEY}], "pin": 1}, {"by": "me"})
    manifest = machine.export(tmp_path / "x.zip")
    [told] = manifest.left_out
    assert (told.what, told.count, told.places) == ("a checkpoint of memory", 1, ("$.a[0].api_key",))
    assert told.part.endswith(f"{saved.id}.checkpoint")
    assert restored(tmp_path / "x.zip", tmp_path / "new").is_same
    found = CheckpointManager(tmp_path / "new" / "checkpoints").load_checkpoint(saved.id)
    assert found is not None
    assert found.state == {"notes": ["\x01"], "a": [{"api_key": REDACTED}], "pin": 1}
    assert found.metadata == {"by": "me", "left_out_of_export": ["$.a[0].api_key"]}
    assert (found.at, found.level, found.component) == (saved.at, saved.level, saved.component)
    assert KEY.encode() not in everything_in(tmp_path / "x.zip")


def test_a_message_that_lacks_a_value_is_not_sent_by_itself(machine: Machine, tmp_path: Path) -> None:
    """Sent as it stands, it would be another message, and nobody would know."""
    machine.message({"to": "bob", "text": f"use {KEY}"}, "m2")
    [told] = machine.export(tmp_path / "x.zip").left_out
    assert (told.part, told.places) == ("outbox/mailer.db", ("message 2 to courier $.text",))
    restored(tmp_path / "x.zip", tmp_path / "new")
    assert waiting_in(tmp_path / "new" / "outbox" / "mailer.db") == {"courier": 1}
    with reading(tmp_path / "new" / "outbox" / "mailer.db") as conn:
        [row] = conn.execute("SELECT state, payload, why FROM messages WHERE key = 'm2'")
    assert row[:2] == ("failed", '{"to":"bob","text":"use [redacted]"}')
    assert row[2].startswith("a value was left out of it when it was exported")
    assert KEY.encode() not in everything_in(tmp_path / "x.zip")


def test_a_step_that_lacks_what_it_kept_is_left_to_a_person(machine: Machine, tmp_path: Path) -> None:
    """Its compensation would be called with something that never was."""
    machine.transaction({"id": 9, "token": "geheim"}, "t2")
    [told] = machine.export(tmp_path / "x.zip").left_out
    assert told.places == ("transaction t2, step 1 create $.token",)
    restored(tmp_path / "x.zip", tmp_path / "new")
    found = {one.id: one for one in unfinished_in(tmp_path / "new" / "transactions")}
    assert (found["t1"].state, found["t2"].state) == ("abandoned", "left")
    assert (found["t2"].left[0].kept, "a person" in found["t2"].left[0].why) == ('{"id":9,"token":"[redacted]"}', True)
    rows = {row[0]: row[4] for row in rows_of(tmp_path / "new" / "transactions" / "mailer.db")["steps"]}
    assert rows == {"t1": 1, "t2": 0}


def test_the_configuration_stays_yaml_and_fits_its_version(machine: Machine, tmp_path: Path) -> None:
    """Else a restored WinClaw would take its own configuration for one that somebody has saved meanwhile."""
    secret = CONFIG.replace("MODE: quiet", f"API_KEY: {KEY}")
    machine.config(secret, 2, replaces=1)
    manifest = machine.export(tmp_path / "x.zip")
    assert [one.what for one in manifest.left_out] == ["the configuration", "version 2 of the configuration"]
    assert {one.places for one in manifest.left_out} == {("$.error_handling.processes.gateway.environment.API_KEY",)}
    restored(tmp_path / "x.zip", tmp_path / "new")
    begun = what_is_in_force(tmp_path / "new")
    assert begun.version is not None
    assert (begun.version.number, begun.refused) == (2, None)
    assert begun.settings.processes["gateway"].environment == {"OPENCLAW_TOKEN": "env:OPENCLAW_TOKEN", "API_KEY": REDACTED}
    assert Versions(tmp_path / "new").text(2) == (tmp_path / "new" / "error_handling_config.yaml").read_text("utf-8")
    assert Versions(tmp_path / "new").text(1) == CONFIG
    assert KEY.encode() not in everything_in(tmp_path / "x.zip")


def test_what_was_rolled_back_is_known_by_the_file_that_says_otherwise(machine: Machine, tmp_path: Path) -> None:
    secret = CONFIG.replace("MODE: quiet", f"API_KEY: {KEY}")
    machine.config(secret, 2)
    rolled_back = ConfigVersion(number=3, sha256=digest(CONFIG), author="healing", restores=1, file_sha256=digest(secret))
    Versions(machine.folder, machine.clock).add(rolled_back, CONFIG)
    machine.export(tmp_path / "x.zip")
    restored(tmp_path / "x.zip", tmp_path / "new")
    begun = what_is_in_force(tmp_path / "new")
    assert (begun.rolled_back, begun.version.number if begun.version else None, begun.text) == (True, 3, CONFIG)


def test_what_a_version_says_of_a_change_is_without_secrets_as_they_are_known_now(machine: Machine, tmp_path: Path) -> None:
    """When it was made, nobody had said yet that the setting is one."""
    changed = ("retry.budget.percent: 10 → 20", "processes.gateway.environment.PASSPHRASE: geheim1 → geheim2", "token: [redacted] → another one")
    machine.config(CONFIG, 2, changed=changed)
    journal = Journal(machine.folder / "journal.db", NOW)
    journal.commit([an_event(body=json.dumps({"changed": changed}, ensure_ascii=False).encode())])
    journal.close()
    manifest = machine.export(tmp_path / "x.zip", names=["passphrase"])
    assert [one.places for one in manifest.left_out] == [("event 22 $.changed[1]",), ("metadata.changed[1]",)]
    restored(tmp_path / "x.zip", tmp_path / "new")
    assert b"geheim" not in everything_in(tmp_path / "x.zip")
    told = "processes.gateway.environment.PASSPHRASE: [redacted] → another one"
    assert Versions(tmp_path / "new").kept()[0].version.changed == (changed[0], told, changed[2])
    assert Versions(tmp_path / "new").text(2) == CONFIG


def test_reports_that_wait_are_gone_over_again(machine: Machine, tmp_path: Path) -> None:
    machine.report({"type": "ValueError", "message": "x", "key": "r2", "metadata": {"passphrase": "geheim"}})
    machine.write("spool/refused.jsonl", b'{"passphrase":"geheim"}\nno json, passphrase=geheim\n{"torn":')
    manifest = machine.export(tmp_path / "x.zip", names=["passphrase"])
    assert sum(one.count for one in manifest.left_out) == 3
    restored(tmp_path / "x.zip", tmp_path / "new")
    assert b"geheim" not in everything_in(tmp_path / "x.zip")
    refused = (tmp_path / "new" / "spool" / "refused.jsonl").read_bytes()
    assert refused == b'{"passphrase":"[redacted]"}\nno json, passphrase=[redacted]\n'


def test_a_journal_is_exact_unless_names_were_added_that_stand_in_it(machine: Machine, tmp_path: Path) -> None:
    """What is stored is without secrets as they were known then; only rows with one of the names are touched, and stay sound."""
    journal = Journal(machine.folder / "journal.db", NOW)
    journal.commit([
        an_error(message="pass_phrase=geheim1", fingerprint="f9", detail=b'{"metadata":{"passPhrase":"geheim2","n":1}}'),
        an_event(body=b'{"PASSPHRASE":"geheim3"}'), an_error(message="token and all", detail=b'{"token":"[redacted]"}'),
    ])  # fmt: skip
    journal.close()
    before = rows_of(machine.folder / "journal.db")
    assert machine.export(tmp_path / "exact.zip").left_out == ()
    restored(tmp_path / "exact.zip", tmp_path / "exact")
    assert rows_of(tmp_path / "exact" / "journal.db") == before

    [told] = machine.export(tmp_path / "x.zip", names=["pass_phrase"]).left_out
    assert told.places == (
        "error 22, message", "error 22 $.metadata.passPhrase", "event 23 $.PASSPHRASE", "the group f9",
    )  # fmt: skip
    restored(tmp_path / "x.zip", tmp_path / "new")
    assert b"geheim" not in everything_in(tmp_path / "x.zip")
    after = rows_of(tmp_path / "new" / "journal.db")
    changed = [(table, row[0]) for table, rows in after.items() for row in rows if row not in before[table]]
    assert changed == [("errors", 22), ("events", 23), ("groups", "f9")]
    with reading(tmp_path / "new" / "journal.db") as conn:
        conn.row_factory = lambda cursor, row: dict(zip([one[0] for one in cursor.description], row, strict=True))
        assert all(sums.is_error(row, whole=True) for row in conn.execute("SELECT * FROM errors"))
        assert all(sums.is_event(row) for row in conn.execute("SELECT * FROM events"))
        conn.execute("INSERT INTO errors_fts (errors_fts, rank) VALUES ('integrity-check', 1)")
        assert conn.execute("SELECT count(*) AS n FROM errors_fts WHERE errors_fts MATCH 'geheim1'").fetchone() == {"n": 0}


def test_with_secrets_all_is_exactly_as_it_was(machine: Machine, tmp_path: Path) -> None:
    machine.checkpoints.create_checkpoint("component", "memory", {"token": "geheim"})
    machine.message({"token": "geheim"}, "m2")
    machine.config(CONFIG + f"# {KEY}\n", 2)
    manifest = machine.export(tmp_path / "x.zip", with_secrets=True, names=["passphrase"])
    assert (manifest.left_out, manifest.with_secrets) == ((), True)
    restored(tmp_path / "x.zip", tmp_path / "new")
    for name in ("checkpoints", "config_versions"):
        files = {path.relative_to(machine.folder): path.read_bytes() for path in (machine.folder / name).rglob("*.checkpoint")}
        assert files == {path.relative_to(tmp_path / "new"): path.read_bytes() for path in (tmp_path / "new" / name).rglob("*.checkpoint")}
    assert (tmp_path / "new" / "error_handling_config.yaml").read_text("utf-8").endswith(f"# {KEY}\n")
    assert rows_of(tmp_path / "new" / "outbox" / "mailer.db") == rows_of(machine.folder / "outbox" / "mailer.db")
