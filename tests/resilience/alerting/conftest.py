from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resilience.alerting.channels import Channels, WebhookChannel
from resilience.alerting.policy import Alerting
from resilience.classification.classifier import ErrorClassifier
from resilience.config.settings import Settings
from resilience.core.core import Core
from resilience.journal.history import History
from resilience.journal.journal import Journal
from resilience.redaction import Redactor
from resilience.testing import FakeClock

WEBHOOK = Channels(webhook=WebhookChannel(enabled=True, url="https://example.com/hook"))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def life(tmp_path: Path, clock: FakeClock) -> Iterator[Callable[..., Core]]:
    """A WinClaw's core on the same journal; the next one begins after the one before has ended."""
    lives: list[Core] = []

    def begin(**alerting: Any) -> Core:
        for before in lives:
            before.stop()
        journal = Journal(tmp_path / "journal.db", clock.now())
        settings = Settings(alerting=Alerting(**{"channels": WEBHOOK, **alerting}))
        core = Core(journal, History(journal.path), ErrorClassifier(clock=clock), Redactor(), clock, settings=settings)
        core.start()
        lives.append(core)
        return core

    yield begin
    for core in lives:
        core.stop()
        core.history.close()


@pytest.fixture
def core(life: Callable[..., Core]) -> Core:
    return life()
