from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resilience.alerting.channels import Channels, WebhookChannel
from resilience.alerting.manager import AlertManager
from resilience.alerting.policy import Alerting
from resilience.config.settings import Settings
from resilience.core.core import Core
from resilience.journal.journal import Journal
from resilience.testing import FakeClock
from tests.resilience.core.cores import core_on, end

WEBHOOK = Channels(webhook=WebhookChannel(enabled=True, url="https://example.com/hook"))


@pytest.fixture
def life(tmp_path: Path, clock: FakeClock) -> Iterator[Callable[..., Core]]:
    """A WinClaw's core on the same journal; the next one begins after the one before has ended."""
    lives: list[Core] = []

    def begin(**alerting: Any) -> Core:
        for before in lives:
            before.stop()
        settings = Settings(alerting=Alerting(**{"channels": WEBHOOK, **alerting}))
        core = core_on(Journal(tmp_path / "journal.db", clock.now()), clock, settings)
        lives.append(core)
        return core

    yield begin
    end(lives)


@pytest.fixture
def core(life: Callable[..., Core]) -> Core:
    return life()


@pytest.fixture
def manager(clock: FakeClock) -> AlertManager:
    return AlertManager(clock=clock)
