"""The documentation is held to the code."""

from __future__ import annotations

import re
from pathlib import Path

from resilience.errors import TAXONOMY
from resilience.events import EventType, Report

DOCS = Path(__file__).parent.parent / "docs"


def test_every_error_is_documented_as_it_is() -> None:
    rows = {row[0]: row[1:] for row in re.findall(r"`(\w+)` \| `([\w.]+)` \| (\w+) \| (\w+) \| (\w+) \|", (DOCS / "errors.md").read_text("utf-8"))}
    expected = {
        name: (one.kind, one.severity.name, "yes" if one.is_transient else "no", str(one.recovery_strategy))
        for name, one in TAXONOMY.items()
    }
    assert rows == expected


def test_every_event_is_documented() -> None:
    named = re.findall(r"^\| `([\w.]+)`", (DOCS / "events.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(EventType)


def test_every_field_of_a_report_is_documented() -> None:
    text = (DOCS / "agents-api.md").read_text("utf-8").partition("## Signs of life")[0]
    assert all(f"`{field}`" in text for field in Report.__struct_fields__)
