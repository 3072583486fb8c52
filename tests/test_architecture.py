"""Who may import whom, what an import costs, and who may read the clock."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
# Each may import itself and what stands before it.
PACKAGES: Final = ("resilience", "dashboard", "tray")
ROOMS: Final = {
    "words": (
        "clock context errors events exact home policies repeating "
        "config.nearest config.sections "
    ),
    "decisions": (
        "agent_executor bulkhead executor hedging listeners pipeline redaction refusals timeouts wrapping "
        "alerting.alerts alerting.batches alerting.channels alerting.digest alerting.handlers alerting.incidents alerting.manager alerting.policy alerting.routing alerting.silences alerting.words "
        "circuit.announcements circuit.blame circuit.breaker circuit.guarding circuit.ledger circuit.registry circuit.states circuit.window "
        "classification.classifier classification.evidence classification.known_errors classification.policy "
        "config.difference config.options config.settings config.version "
        "core.deaths core.lanes core.lives core.notices core.orders core.presence core.services core.state core.totals "
        "degradation.condition_parts degradation.conditions degradation.enforcement degradation.gate degradation.health degradation.levels degradation.loops degradation.manager degradation.policy degradation.rules "
        "detection.anomalies detection.call_counts detection.flood detection.lines detection.policy detection.reading detection.status "
        "healing.diagnosis healing.heals healing.policy healing.verification healing.waiting "
        "isolation.isolated isolation.isolator isolation.policy "
        "journal.health "
        "outbox.message "
        "processes.policy processes.status processes.supervision "
        "transactions.asked exporting.bundle recovery.checkpoint recovery.choosing recovery.critical exporting.leaving_out recovery.plans recovery.policy transactions.replaying transactions.steps "
        "retrying.attempts retrying.budget retrying.executor retrying.strategies "
        "sandbox.limits "
    ),
    "adapters": (
        "damage forking locked log shared_file "
        "alerting.addresses alerting.by_apprise alerting.senders alerting.sending "
        "agent.circuits agent.fitting agent.link agent.ollama agent.ollama_wire agent.reporting agent.spool agent.texts agent.wire "
        "config.checking config.cleaning config.explained config.file config.nodes config.problems config.rewriting config.shown config.values config.versions "
        "core.alerting core.caring core.causes core.configuring core.decisions core.facts core.gap core.goodbye core.inputs core.intake core.keeping core.last_word core.publishing core.records core.writing "
        "detection.metrics detection.prober detection.probes "
        "healing.memory "
        "journal.ahead journal.backup journal.course journal.finding journal.forgetting journal.history journal.journal journal.opening journal.pages journal.replacing journal.salvage journal.samples journal.schema journal.sums "
        "outbox.file outbox.store "
        "processes.identity processes.output processes.ports processes.posix processes.records processes.spawning processes.takeover processes.windows "
        "exporting.archive recovery.checkpoints exporting.clean_parts transactions.driving exporting.export transactions.owners exporting.placing exporting.restore recovery.restoring recovery.saving exporting.snapshot exporting.taking transactions.file transactions.scopes transactions.undoing "
        "sandbox.calling sandbox.cgroup sandbox.folders sandbox.guard sandbox.pipes sandbox.posix sandbox.runner sandbox.sandbox sandbox.tree_watch sandbox.windows "
    ),
    "shell": (
        "testing "
        "alerting.delivery alerting.ping "
        "agent.client agent.loops agent.orders agent.recovering "
        "core.asking core.collector core.core core.sign_of_life "
        "detection.anomaly_watch detection.sampler detection.service_probes "
        "healing.actions healing.engine healing.troubles "
        "journal.care "
        "outbox.channel outbox.delivery outbox.outbox "
        "recovery.engine recovery.steps transactions.beginning transactions.ground transactions.prepared transactions.running transactions.transaction transactions.manager "
        "processes.following processes.meter processes.runs processes.supervisor processes.telling "
    ),
}  # fmt: skip
# Decisions whose mutants nobody makes, by the reason; all others stand in pyproject.toml under only_mutate.
NOT_MUTATED: Final = {
    "locks, threads and waiting: a mutant that hangs says nothing": (
        "agent_executor bulkhead executor hedging pipeline timeouts alerting.handlers alerting.manager circuit.announcements circuit.breaker circuit.registry "
        "degradation.enforcement degradation.manager healing.waiting isolation.isolator retrying.executor"
    ),
    "what is wrapped is tested with what it wraps": "listeners refusals wrapping circuit.guarding recovery.critical",
    "settings and shapes: types, limits and defaults, which stand outside of functions": (
        "classification.policy config.settings degradation.policy processes.status recovery.policy"
    ),
}
ROOM_OF: Final = {name: number for number, names in enumerate(ROOMS.values()) for name in names.split()}
HEAVY: Final = {
    "PIL", "apprise", "click", "dashboard", "flask", "flask_socketio", "lark", "playwright", "prometheus_client", "psutil", "pystray",
    "sqlite_utils", "tray", "werkzeug", "yaml",
}  # fmt: skip
CLOCKS: Final = {
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
}
# Places outside clock.py that may read a real clock, each with its reason.
MAY_READ_CLOCKS: Final[dict[str, str]] = {}
LONG: Final = 300
# Files with more lines, each with its reason; what could be taken out of them has been.
MAY_BE_LONG: Final = {
    "dashboard/shapes.py": "one list: the shape of each answer of the API, which no code stands between",
    "resilience/errors.py": "one table: the taxonomy of §2.1, a class a kind",
    "resilience/pipeline.py": "every policy fused into one way to the call, sync, async and streamed; apart, a call costs more",
    "resilience/bulkhead.py": "one object under one lock, whose free way and queue must agree",
    "resilience/circuit/breaker.py": "one object under one lock; what it decides, counts, tells and wraps has files of its own",
    "resilience/core/core.py": "what others may ask of the core, method by method, with what each raises",
    "resilience/core/decisions.py": "one method an input; what they decide by is in files of their own",
    "resilience/agent/client.py": "what agents' authors see, method by method, with docstrings that are longer than the code",
    "resilience/agent/loops.py": "one loop's way from its beginning to its end, as a block, a decorator and a task",
    "resilience/journal/journal.py": "the one writer, and what it writes, statement by statement; the way to its file, and what it forgets, have files of their own",
    "resilience/processes/supervision.py": "one state machine: taken apart, no half could be read without the other",
    "resilience/processes/supervisor.py": "one thread and what it knows of each process; what it uses has files of its own",
}


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> Iterator[str]:
    """The dotted names that ``path`` imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.relative_to(ROOT)}: relative imports hide who imports whom"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_of(path: Path) -> str:
    """The name under which ``path`` stands in the table: ``processes.policy``, or for a package in one room ``testing``."""
    name = ".".join(path.relative_to(ROOT / "resilience").with_suffix("").parts)
    return name if name in ROOM_OF else name.partition(".")[0]


