"""The agents' API: reports and heartbeats come in, the state goes down. Any language can speak it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from flask import Blueprint, Response, jsonify, request
from msgspec import Meta, Struct

from dashboard import shapes
from dashboard.operations import Operation, described, operation
from dashboard.problems import Problem, decoded_json
from resilience.core.core import Core
from resilience.core.intake import UnfitReportError, check
from resilience.events import Heartbeat, Report

MAX_BODY_BYTES: Final = 1_000_000
_MAX_BATCH: Final = 1_000
_COMMIT_S: Final = 10.0
_MAX_WAIT_S: Final = 25.0
_MAX_WAITING_AGENTS: Final = 100


class Waiting(Struct, frozen=True, kw_only=True):
    """How long an agent waits for what it does not know yet: seconds, of which at most 25 count; ``version`` and ``settings`` are
    of the state and of the policies that it has."""

    wait: Annotated[float, Meta(ge=0)] = 0.0
    version: int = -1
    settings: str = ""


def agents_api(core: Core, policy: Callable[[], Mapping[str, Any]]) -> Blueprint:
    """Routes under ``/api/v1`` for agents.

    Args:
        policy: gives what agents are told with the state: ``gates`` (which feature flag each service needs), ``heartbeat_s``,
            ``settings`` (the policies of calls), and ``settings_id``, by which an agent says that it has them.
    """
    api = Blueprint("agents", __name__, url_prefix="/api/v1")
    one, many = msgspec.json.Decoder(Report), msgspec.json.Decoder(list[Report])
    heartbeat = msgspec.json.Decoder(Heartbeat)
    places = threading.BoundedSemaphore(_MAX_WAITING_AGENTS)

    @api.post("/errors")
    @described(Operation("Reports one error, or several.", shapes.Stored, body=Report | list[Report], problems=(415,)))
    def errors() -> Response:
        body = _body()
        reports: Sequence[Report]
        if body.lstrip()[:1] == b"[":
            reports = decoded_json(many.decode, body)
            if len(reports) > _MAX_BATCH:
                raise Problem(413, "Too many at once", f"A batch has at most {_MAX_BATCH} reports; send several.", field="")
            place = "[{}]."
        else:
            reports, place = [decoded_json(one.decode, body)], ""
        for number, report in enumerate(reports):
            try:
                check(report, core.clock.now(), core.max_age)
            except UnfitReportError as error:
                raise Problem(422, "Unfit report", str(error), field=place.format(number) + error.field) from error
        return jsonify(ids=core.report(reports).result(_COMMIT_S))

    @api.post("/heartbeats")
    @described(Operation("A sign of life, with what the agent has to tell.", shapes.Beaten, body=Heartbeat, problems=(415,)))
    def heartbeats() -> Response:
        core.beat(decoded_json(heartbeat.decode, _body())).result(_COMMIT_S)
        return jsonify(state=core.view(), policy=_without_settings(policy()))

    @api.get("/agents/<name>/orders")
    @operation("What is allowed, and what an agent is asked to do.", shapes.Orders, query=Waiting)
    def orders(name: str, query: Waiting) -> Response:
        wait_s = min(query.wait, _MAX_WAIT_S)
        if not places.acquire(blocking=False):
            raise Problem(503, "Too many agents wait", "Ask again without wait.", headers={"Retry-After": "5"})
        try:
            state = core.wait_for_change(query.version, wait_s) if wait_s > 0 else core.state
        finally:
            places.release()
        told = policy()
        if query.settings == told["settings_id"]:
            told = _without_settings(told)
        given = [order.view() for order in state.orders.values() if name in order.agents]
        return jsonify(agent=name, state=state.view(core.clock.now()), policy=told, orders=given)

    return api


def _without_settings(policy: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in policy.items() if name != "settings"}


def _body() -> bytes:
    if request.mimetype != "application/json":
        raise Problem(415, "Not JSON", "Send the body as application/json.")
    return request.get_data(cache=False)
