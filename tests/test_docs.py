"""The documentation is held to the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from resilience.errors import TAXONOMY
from resilience.events import EventType, Report
from resilience.testing import Faults

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


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


def test_the_examples_for_testers_pass(tmp_path: Path) -> None:
    """As a user would run them: one file of tests, by pytest."""
    examples = "\n".join(re.findall(r"^```python\n(.*?)^```", (DOCS / "testing.md").read_text("utf-8"), re.MULTILINE | re.DOTALL))
    (tmp_path / "test_examples.py").write_text(examples, "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_examples.py"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{examples.count('def test_')} passed" in done.stdout


def test_every_way_to_order_a_fault_is_documented() -> None:
    text = (DOCS / "testing.md").read_text("utf-8")
    orders = [name for name in vars(Faults) if not name.startswith("_") and name != "script"]
    assert [name for name in orders if f"{name}(" not in text and f".{name}" not in text] == []
