"""What retries do to a service that fails for a minute, with the budget and without: ``python -m tests.benchmarks.bench_retry_budget``.

Virtual time: thousands of clients call one service now and then; what a client does after a failure, the library's own
``RetryExecutor`` decides. The service answers so many calls a second and refuses the rest; from 60 s to 120 s, all.
Prints a table, and draws ``docs/policies/retry-budget.svg``.
"""

from __future__ import annotations

import heapq
import random
from pathlib import Path

import pytest

from resilience.circuit.window import Tally
from resilience.errors import ServiceUnavailableError
from resilience.policies import RetryBudget
from resilience.retrying.attempts import Attempt, RetryContext
from resilience.retrying.budget import Budget
from resilience.retrying.executor import RetryExecutor
from resilience.retrying.strategies import RetryConfig
from resilience.testing import FakeClock

CLIENTS, EVERY_S, CAPACITY, END_S = 5_000, 20.0, 400, 240
OUTAGE = range(60, 120)
EAGER = RetryConfig(max_retries=5, base_delay=0.5, max_delay=8.0)
PICTURE = Path(__file__).parents[2] / "docs" / "policies" / "retry-budget.svg"


def simulate(budget: RetryBudget | None, seed: int = 1) -> list[int]:
    """How many calls the service gets in each second."""
    clock, dice = FakeClock(), random.Random(seed)
    made = Tally()
    shared = Budget(budget, lambda: made.value, clock=clock) if budget is not None else None
    executor = RetryExecutor(EAGER, name="gpt-5.2", budget=shared, clock=clock, dice=dice.random)
    load, answered = [0] * END_S, [0] * END_S
    waiting: list[tuple[float, int, RetryContext | None]] = [
        (dice.expovariate(1 / EVERY_S), client, None) for client in range(CLIENTS)
    ]
    heapq.heapify(waiting)
    error = ServiceUnavailableError("busy")
    while waiting[0][0] < END_S:
        at_s, client, context = heapq.heappop(waiting)
        clock.advance(max(0.0, at_s - clock.monotonic()))
        second = int(at_s)
        load[second] += 1
        made.tick()
        pause_s = None
        if second in OUTAGE or answered[second] >= CAPACITY:
            context = context or RetryContext()
            pause_s = executor.next_pause(context, Attempt(error))
        else:
            answered[second] += 1
        if pause_s is None:
            heapq.heappush(waiting, (at_s + dice.expovariate(1 / EVERY_S), client, None))
        else:
            heapq.heappush(waiting, (at_s + pause_s, client, context))
    return load


def table(loads: dict[str, list[int]]) -> str:
    """Calls a second, on average over each ten seconds."""
    lines = ["from s" + "".join(f"{name:>20}" for name in loads) + "    calls a second that reach the service"]
    for begin in range(30, END_S, 10):
        row = "".join(f"{sum(load[begin : begin + 10]) / 10:>20.0f}" for load in loads.values())
        lines.append(f"{begin:>6}{row}{'    outage' if begin in OUTAGE else ''}")
    return "\n".join(lines)


def picture(loads: dict[str, list[int]]) -> str:
    """The same as a line for each."""
    width, height, most = 720, 260, max(max(load) for load in loads.values())

    def x(second: float) -> float:
        return 50 + second * (width - 70) / END_S

    def y(calls: float) -> float:
        return height - 30 - calls * (height - 60) / most

    colours = ("#c2410c", "#1d4ed8", "#15803d")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<rect x="{x(OUTAGE.start):.0f}" y="10" width="{x(OUTAGE.stop) - x(OUTAGE.start):.0f}" height="{height - 40}" fill="#fee2e2"/>',
        f'<text x="{x(OUTAGE.start) + 6:.0f}" y="24" fill="#7f1d1d">the service is down</text>',
        f'<path d="M50 {y(CAPACITY):.0f}H{width - 20}" stroke="#6b7280" stroke-dasharray="4 4"/>',
        f'<text x="{width - 24}" y="{y(CAPACITY) - 4:.0f}" text-anchor="end" fill="#374151">what it can answer: {CAPACITY}/s</text>',
        f'<path d="M50 10V{height - 30}H{width - 20}" fill="none" stroke="#374151"/>',
    ]
    parts += [f'<text x="{x(second):.0f}" y="{height - 12}" text-anchor="middle">{second} s</text>' for second in range(0, END_S + 1, 60)]
    parts += [f'<text x="44" y="{y(calls) + 4:.0f}" text-anchor="end">{calls}</text>' for calls in range(0, most, 400)]
    for colour, (name, load) in zip(colours, loads.items(), strict=False):
        smooth = [sum(load[max(0, n - 2) : n + 3]) / len(load[max(0, n - 2) : n + 3]) for n in range(END_S)]
        line = "L".join(f"{x(n):.1f} {y(calls):.1f}" for n, calls in enumerate(smooth))
        parts.append(f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        at = 44 + 16 * list(loads).index(name)
        parts.append(f'<text x="{width - 24}" y="{at}" text-anchor="end" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def everything() -> dict[str, list[int]]:
    return {"no budget": simulate(None), "the default budget": simulate(RetryBudget())}


@pytest.mark.benchmark
def test_an_outage_does_not_become_a_storm() -> None:
    """With the budget the service is asked a fifth more than without an outage; without one, several times as much."""
    loads = everything()
    print(f"\n{table(loads)}")
    usual = sum(loads["no budget"][30:60]) / 30
    during = {name: sum(load[60:120]) / 60 / usual for name, load in loads.items()}
    after = {name: max(load[120:150]) / usual for name, load in loads.items()}
    print(f"load while it is down, over the usual: {during}; at most in the half minute after: {after}")
    assert during["the default budget"] < 1.3 < 2 < during["no budget"]
    assert after["the default budget"] < after["no budget"]


if __name__ == "__main__":
    found = everything()
    print(table(found))
    PICTURE.write_text(picture(found), encoding="utf-8")
