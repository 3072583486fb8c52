"""A journal with a million errors, as an agent of a lively month leaves it: ``python -m tests.benchmarks.million FILE``."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from resilience.clock import SystemClock, as_text
from resilience.context import fingerprint
from resilience.errors import TAXONOMY
from resilience.journal.journal import Journal
from resilience.journal.schema import ErrorRecord, EventRecord, Record

ERRORS: Final = 1_000_000
TROUBLES: Final = 500
DAYS: Final = 30
COMMON, RARE, NEVER = "answer", "zanzibar", "aardvark"
"""Words for the search: in three errors of ten, in ten altogether, in none."""
_GROUP: Final = 1000
_COMPONENTS: Final = [f"service-{number}" for number in range(40)]
_OPERATIONS: Final = ("ask", "send", "read", "write", "plan", "search", "click", "sync", "index", "embed")
_WORDS: Final = "the model tool request file mail page did not came too late refused limit quota token schema value host name".split()
_SEVERITIES: Final = (2, 3, 3, 3, 4, 4, 4, 4, 5, 6)


def troubles() -> list[ErrorRecord]:
    """What goes wrong, a record each; the first ones happen most often."""
    dice = random.Random(7)
    classes = list(TAXONOMY.values())
    found = []
    for number in range(TROUBLES):
        one = classes[number % len(classes)]
        component, operation = _COMPONENTS[number * 7 % len(_COMPONENTS)], dice.choice(_OPERATIONS)
        words = dice.choices(_WORDS, k=8) + ([COMMON] if number % 10 < 3 else [])
        message = f"{' '.join(words)} after {{}} ms"
        found.append(
            ErrorRecord(
                "", "", one.kind, one.__name__, dice.choice(_SEVERITIES), "SINGLE_REQUEST", component, operation, f"agent-{number % 5}",
                fingerprint(one.kind, component, operation, one.__name__, message.format(1)), message, number % 2 == 0,
                "RETRY_WITH_BACKOFF", "the name of its class", None,
                b'{"stack": "Traceback (most recent call last):\\n  File \\"agent.py\\", line 12, in ask\\n    raise error"}',
            )
        )  # fmt: skip
    return found


def records(ends: datetime, count: int = ERRORS) -> Iterator[Record]:
    """``count`` errors up to ``ends``, the oldest first, and an event of another sort for every hundred of them."""
    dice = random.Random(11)
    known = troubles()
    chosen = dice.choices(known, weights=[1 / (place + 3) for place in range(TROUBLES)], k=count)
    begins, step = ends - timedelta(days=DAYS), timedelta(days=DAYS) / count
    for number, one in enumerate(chosen):
        at = as_text(begins + step * number)
        message = one.message.format(dice.randrange(10_000))
        if number % (count // 10) == count // 20:
            message += f" {RARE}"
        yield one._replace(at=at, received_at=at, message=message, key=f"{number:032x}")
        if number % 100 == 0:
            yield EventRecord(at, "agent.connected" if number % 200 else "agent.left", one.agent, b'{"pid": 4711}')


def build(path: Path, ends: datetime, count: int = ERRORS) -> None:
    """Writes them, as the journal's writer does."""
    journal = Journal(path, ends)
    group: list[Record] = []
    for one in records(ends, count):
        group.append(one)
        if len(group) == _GROUP:
            journal.commit(group)
            group = []
    journal.commit(group)
    journal.close()


if __name__ == "__main__":
    began = time.perf_counter()
    file = Path(sys.argv[1])
    build(file, SystemClock().now(), int(sys.argv[2]) if len(sys.argv) > 2 else ERRORS)
    print(f"{time.perf_counter() - began:.0f} s, {file.stat().st_size / 1e6:.0f} MB")
