"""The documentation is held to the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from resilience.config.sections import Section
from resilience.config.settings import Settings
from resilience.degradation.condition_parts import PROPERTIES
from resilience.degradation.levels import FEATURES, DegradationLevel
from resilience.errors import TAXONOMY
from resilience.events import EventType, Report
from resilience.policies import BulkheadLimits, CircuitBreakerConfig, RetryBudget, RetryStrategy
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


RUNNING = [*sorted((DOCS / "policies").glob("*.md")), *(DOCS / f"{name}.md" for name in ("alerts", "levels", "loops", "ollama", "outbox", "recovery", "transactions"))]


@pytest.mark.parametrize("page", RUNNING, ids=lambda page: page.stem)
def test_the_examples_run(page: Path, tmp_path: Path) -> None:
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL))
    assert code
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "WINCLAW_HOME": str(tmp_path)},
    )  # fmt: skip


def test_the_row_of_every_level_is_documented() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|((?: (?:on)? ?\|){5})$", (DOCS / "levels.md").read_text("utf-8"), re.MULTILINE))
    found = {flag: [cell.strip() == "on" for cell in row.split("|")[:5]] for flag, row in rows.items()}
    assert found == {flag: [FEATURES[level][flag] for level in DegradationLevel] for flag in FEATURES[DegradationLevel.FULL]}


def test_the_language_of_the_rules_is_documented() -> None:
    text = (DOCS / "levels.md").read_text("utf-8")
    assert [name for name in PROPERTIES if f"`NAME.{name}`" not in text] == []


def test_the_tier_of_every_loop_is_documented() -> None:
    rows = re.findall(r"^\| `(basic|core|all)` \| (.*?) \|", (DOCS / "loops.md").read_text("utf-8"), re.MULTILINE)
    found = {name: tier for tier, names in rows for name in re.findall(r"`(\w+)`", names)}
    assert found == {name: loop.tier for name, loop in Settings().loops.items()}


@pytest.mark.parametrize(
    ("page", "policy"),
    [
        ("circuit-breaker", CircuitBreakerConfig()), ("retry", RetryStrategy()), ("retry", RetryBudget()),
        ("bulkhead", BulkheadLimits()),
    ],
)  # fmt: skip
def test_every_setting_of_a_policy_stands_on_its_page_with_its_default(page: str, policy: Section) -> None:
    text = (DOCS / "policies" / f"{page}.md").read_text("utf-8")
    for name in policy.__struct_fields__:
        value = getattr(policy, name)
        shown = "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
        shown = shown.lower() if isinstance(value, bool) else shown
        assert re.search(rf"^\| `{name}` \| `?{re.escape(shown)}(\.0)?`? \|", text, re.MULTILINE), (name, shown)


def test_every_link_between_pages_leads_somewhere() -> None:
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_walks_lead_through_files_that_are_there_and_not_through_many() -> None:
    """The page on how it hangs together names modules by package; one that was moved is moved there, too."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    packages = [path.name for path in (ROOT / "resilience").iterdir() if path.is_dir()]
    module = rf"(?:{'|'.join([*packages, 'tray', 'dashboard', 'static'])})/[a-z_.]+"
    named = set(re.findall(f"`({module})`", page))
    assert len(named) > 50
    there = {one for one in named for base in (ROOT / "resilience", ROOT) for end in ("", ".py") if (base / f"{one}{end}").exists()}
    assert named - there == set()
    alone = [path.stem for path in (ROOT / "resilience").glob("*.py")]
    for walk in page.split("\n## ")[1:]:
        if walk.startswith("The walk"):
            visited = set(re.findall(f"`({module}|{'|'.join(alone)})`", walk))
            assert len(visited) <= 8, walk
