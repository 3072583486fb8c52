"""The JSON API for people's tools: reading what is stored, and commanding."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Blueprint, Response, jsonify, request
from msgspec import Meta, Struct

from dashboard.access import Access
from dashboard.commands import Commands
from dashboard.measured import Measured
from dashboard.problems import decoded_json
from dashboard.query import error_filter, whole_number, window
from dashboard.timeline import Timeline
from resilience.alerting.digest import digest
from resilience.alerting.incidents import incidents
from resilience.alerting.incidents import timeline as timeline_of
from resilience.core.core import Core
from resilience.core.inputs import HowIsolated
from resilience.events import Text
from resilience.journal.history import MAX_ROWS


class _Confirmed(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    confirm: str | None = None


class _LevelWanted(_Confirmed, frozen=True, forbid_unknown_fields=True):
    level: str


class _ChannelWanted(Struct, frozen=True, forbid_unknown_fields=True):
    channel: str
    wait_s: Annotated[float, Meta(ge=0, le=25)] = 0.0


class _Snooze(Struct, frozen=True, forbid_unknown_fields=True):
    for_s: float


class _Isolation(HowIsolated, frozen=True, forbid_unknown_fields=True):
    reason: Text = ""
    for_s: Annotated[float, Meta(gt=0, le=31_536_000)] | None = None


def _for_s(otherwise: float) -> float:
    """For how long the current request's sender wants it."""
    content = request.get_data(cache=False)
    return decoded_json(msgspec.json.Decoder(_Snooze).decode, content).for_s if content not in (b"", b"{}") else otherwise


def json_api(core: Core, access: Access, commands: Commands, measured: Measured) -> Blueprint:
    """Routes under ``/api/v1`` that read and command; who may is checked before they are reached."""
    api = Blueprint("api", __name__, url_prefix="/api/v1")

    @api.get("/state")
    def state() -> Response:
        return jsonify(core.view())

    @api.get("/loops")
    def loops() -> Response:
        view = core.view()
        return jsonify(level=view["level"], loops=view["loops"])

    @api.get("/processes")
    def processes() -> Response:
        return jsonify(processes=core.view()["processes"])

    @api.get("/processes/<name>/output")
    def output(name: str) -> Response:
        mark = request.args.get("after")
        if mark is not None:
            return jsonify(commands.output_after(name, mark)._asdict())
        return Response(commands.output(name), content_type="text/plain; charset=utf-8")

    @api.post("/processes/<name>/<command>")
    def process(name: str, command: str) -> Response:
        commands.process(name, command)
        return jsonify(state=core.view())

    @api.get("/events")
    def events() -> Response:
        since, limit = whole_number("since", 0), whole_number("limit", 200, most=MAX_ROWS, least=1)
        found = core.history.events(since, limit)
        last = found[-1].id if found else since
        return jsonify(events=[event.view() for event in found], last=last, more=len(found) == limit)

    @api.get("/errors")
    def errors() -> Response:
        limit = whole_number("limit", 50, most=MAX_ROWS, least=1)
        found = core.history.errors(error_filter(), limit)
        return jsonify(errors=[event.view() for event in found], next=found[-1].id if len(found) == limit else None)

    @api.get("/errors/<int:error_id>")
    def error(error_id: int) -> Response:
        return jsonify(commands.error(error_id).view())

    @api.get("/groups")
    def groups() -> Response:
        limit = whole_number("limit", 50, most=MAX_ROWS, least=1)
        found = core.history.groups(error_filter(), limit=limit)
        return jsonify(groups=found, next=found[-1]["last_id"] if len(found) == limit else None)

    @api.get("/timeline")
    def timeline() -> Response:
        return jsonify(Timeline(core).view(window()))

    @api.get("/samples")
    def samples() -> Response:
        return jsonify(measured.samples(window(), request.args.get("component") or None))

    @api.post("/level")
    def level() -> Response:
        wanted = decoded_json(msgspec.json.Decoder(_LevelWanted).decode, request.get_data(cache=False))
        commands.level(wanted.level, wanted.confirm)
        return jsonify(state=core.view())

    @api.post("/circuits/<path:service>/<command>")
    def circuit(service: str, command: str) -> Response:
        content = request.get_data(cache=False)
        how = decoded_json(msgspec.json.Decoder(_Isolation).decode, content) if content else None
        commands.circuit(service, command, how)
        return jsonify(state=core.view())

    @api.get("/healing")
    def healing() -> Response:
        return jsonify(healing=[heal.view() for heal in reversed([*core.state.heals.values()])])

    @api.get("/healing/<int:number>")
    def one_heal(number: int) -> Response:
        return jsonify(commands.heal(number).view())

    @api.post("/healing/<int:number>/<decision>")
    def decide(number: int, decision: str) -> Response:
        wanted = decoded_json(msgspec.json.Decoder(_Confirmed).decode, request.get_data(cache=False) or b"{}")
        commands.decide(number, decision, wanted.confirm)
        return jsonify(state=core.view())

    @api.get("/alerts")
    def alerts() -> Response:
        return jsonify(alerts=[alert.view() for alert in reversed([*core.state.alerts.values()])])

    @api.get("/alerts/<int:number>")
    def one_alert(number: int) -> Response:
        return jsonify(commands.alert(number).view())

    @api.get("/incidents")
    def all_incidents() -> Response:
        now, alerts = core.clock.now(), core.state.alerts.values()
        return jsonify(incidents=[{**one.view(), "digest": digest(one, (), now)} for one in incidents(alerts)])

    @api.get("/incidents/<int:number>")
    def one_incident(number: int) -> Response:
        found, events = commands.incident(number)
        told = [event.view() for event in timeline_of(found, events)]
        return jsonify({**found.view(), "digest": digest(found, events, core.clock.now()), "events": told})

    @api.post("/alerts/<int:number>/<decision>")
    def decide_alert(number: int, decision: str) -> Response:
        commands.decide_alert(number, decision, _for_s(3600.0))
        return jsonify(commands.alert(number).view())

    @api.post("/alerts/ack")
    def acknowledge_alerts() -> Response:
        return jsonify(acknowledged=commands.acknowledge_alerts())

    @api.post("/alerts/snooze")
    def snooze_alerts() -> Response:
        commands.snooze_alerts(_for_s(3600.0))
        return jsonify(state=core.view())

    @api.post("/alerts/test")
    def test_channel() -> Response:
        wanted = decoded_json(msgspec.json.Decoder(_ChannelWanted).decode, request.get_data(cache=False))
        return jsonify(commands.test_channel(wanted.channel, wanted.wait_s).view())

    @api.post("/login-links")
    def login_links() -> Response:
        return jsonify(url=access.login_link())

    @api.post("/logout-everywhere")
    def logout_everywhere() -> Response:
        access.rotate()
        return jsonify(done=True)

    return api
