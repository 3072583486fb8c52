"""The JSON API for people's tools: reading what is stored, and commanding."""

from __future__ import annotations

from concurrent.futures import Future
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from flask import Blueprint, Response, g, jsonify, request
from msgspec import Meta, Struct

from dashboard.access import Access
from dashboard.problems import Problem, decoded_json
from resilience.context import ErrorSeverity
from resilience.core.control import ConfirmationNeededError, HowIsolated, TooLateError
from resilience.core.core import Core
from resilience.core.state import State
from resilience.degradation.levels import DegradationLevel, choose
from resilience.degradation.loops import view as view_of_loops
from resilience.events import Text
from resilience.healing.heals import Heal, HealState
from resilience.journal.history import MAX_ROWS, ErrorFilter
from resilience.processes.supervisor import Supervisor

_COMMIT_S: Final = 10.0


class _LevelWanted(Struct, frozen=True, forbid_unknown_fields=True):
    level: str
    confirm: str | None = None


class _Isolation(HowIsolated, frozen=True, forbid_unknown_fields=True):
    reason: Text = ""
    for_s: Annotated[float, Meta(gt=0, le=31_536_000)] | None = None


class _Confirmed(Struct, frozen=True, forbid_unknown_fields=True):
    confirm: str | None = None


def json_api(core: Core, access: Access, supervisor: Supervisor) -> Blueprint:
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
        return Response(tail(supervisor, name), content_type="text/plain; charset=utf-8")

    @api.post("/processes/<name>/<command>")
    def process(name: str, command: str) -> Response:
        actor = "command line" if g.identity == "operator" else "dashboard"
        asked(supervisor, name, command, actor).result(_COMMIT_S)
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
        wanted = decoded_json(msgspec.json.Decoder(_LevelWanted).decode, request.get_data(cache=False))
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
                preview=leaving_preview(now, chosen, core.clock.now()), confirm=access.confirmation(now.standing.since),
            ) from None  # fmt: skip
        return jsonify(state=core.view())

    @api.post("/circuits/<path:service>/<command>")
    def circuit(service: str, command: str) -> Response:
        actor = "command line" if g.identity == "operator" else "dashboard"
        content = request.get_data(cache=False)
        how = decoded_json(msgspec.json.Decoder(_Isolation).decode, content) if content else None
        try:
            ordered(core, service, command, actor, how).result(_COMMIT_S)
        except KeyError as error:
            raise Problem(404, "No such circuit", f"No agent has told of a service {service!r}.", field="service") from error
        return jsonify(state=core.view())

    @api.get("/healing")
    def healing() -> Response:
        return jsonify(healing=[heal.view() for heal in reversed([*core.state.heals.values()])])

    @api.get("/healing/<int:number>")
    def one_heal(number: int) -> Response:
        return jsonify(heal_of(core, number).view())

    @api.post("/healing/<int:number>/<decision>")
    def decide(number: int, decision: str) -> Response:
        actor = "command line" if g.identity == "operator" else "dashboard"
        wanted = decoded_json(msgspec.json.Decoder(_Confirmed).decode, request.get_data(cache=False) or b"{}")
        decide_heal(core, access, number, decision, actor, wanted.confirm)
        return jsonify(state=core.view())

    @api.post("/login-links")
    def login_links() -> Response:
        return jsonify(url=access.login_link())

    @api.post("/logout-everywhere")
    def logout_everywhere() -> Response:
        access.rotate()
        return jsonify(done=True)

    return api


def heal_of(core: Core, number: int) -> Heal:
    """The heal of that number.

    Raises:
        Problem: 404, there is none, or it is too old to be kept.
    """
    heal = core.state.heals.get(number)
    if heal is None:
        raise Problem(404, "No such heal", f"There is no heal {number}, or it is too old to be kept.", field="id")
    return heal


