"""Calls that wait until their service is healed, and are made once more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from resilience import ErrorContext
from resilience.degradation.gate import FeatureDisabledError
from resilience.executor import Resilience
from resilience.healing.waiting import EndedHeals
from resilience.testing import FakeClock
from tests.resilience.calls import REFUSED, Backend, Reports, finish


class Healer(Reports):
    """Somebody who heals: each report is answered by a heal with the next of these outcomes."""

    def __init__(self, clock: FakeClock, *outcomes: str) -> None:
        super().__init__(lambda: self.resilience_of)
        self.outcomes, self.heals = list(outcomes), EndedHeals(lambda: True, clock)
        self.resilience_of = Resilience(clock=clock, report=self, heals=self.heals)

    def __call__(self, error: Exception, service: str, operation: str, retries: int) -> ErrorContext:
        if self.outcomes:
            about = dict.fromkeys(("component", "root_cause", "target"), service)
            self.heals.take([{"id": len(self) + 1, **about, "outcome": self.outcomes.pop(0)}])
        return super().__call__(error, service, operation, retries)


def test_a_call_that_waits_for_healing_is_tried_once_more_and_never_twice(clock: FakeClock, call: Callable[..., Any]) -> None:
    """In the document's sample healing and calling went round in a circle until the stack was full."""
    healer, healed, ill = Healer(clock, "healed", "healed"), Backend(REFUSED, 7), Backend(REFUSED)
    protect = healer.resilience_of.protect("gmail_api", retry="none", wait_for_healing_s=60)
    assert call(protect, healed) == 7
    assert (healed.calls, len(healer)) == (2, 1)
    with pytest.raises(ConnectionRefusedError):
        call(protect, ill)
    assert (ill.calls, len(healer)) == (2, 3)


@pytest.mark.parametrize(("outcome", "waits"), [("escalated", 60), ("healed", None)])
def test_without_a_heal_or_a_wish_for_one_the_fallback_is_asked_at_once(
    clock: FakeClock, call: Callable[..., Any], outcome: str, waits: float | None
) -> None:
    healer, backend = Healer(clock, outcome), Backend(REFUSED)
    protect = healer.resilience_of.protect("gmail_api", retry="none", wait_for_healing_s=waits, fallback=lambda: "instead")
    assert call(protect, backend) == "instead"
    assert backend.calls == 1


def test_a_call_that_is_not_allowed_waits_for_no_heal(clock: FakeClock, call: Callable[..., Any]) -> None:
    heals = EndedHeals(lambda: pytest.fail("asked for a heal"), clock)

    def closed(_: str) -> None:
        raise FeatureDisabledError("gmail_api", "enable_gmail", "MINIMAL", "it burns")

    resilience = Resilience(clock=clock, heals=heals, gate=lambda *_: closed)
    with pytest.raises(FeatureDisabledError):
        call(resilience.protect("gmail_api", wait_for_healing_s=60), Backend(7))


def test_a_call_refused_by_the_open_circuit_waits_for_the_heal_too(clock: FakeClock, call: Callable[..., Any]) -> None:
    heals = EndedHeals(lambda: True, clock)
    resilience = Resilience(clock=clock, heals=heals)
    circuit = resilience.circuits.get_or_create("gmail_api")
    circuit.hold_open(60, "it is ill")
    protect = resilience.protect("gmail_api", retry="none", wait_for_healing_s=60)
    begin = heals.begin

    def healed_meanwhile(service: str) -> Any:
        wait = begin(service)
        circuit.reset("it is well")
        heals.take([{"id": 1, "component": service, "root_cause": service, "target": service, "outcome": "healed"}])
        return wait

    heals.begin = healed_meanwhile  # type: ignore[method-assign]
    assert call(protect, Backend(7)) == 7


def test_a_stream_that_had_not_begun_waits_for_healing_too(clock: FakeClock) -> None:
    healer, tries = Healer(clock, "healed", "healed"), []

    async def read(fails: int) -> list[int]:
        tries.clear()

        @healer.resilience_of.protect("gpt-5.2", retry="none", wait_for_healing_s=60)
        async def numbers() -> AsyncIterator[int]:
            tries.append(1)
            if len(tries) <= fails:
                raise REFUSED
            yield 1

        return [one async for one in numbers()]

    assert asyncio.run(finish(clock, read(1))) == [1]
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(finish(clock, read(5)))
    assert len(tries) == 2
