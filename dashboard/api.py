"""The JSON API for people's tools: reading what is stored, and commanding."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, Final

import msgspec
from flask import Blueprint, Response, g, jsonify, request
from msgspec import Struct

from dashboard.access import Access
from dashboard.problems import Problem
from resilience.context import ErrorSeverity
from resilience.control import ConfirmationNeededError
from resilience.core import Core
from resilience.degradation import DegradationLevel
from resilience.history import MAX_ROWS, ErrorFilter
from resilience.state import State

_COMMIT_S: Final = 10.0


class _LevelWanted(Struct, frozen=True, forbid_unknown_fields=True):
    level: str
    confirm: str | None = None


def json_api(core: Core, access: Access) -> Blueprint:
    """Routes under ``/api/v1`` that read and command; who may is checked before they are reached."""
    api = Blueprint("api", __name__, url_prefix="/api/v1")

    @api.get("/state")
    def state() -> Response:
        return jsonify(core.view())

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
        found = core.history.error(error_id)
        if found is None:
            raise Problem(404, "No such error", f"There is no error {error_id}, or it is too old to be kept.")
        return jsonify(found.view())

    @api.get("/groups")
    def groups() -> Response:
        limit = whole_number("limit", 50, most=MAX_ROWS, least=1)
        found = core.history.groups(error_filter(), limit=limit)
        return jsonify(groups=found, next=found[-1]["last_id"] if len(found) == limit else None)

    @api.post("/level")
    def level() -> Response:
        try:
            wanted = msgspec.json.decode(request.get_data(cache=False), type=_LevelWanted)
        except msgspec.ValidationError as error:
            what, _, where = str(error).partition(" - at `$")
            raise Problem(422, "Wrong shape", f"{what}.", field=where.rstrip("`").removeprefix(".")) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Problem(400, "Not JSON", f"{error}.") from error
        try:
            chosen = None if wanted.level.lower() == "auto" else DegradationLevel.named(wanted.level)
        except ValueError as error:
            raise Problem(422, "No such level", f"{error}; or auto.", field="level") from error
        now = core.state
        actor = "command line" if g.identity == "operator" else "dashboard"
        confirmed = access.confirmed(now.standing.since, wanted.confirm)
        try:
            done = core.set_level(chosen, actor=actor, origin=request.remote_addr or "", confirmed=confirmed)
            done.result(_COMMIT_S)
        except ConfirmationNeededError:
            raise Problem(
                409, "Confirm first", "Leaving Safe Mode takes a confirmation: send it again with this token.",
                preview=leaving_preview(now, chosen), confirm=access.confirmation(now.standing.since),
            ) from None  # fmt: skip
        return jsonify(state=core.view())

    @api.post("/circuits/<path:service>/<command>")
    def circuit(service: str, command: str) -> Response:
        actor = "command line" if g.identity == "operator" else "dashboard"
        try:
            ordered(core, service, command, actor).result(_COMMIT_S)
        except KeyError as error:
            raise Problem(404, "No such circuit", f"No agent has told of a service {service!r}.", field="service") from error
        return jsonify(state=core.view())

    @api.post("/login-links")
    def login_links() -> Response:
        return jsonify(url=access.login_link())

    @api.post("/logout-everywhere")
    def logout_everywhere() -> Response:
        access.rotate()
        return jsonify(done=True)

    return api


def ordered(core: Core, service: str, command: str, actor: str) -> Future[list[int]]:
    """Hands a command for a circuit to the core.

    Raises:
        Problem: 422, there is no such command.
    """
    match command:
        case "isolate" | "release" | "reset":
            return core.switch_circuit(service[:200], command, actor=actor, origin=request.remote_addr or "")
        case _:
            raise Problem(422, "No such command", "It is isolate, release or reset.", field="command")


def leaving_preview(state: State, chosen: DegradationLevel | None) -> dict[str, Any]:
    """What leaving Safe Mode for ``chosen`` (None: as the rules say) will do, in sentences."""
    after = DegradationLevel.FULL if chosen is None else chosen
    alive = [agent.name for agent in state.agents.values() if agent.alive]
    told = f"Agents that are told at once: {', '.join(alive)}." if alive else "No agent is connected just now."
    by_rules = " by the rules" if chosen is None else ", pinned"
    will = [f"The level becomes {after.title}{by_rules}: {allowed_words(after)}.", told]
    return {"level": after.name, "will": will, "agents": alive}


def allowed_words(level: DegradationLevel) -> str:
    """What ``level`` lets agents do, in a few words."""
    return {
        DegradationLevel.FULL: "agents may call every service, run code and write again",
        DegradationLevel.DEGRADED_LLM: "everything but GPT-5.2 is allowed again",
        DegradationLevel.LIMITED_EXTERNAL: "local work, code and shell are allowed again; no network, no mail, no browser",
        DegradationLevel.MINIMAL: "only the core loop and the shell are allowed",
        DegradationLevel.SAFE_MODE: "only reading is allowed",
    }[level]


def error_filter() -> ErrorFilter:
    """The filter in the current request's query.

    Raises:
        Problem: 422, with the parameter's name.
    """
    severity = request.args.get("severity") or None
    if severity is not None and severity not in ErrorSeverity.__members__:
        raise Problem(422, "No such severity", f"It is one of {', '.join(ErrorSeverity.__members__)}.", field="severity")
    return ErrorFilter(
        kind=request.args.get("kind") or None,
        component=request.args.get("component") or None,
        fingerprint=request.args.get("fingerprint") or None,
        severity=ErrorSeverity[severity] if severity else None,
        text=request.args.get("text") or None,
        before=whole_number("before", 0) or None,
    )


def whole_number(name: str, default: int, *, least: int = 0, most: int = 2**62) -> int:
    """The whole number in the query under ``name``.

    Raises:
        Problem: 422, with the parameter's name and its range.
    """
    text = request.args.get(name)
    if text is None or text == "":
        return default
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
    if not least <= number <= most:
        raise Problem(422, "Wrong number", f"{name} is a whole number from {least} to {most}.", field=name)
    return number
