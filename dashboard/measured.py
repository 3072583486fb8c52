"""What was measured, as pages and API show it: each service's numbers of the last minute and hour, and charts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from dashboard.present import charts, now
from dashboard.present.charts import SPANS, Span, Unit
from dashboard.present.windows import Window
from resilience.clock import as_text
from resilience.core.core import Core
from resilience.detection.call_counts import Calls
from resilience.healing.policy import MACHINE
from resilience.journal.samples import Sample, minute_of

_WRITTEN_AFTER: Final = timedelta(seconds=10)
"""So long after its end a minute is written at the latest, as a rule."""


class Measured:
    """Reads what was measured.

    Args:
        lately: the calls of each service in the last minute: see ``Sampler.lately``.
    """

    def __init__(self, core: Core, lately: Callable[[], Mapping[str, Calls]]) -> None:
        self._core, self._lately = core, lately

    def services(self) -> list[dict[str, Any]]:
        """The services with their circuits and numbers, those in trouble first."""
        found, lately = self._found(SPANS["1h"]), self._lately()
        failures = {name: [0 if one is None else one.failures or 0 for one in samples] for name, samples in found.items()}
        services = self._core.view()["services"]
        return [now.circuit(one, lately.get(one["name"], Calls()), failures.get(one["name"], ())) for one in services]

    def of_services(self, window: Window) -> dict[str, Any]:
        """The charts of the services' calls over the window."""
        span, minute = SPANS[window.name], self._minute
        found, moments = self._found(span), charts.steps(span, minute)
        troubled = {one.name for one in self._core.state.services.circuits.values() if one.state != "CLOSED"}
        shown = charts.shown_services(found, troubled)

        def drawn(chart: str, metric: str, unit: Unit, least: float) -> dict[str, Any]:
            return charts.chart(chart, moments, charts.lines_of(metric, found, shown), unit=unit, least=least)

        every = {1: "a minute", 10: "in ten minutes", 60: "an hour"}[span.step]
        return {
            "left_out": sum(1 for one in found if one != MACHINE) - len(shown),
            "charts": [
                ("How long calls take", "95 of 100 took no longer (p95)", drawn("p95", "p95_ms", "ms", 10.0)),
                ("Failed calls", "of 100 calls, so many failed", drawn("failed", "failed_percent", "%", 10.0)),
                ("Calls", every, drawn("calls", "calls", "", 4.0)),
            ],
        }

    def of_machine(self, window: Window) -> dict[str, Any]:
        """The chart of CPU and memory over the window."""
        span = SPANS[window.name]
        found = self._found(span).get(MACHINE) or [None] * span.steps
        lines = [
            charts.Line("CPU", [None if one is None else one.cpu_percent for one in found]),
            charts.Line("Memory", [None if one is None else one.memory_percent for one in found]),
        ]
        return charts.chart("use", charts.steps(span, self._minute), lines, unit="%", least=100.0)

    def samples(self, window: Window, component: str | None) -> dict[str, Any]:
        """What was measured over the window, as the API gives it; of all components, or one."""
        span, minute = SPANS[window.name], self._minute
        first = span.first(minute)
        found = self._core.history.samples(first, minute, span.step)
        told = [_view(at, one) for at, one in found if component is None or one.component == component]
        return {"window": window.name, "step_s": 60 * span.step, "since": _text(first), "samples": told}

    @property
    def _minute(self) -> int:
        """The last minute that has been written."""
        return minute_of(self._core.clock.now() - _WRITTEN_AFTER) - 1

    def _found(self, span: Span) -> dict[str, list[Sample | None]]:
        minute = self._minute
        return charts.by_component(self._core.history.samples(span.first(minute), minute, span.step), span, minute)


def _view(at: int, one: Sample) -> dict[str, Any]:
    return {"at": _text(at), **{name: value for name, value in one._asdict().items() if value is not None}}


def _text(minute: int) -> str:
    return as_text(datetime.fromtimestamp(60 * minute, UTC))
