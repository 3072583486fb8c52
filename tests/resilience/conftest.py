"""What the tests of the library share: a clock that moves when told to, and policies around a call that report to the test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from resilience.executor import Resilience
from resilience.testing import FakeClock
from tests.resilience.calls import Backend, Reports, finish


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def reports(request: pytest.FixtureRequest) -> Reports:
    return Reports(lambda: request.getfixturevalue("resilience"))


@pytest.fixture
def resilience(clock: FakeClock, reports: Reports) -> Resilience:
    return Resilience(clock=clock, report=reports)


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, clock: FakeClock) -> Callable[..., Any]:
    """Protects a service's ``ask``, as a function and as a coroutine function, and calls it."""

    def protected(protect: Callable[..., Any], service: Backend, *args: Any, **kwargs: Any) -> Any:
        if request.param == "sync":
            return protect(service.ask)(*args, **kwargs)
        return asyncio.run(finish(clock, protect(service.ask_later)(*args, **kwargs)))

    return protected