def room(name: str) -> int:
    """The room of what is imported as ``name``; -1 for what is in none."""
    parts = name.split(".")
    return next((ROOM_OF[found] for depth in (2, 1) if (found := ".".join(parts[:depth])) in ROOM_OF), -1)


def clocks_read(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", None)
            if node.attr in CLOCKS.get(str(owner), ()):
                yield f"{owner}.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (f"time.{alias.name}" for alias in node.names if alias.name in CLOCKS["time"])


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down_only(path: Path) -> None:
    """tray → dashboard → resilience: never the other way."""
    rank = PACKAGES.index(path.relative_to(ROOT).parts[0])
    upwards = [name for name in imported(path) if name.split(".")[0] in PACKAGES[rank + 1 :]]
    assert upwards == []


def test_mutants_are_made_of_every_decision_or_there_is_a_reason() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]
    mutated = {path.removeprefix("resilience/").removesuffix(".py").replace("/", ".") for path in tool["only_mutate"]}
    assert all((ROOT / path).is_file() for path in tool["only_mutate"])
    left_out = {name for names in NOT_MUTATED.values() for name in names.split()}
    assert set(ROOMS["decisions"].split()) - mutated == left_out


def test_a_file_is_short_or_has_a_reason() -> None:
    long = {path.relative_to(ROOT).as_posix() for path in modules() if path.read_text(encoding="utf-8").count("\n") > LONG}
    assert long == set(MAY_BE_LONG)


def test_every_module_of_resilience_has_a_room() -> None:
    found = {module_of(path) for path in (ROOT / "resilience").rglob("*.py") if path.stem != "__init__"}
    assert found == set(ROOM_OF)


@pytest.mark.parametrize("path", sorted((ROOT / "resilience").rglob("*.py")), ids=lambda path: path.stem)
def test_inside_resilience_imports_point_from_the_shell_to_the_words(path: Path) -> None:
    """shell → adapters → decisions → words; a module may import its neighbours in the same room."""
    if path.stem == "__init__":
        return  # the shop window shows something from every room
    names = [name.removeprefix("resilience.") for name in imported(path) if name.startswith("resilience.")]
    upwards = [name for name in names if room(name) > ROOM_OF[module_of(path)]]
    assert upwards == []


def test_importing_resilience_brings_nothing_heavy() -> None:
    """An agent pays for the library with milliseconds, not for the program around it."""
    script = "import json, sys, resilience; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert HEAVY.intersection(json.loads(done.stdout)) == set()


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_clock_module_reads_the_clocks(path: Path) -> None:
    """Time is an argument or comes from the injected clock, so that tests need not wait."""
    name = path.relative_to(ROOT).as_posix()
    if name != "resilience/clock.py" and name not in MAY_READ_CLOCKS:
        assert list(clocks_read(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    ("source", "read"),
    [
        ("import time\ntime.sleep(1)", ["time.sleep"]),
        ("from time import monotonic", ["time.monotonic"]),
        ("import datetime\ndatetime.datetime.now()", ["datetime.now"]),
        ("from datetime import datetime\ndatetime.fromisoformat('x')", []),
        ("clock.now()\nself._clock.monotonic()", []),
    ],
)
def test_a_clock_is_recognised_however_it_is_reached(source: str, read: list[str]) -> None:
    assert list(clocks_read(ast.parse(source))) == read
