"""``/metrics``: the core's state for Prometheus, read when it is asked for, in either of its two text formats."""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from flask import Blueprint, Response, request

from dashboard.machine import own_numbers
from resilience import __version__
from resilience.core.core import Core

if TYPE_CHECKING:  # see metrics()
    from prometheus_client.core import Metric

_OPEN_METRICS: Final = "application/openmetrics-text"


class _Told:
    """Metrics for an exposition that asks for them once; none of the library's registries has them, or tells of its own."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def metrics_page(core: Core, machine: Callable[[], Mapping[str, float]]) -> Blueprint:
    """The route; who may read it is checked before it is reached.

    Args:
        machine: this machine's numbers.
    """
    site = Blueprint("metrics", __name__)

    @site.get("/metrics")
    def metrics() -> Response:
        # Its modules are loaded when somebody scrapes, not at start: that takes as long as a tenth of all else.
        from prometheus_client.exposition import generate_latest as plain  # noqa: PLC0415
        from prometheus_client.openmetrics.exposition import generate_latest as open_metrics  # noqa: PLC0415

        from dashboard.present.metrics import families  # noqa: PLC0415

        build = {"version": __version__, "python": platform.python_version(), "system": platform.system()}
        told = _Told(
            families(
                core.state, core.totals, core.clock.now(), build=build, machine=machine(), process=own_numbers(),
                last_id=_last_id(core),
            )
        )  # fmt: skip
        if any(one.partition(";")[0].strip() == _OPEN_METRICS for one in request.accept_mimetypes.values()):
            text: bytes = open_metrics(told)  # type: ignore[no-untyped-call]
            kind = f"{_OPEN_METRICS}; version=1.0.0; charset=utf-8"
        else:
            text, kind = plain(told), "text/plain; version=0.0.4; charset=utf-8"
        return Response(text, content_type=kind)

    return site


def _last_id(core: Core) -> int | None:
    """The newest id in the journal; None where that cannot be read just now, which is no reason to tell nothing else."""
    try:
        found = core.history.state("last_id")
    except sqlite3.Error:
        return None
    return found if isinstance(found, int) else None