def decide_heal(core: Core, access: Access, number: int, decision: str, actor: str, confirm: str | None) -> None:
    """Has the core take in a person's decision on a heal; waits until it is on disk.

    Raises:
        Problem: 404, there is no such heal; 409, it does not wait for that, or approving takes a confirmation and there is
            none, which is then in the answer; 422, there is no such decision.
    """
    heal = heal_of(core, number)
    if decision not in ("approve", "reject", "dismiss"):
        raise Problem(422, "No such decision", "It is approve, reject or dismiss.", field="decision")
    if decision == "approve" and heal.state is HealState.WAITING and not access.confirmed(heal.at, confirm):
        raise Problem(
            409, "Confirm first", "Approving a heal takes a confirmation: send it again with this token.",
            preview=heal.view(), confirm=access.confirmation(heal.at),
        )  # fmt: skip
    try:
        core.decide_heal(number, decision, actor=actor, origin=request.remote_addr or "").result(_COMMIT_S)  # type: ignore[arg-type]
    except TooLateError as error:
        raise Problem(409, "Too late", f"{error}.", field="id") from error


def asked(supervisor: Supervisor, name: str, command: str, actor: str) -> Future[list[int]]:
    """Hands a command for a process to the supervisor.

    Raises:
        Problem: 404, there is no such process; 422, there is no such command.
    """
    match command:
        case "start" | "stop" | "restart":
            try:
                return supervisor.command(name, command, actor=actor, origin=request.remote_addr or "")
            except KeyError:
                raise Problem(404, "No such process", f"No process {name[:200]!r} is configured.", field="name") from None
        case _:
            raise Problem(422, "No such command", "It is start, stop or restart.", field="command")


def tail(supervisor: Supervisor, name: str) -> str:
    """The last of a process's output, as text.

    Raises:
        Problem: 404, there is no such process.
    """
    try:
        return supervisor.output(name)
    except KeyError:
        raise Problem(404, "No such process", f"No process {name[:200]!r} is configured.", field="name") from None


def ordered(core: Core, service: str, command: str, actor: str, how: HowIsolated | None = None) -> Future[list[int]]:
    """Hands a command for a circuit to the core; what is isolated may be a zone or a process, too.

    Raises:
        Problem: 422, there is no such command.
    """
    match command:
        case "isolate" | "release" | "reset":
            return core.switch_circuit(service[:200], command, actor=actor, origin=request.remote_addr or "", how=how)
        case _:
            raise Problem(422, "No such command", "It is isolate, release or reset.", field="command")


def leaving_preview(state: State, chosen: DegradationLevel | None, now: datetime) -> dict[str, Any]:
    """What leaving Safe Mode for ``chosen`` (None: as the rules say) will do, in sentences."""
    after = chosen or choose(state.standing, None, actor="preview", now=now).wanted.level
    alive = [agent.name for agent in state.agents.values() if agent.alive]
    by = " by the rules" if chosen is None else ", pinned"
    will = [f"The level becomes {after.title}{by}: {allowed_words(after)}."]
    if chosen is None:
        will += [f"No longer held: {one.cause}" for one in state.standing.wanted.latches]
    loops = [one["name"] for one in loops_at(state, after) if one["allowed"]]
    paused = [one["name"] for one in loops_at(state, after) if one["allowed"] and one["state"] == "paused"]
    will.append(f"Loops that may run: {_all_of(loops)}{f'; {_all_of(paused)} waited for it' if paused else ''}.")
    waiting = dict(state.waiting)
    if waiting and after.value < DegradationLevel.LIMITED_EXTERNAL.value:
        by_channel = ", ".join(f"{channel} {count}" for channel, count in sorted(waiting.items()))
        will.append(f"Messages that are sent, little by little: {sum(waiting.values())} ({by_channel}).")
    elif waiting:
        will.append(f"Messages that go on waiting: {sum(waiting.values())}.")
    else:
        will.append("No message waits to be sent.")
    will.append(f"Agents that are told at once: {', '.join(alive)}." if alive else "No agent is connected just now.")
    return {"level": after.name, "will": will, "agents": alive, "loops": loops, "waiting": waiting}


def loops_at(state: State, level: DegradationLevel) -> list[dict[str, Any]]:
    """The loops as they would be allowed at ``level``."""
    return view_of_loops(state.settings.loops, state.loops, level)


def _all_of(names: list[str]) -> str:
    return "none" if not names else f"all {len(names)}" if len(names) > 10 else ", ".join(names)


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
