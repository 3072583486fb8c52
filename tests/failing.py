"""Calls that fail, for tests of what happens then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from resilience.agent.client import Agent


def fail() -> None:
    """Fails as a service does that is not there."""
    raise ConnectionRefusedError(111, "refused")


def open_circuit(agent: Agent, service: str = "gpt-5.2") -> None:
    """Calls ``service`` in vain until its circuit opens."""
    call = agent.protect(service, retry="none")(fail)
    while not agent.resilience.circuits.get_or_create(service).is_open:
        with pytest.raises(ConnectionRefusedError):
            call()
