"""The JSON API for people's tools: reading what is stored, and commanding."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from flask import Blueprint, Response, jsonify
from msgspec import Meta, Struct

from dashboard import shapes
from dashboard.access import Access
from dashboard.commands import Commands
from dashboard.measured import Measured
from dashboard.operations import operation
from dashboard.query import ErrorPage, EventPage, OutputQuery, SampleQuery, WindowQuery
from dashboard.timeline import Timeline
from resilience.alerting.digest import digest
from resilience.alerting.incidents import incidents
from resilience.alerting.incidents import timeline as timeline_of
from resilience.core.core import Core
from resilience.core.inputs import HowIsolated
from resilience.events import Text


class Confirmed(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """With the token that an answer 409 had, once a person has seen its preview."""

    confirm: str | None = None


class LevelWanted(Confirmed, frozen=True, forbid_unknown_fields=True):
    """The level to pin, as its name or number; ``auto``: as the rules say."""

    level: str


class ChannelWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """The channel that is to say that this is a test, and for how many seconds the answer may wait for what comes of it."""

    channel: str
    wait_s: Annotated[float, Meta(ge=0, le=25)] = 0.0


class SnoozeWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """For how many seconds, at least a minute; 0: not any more."""

    for_s: Annotated[float, Meta(ge=0, le=604_800)] = 3600.0


class Isolation(HowIsolated, frozen=True, forbid_unknown_fields=True):
    """Why it is isolated, for how long, and what goes with it; only to isolate."""

    reason: Text = ""
    for_s: Annotated[float, Meta(gt=0, le=31_536_000)] | None = None


CIRCUIT_COMMANDS: Final = Literal["isolate", "release", "reset"]
PROCESS_COMMANDS: Final = Literal["start", "stop", "restart"]
HEAL_DECISIONS: Final = Literal["approve", "reject", "dismiss"]
ALERT_DECISIONS: Final = Literal["ack", "snooze"]


def json_api(core: Core, access: Access, commands: Commands, measured: Measured) -> Blueprint:
    """Routes under ``/api/v1`` that read and command; who may is checked before they are reached."""
    api = Blueprint("api", __name__, url_prefix="/api/v1")

    @api.get("/state")
    @operation("The state: all that holds now.", shapes.StateView)
    def state() -> Response:
        return jsonify(core.view())

    @api.get("/loops")
    @operation("The loops in which agents work.", shapes.Loops)
    def loops() -> Response:
        view = core.view()
        return jsonify(level=view["level"], loops=view["loops"])

    @api.get("/processes")
    @operation("The supervised processes.", shapes.Processes)
    def processes() -> Response:
        return jsonify(processes=core.view()["processes"])

    @api.get("/processes/<name>/output")
    @operation("The last of a process's output, or what came after a mark.", (None, shapes.PieceView), query=OutputQuery)
    def output(name: str, query: OutputQuery) -> Response:
        if query.after is not None:
            return jsonify(commands.output_after(name, query.after)._asdict())
        return Response(commands.output(name), content_type="text/plain; charset=utf-8")

    @api.post("/processes/<name>/<command>")
    @operation("Starts, stops or restarts a process.", shapes.Stated, path={"command": PROCESS_COMMANDS})
    def process(name: str, command: str) -> Response:
        commands.process(name, command)
        return jsonify(state=core.view())

    @api.get("/events")
    @operation("What happened after an id.", shapes.Events, query=EventPage)
    def events(query: EventPage) -> Response:
        found = core.history.events(query.since, query.limit)
        last = found[-1].id if found else query.since
        return jsonify(events=[event.view() for event in found], last=last, more=len(found) == query.limit)

    @api.get("/errors")
    @operation("Errors by page, filtered.", shapes.Errors, query=ErrorPage)
    def errors(query: ErrorPage) -> Response:
        found = core.history.errors(query.filter, query.limit)
        return jsonify(errors=[event.view() for event in found], next=found[-1].id if len(found) == query.limit else None)

    @api.get("/errors/<int:error_id>")
    @operation("One error, whole.", shapes.WholeErrorView)
    def error(error_id: int) -> Response:
        return jsonify(commands.error(error_id).view())

    @api.get("/groups")
    @operation("Errors that are the same trouble, with their counts.", shapes.Groups, query=ErrorPage)
    def groups(query: ErrorPage) -> Response:
        found = core.history.groups(query.filter, limit=query.limit)
        return jsonify(groups=found, next=found[-1]["last_id"] if len(found) == query.limit else None)

    @api.get("/timeline")
    @operation("What held in a window that ends now, for how long, and its errors.", shapes.TimelineView, query=WindowQuery)
    def timeline(query: WindowQuery) -> Response:
        return jsonify(Timeline(core).view(query.chosen))

    @api.get("/samples")
    @operation("What was measured in a window that ends now, step by step.", shapes.Samples, query=SampleQuery)
    def samples(query: SampleQuery) -> Response:
        return jsonify(measured.samples(query.chosen, query.component or None))

    @api.post("/level")
    @operation("Pins the level, or has the rules choose it.", shapes.Stated, body=LevelWanted, problems=(409,))
    def level(body: LevelWanted) -> Response:
        commands.level(body.level, body.confirm)
        return jsonify(state=core.view())

    @api.post("/circuits/<path:service>/<command>")
    @operation(
        "Isolates, releases or resets a service.", shapes.Stated, optional_body=Isolation, path={"command": CIRCUIT_COMMANDS}
    )
    def circuit(service: str, command: str, body: Isolation) -> Response:
        commands.circuit(service, command, body)
        return jsonify(state=core.view())

    @api.get("/healing")
    @operation("The heals.", shapes.Healing)
    def healing() -> Response:
        return jsonify(healing=[heal.view() for heal in reversed([*core.state.heals.values()])])

    @api.get("/healing/<int:number>")
    @operation("One heal.", shapes.HealView)
    def one_heal(number: int) -> Response:
        return jsonify(commands.heal(number).view())

    @api.post("/healing/<int:number>/<decision>")
    @operation(
        "Decides on a heal.", shapes.Stated, optional_body=Confirmed, path={"decision": HEAL_DECISIONS}, problems=(409,)
    )
    def decide(number: int, decision: str, body: Confirmed) -> Response:
        commands.decide(number, decision, body.confirm)
        return jsonify(state=core.view())

    @api.get("/alerts")
    @operation("The alerts.", shapes.Alerts)
    def alerts() -> Response:
        return jsonify(alerts=[alert.view() for alert in reversed([*core.state.alerts.values()])])

    @api.get("/alerts/<int:number>")
    @operation("One alert.", shapes.AlertView)
    def one_alert(number: int) -> Response:
        return jsonify(commands.alert(number).view())

    @api.get("/incidents")
    @operation("Alerts that belong together.", shapes.Incidents)
    def all_incidents() -> Response:
        now, alerts = core.clock.now(), core.state.alerts.values()
        return jsonify(incidents=[{**one.view(), "digest": digest(one, (), now)} for one in incidents(alerts)])

    @api.get("/incidents/<int:number>")
    @operation("One incident, with what happened around it.", shapes.WholeIncidentView)
    def one_incident(number: int) -> Response:
        found, events = commands.incident(number)
        told = [event.view() for event in timeline_of(found, events)]
        return jsonify({**found.view(), "digest": digest(found, events, core.clock.now()), "events": told})

    @api.post("/alerts/<int:number>/<decision>")
    @operation(
        "Acknowledges an alert, or snoozes it.", shapes.AlertView, optional_body=SnoozeWanted,
        path={"decision": ALERT_DECISIONS}, problems=(409,),
    )  # fmt: skip
    def decide_alert(number: int, decision: str, body: SnoozeWanted) -> Response:
        commands.decide_alert(number, decision, body.for_s)
        return jsonify(commands.alert(number).view())

    @api.post("/alerts/ack")
    @operation("Acknowledges all alerts.", shapes.Acknowledged)
    def acknowledge_alerts() -> Response:
        return jsonify(acknowledged=commands.acknowledge_alerts())

    @api.post("/alerts/snooze")
    @operation("Snoozes all alerts.", shapes.Stated, optional_body=SnoozeWanted)
    def snooze_alerts(body: SnoozeWanted) -> Response:
        commands.snooze_alerts(body.for_s)
        return jsonify(state=core.view())

    @api.post("/alerts/test")
    @operation("Tests a channel.", shapes.AlertView, body=ChannelWanted)
    def test_channel(body: ChannelWanted) -> Response:
        return jsonify(commands.test_channel(body.channel, body.wait_s).view())

    @api.post("/login-links")
    @operation("Makes a link that logs a browser in.", shapes.LoginLink)
    def login_links() -> Response:
        return jsonify(url=access.login_link())

    @api.post("/logout-everywhere")
    @operation("Ends every session, and changes every token.", shapes.Done)
    def logout_everywhere() -> Response:
        access.rotate()
        return jsonify(done=True)

    return api
