"""The pages, rendered on the server; they work without scripts, and ``static/`` brings them to life."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from flask import Blueprint, Response, redirect, render_template, request

from dashboard.access import Access
from dashboard.commands import Commands
from dashboard.present import errors as error_words
from dashboard.present import events as event_words
from dashboard.present import followed, words
from dashboard.present import healing as heal_words
from dashboard.present import needs as need_words
from dashboard.present import now as now_words
from dashboard.present.leaving import leaving_preview
from dashboard.present.windows import holding
from dashboard.problems import Problem
from dashboard.query import error_filter, moment, window
from dashboard.timeline import Timeline
from resilience import __version__
from resilience.clock import as_text
from resilience.context import ErrorSeverity
from resilience.core.core import Core
from resilience.degradation.levels import DegradationLevel
from resilience.healing.heals import HealState
from resilience.journal.history import ErrorFilter

_PAGE: Final = 50
_OURS: Final = re.compile(r"/|/(?:alerts|healing|processes)(?:/[\w.-]{1,100})?", re.ASCII)
"""Pages that a form may lead back to."""
_MOST_HEALS: Final = 200
_FILTERS: Final = ("kind", "component", "severity", "fingerprint", "text")


def pages(core: Core, access: Access, commands: Commands, machine: Callable[[], Mapping[str, float]]) -> Blueprint:
    """Every page and every form on them; who may come in is checked before they are reached."""
    site, course = Blueprint("pages", __name__), Timeline(core)

    @site.app_context_processor
    def everywhere() -> dict[str, Any]:
        state, now = core.view(), core.clock.now()
        return {
            "state": state, "band": now_words.band(state), "csrf_token": access.csrf_token, "version": __version__,
            "machine": machine, "levels": words.LEVELS, "now_text": as_text(now),
            "when": lambda at: words.when(at, now),
        }  # fmt: skip

    @site.get("/")
    def overview() -> str:
        now, view = core.clock.now(), core.view()
        with core.history.at_one_moment():  # what comes in after the last event that is counted here, the stream brings
            newest = core.history.events(0, 100, newest=True)
            groups = _groups(ErrorFilter(), since=as_text(now - timedelta(days=1)), limit=10)
            minutes = core.history.per_minute(as_text(now - timedelta(hours=1)))
        troubles = {(group["fingerprint"], group["first_at"]) for group in groups}
        views = [event.view() for event in reversed(newest)]
        first_ids = {one["id"] for one in views if (one.get("fingerprint"), one["at"]) in troubles}
        series = error_words.minute_series(minutes, now)
        chosen = moment()
        seen = course.seen(holding(window(), chosen, now))
        shown = course.around(chosen, seen) if chosen is not None else None
        if shown is not None:
            groups = _with_sparks(shown["troubles"])
        agents = now_words.agents(view["agents"])
        return render_template(
            "overview.html",
            needs=need_words.needs(core.state),
            timeline=course.section(seen, chosen),
            shown=shown,
            beats=course.beats("agent", [one["name"] for one in agents], seen) if agents else {},
            agents=agents,
            services=[now_words.circuit(one) for one in view["services"]],
            feed=event_words.feed(views, first_ids) if shown is None else shown["feed"],
            last=newest[-1].id if newest else 0,
            groups=groups,
            rules_want_title=words.level_title(view["rules_want"]["level"]),
            series=series,
            bars=error_words.spark([count for _, _, count in series], 600, 120),
        )

    @site.get("/errors")
    def errors() -> str:
        wanted, query = error_filter(), _query()
        with core.history.at_one_moment():  # as on the overview
            newest = core.history.events(0, 1, newest=True)
            found = core.history.errors(wanted, _PAGE)
            groups = [] if wanted.before or wanted.text else _groups(wanted, since="", limit=10)
            kinds = core.history.kinds()
        return render_template(
            "errors.html",
            rows=[event_words.with_line(event.view()) for event in found],
            groups=groups,
            tree=error_words.kind_tree(kinds, wanted.kind),
            wanted=wanted,
            severities=[severity.name for severity in ErrorSeverity],
            query=query,
            link=_link,
            older=_link("/errors", {**query, "before": str(found[-1].id)}) if len(found) == _PAGE else None,
            last=newest[-1].id if newest else 0,
        )

    def _groups(wanted: ErrorFilter, since: str, limit: int) -> list[dict[str, Any]]:
        return _with_sparks(core.history.groups(wanted, since=since, limit=limit))

    def _with_sparks(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        now = core.clock.now()
        minutes = core.history.per_minute(as_text(now - timedelta(days=1)), [row["fingerprint"] for row in rows])
        counts = error_words.per_bucket(minutes, now, 24, 60)
        state = core.state
        return [
            {**error_words.group(row, counts.get(row["fingerprint"], [0] * 24)), "done": followed.done_about(row, state)}
            for row in rows
        ]

    @site.get("/errors/<int:error_id>")
    def error(error_id: int) -> str:
        view = commands.error(error_id).view()
        before = core.history.errors(ErrorFilter(before=error_id), 1)
        same = ErrorFilter(fingerprint=view["fingerprint"])
        until = as_text(datetime.fromisoformat(view["at"]) + followed.WITHIN)
        happened = [event.view() for event in core.history.between(view["at"], until, ())]
        return render_template(
            "error.html",
            error=view,
            line=event_words.line(view),
            meaning=error_words.meaning(view["kind"]),
            causes=error_words.causes(view),
            what_helps=error_words.strategy_words(view["recovery_strategy"]),
            affected=error_words.impact_words(view["impact"]),
            **error_words.details(view),
            previous=before[0].id if before else None,
            next=core.history.error_after(error_id),
            group=next(iter(_groups(same, since="", limit=1)), None),
            followed=followed.followed(view, happened, core.state),
            siblings=[event.view() for event in core.history.errors(same, 12)],
        )

    @site.get("/safe-mode")
    def safe_mode() -> str:
        now = core.state
        return render_template(
            "safe_mode.html",
            preview=leaving_preview(now, None),
            confirm=access.confirmation(now.standing.since),
            again="again" in request.args,
        )

    @site.post("/level")
    def level() -> Response:
        wanted, confirm = request.form.get("level", ""), request.form.get("confirm")
        if confirm is not None and core.state.standing.level is not DegradationLevel.SAFE_MODE:
            return see("/")  # Safe Mode was left already; an old form must not undo what was chosen since
        return _done(lambda: commands.level(wanted, confirm), "/", ask="/safe-mode?again")

    @site.get("/loops")
    def loops() -> str:
        return render_template("loops.html", loops=[now_words.loop(one) for one in core.view()["loops"]])

    @site.get("/processes")
    def processes() -> str:
        found = [now_words.process(one) for one in core.view()["processes"]]
        beats = course.beats("process", [one["name"] for one in found]) if found else {}
        return render_template("processes.html", processes=found, beats=beats)

    @site.get("/processes/<name>")
    def process(name: str) -> str:
        known = core.state.processes.get(name)
        return render_template(
            "process.html",
            process=now_words.process(known.view()) if known else {"name": name},
            output=None if "head" in request.args else commands.output_after(name),
        )

    @site.post("/processes/<name>/<command>")
    def command_process(name: str, command: str) -> Response:
        commands.process(name, command)
        return see(back_or("/processes"))

    @site.get("/healing")
    def healing() -> str:
        heals = [heal_words.heal(one.view()) for one in reversed([*core.state.heals.values()])]
        tokens = {one.id: access.confirmation(one.at) for one in core.state.heals.values() if one.state is HealState.WAITING}
        return render_template(
            "healing.html",
            heals=heals[:_MOST_HEALS],
            kept=len(heals),
            waiting=heal_words.waiting(heals),
            numbers=heal_words.numbers(heals),
            tokens=tokens,
            rules=len(core.state.settings.self_healing.rules),
            success_rate=heal_words.success_rate(heals),
        )

    @site.get("/healing/<int:number>")
    def one_heal(number: int) -> str:
        found = commands.heal(number)
        heal, confirm = heal_words.heal(found.view()), access.confirmation(found.at)
        return render_template("heal.html", heal=heal, confirm=confirm, again="again" in request.args)

    @site.post("/healing/<int:number>/<decision>")
    def decide(number: int, decision: str) -> Response:
        confirm = request.form.get("confirm")
        then = back_or("/healing")
        return _done(lambda: commands.decide(number, decision, confirm), then, ask=f"/healing/{number}?again")

    @site.get("/circuits")
    def circuits() -> str:
        return render_template("circuits.html", services=[now_words.circuit(one) for one in core.view()["services"]])

    @site.post("/circuits")
    def switch_circuit() -> Response:
        commands.circuit(request.form.get("service", ""), request.form.get("command", ""))
        return see(back_or("/circuits"))

    @site.post("/logout-everywhere")
    def logout_everywhere() -> Response:
        access.rotate()
        return see("/")

    return site


def _done(command: Callable[[], None], then: str, *, ask: str) -> Response:
    """Carries out ``command`` and goes on to ``then``; to ``ask`` where it takes a confirmation first."""
    try:
        command()
    except Problem as problem:
        if "confirm" not in problem.more:
            raise
        return see(ask)
    return see(then)


def back_or(otherwise: str) -> str:
    """The page that the current request's form was on, if it says so; else ``otherwise``."""
    then = request.form.get("then", "")
    return then if _OURS.fullmatch(then) else otherwise


def see(path: str) -> Response:
    """Sends the browser on to another of our pages."""
    answer = redirect(path, 303)
    assert isinstance(answer, Response)
    return answer


def _query() -> dict[str, str]:
    """The filters in the current request's query, in one order, without the page."""
    return {name: request.args[name] for name in _FILTERS if request.args.get(name)}


def _link(path: str, query: Mapping[str, str], without: str = "") -> str:
    """``path`` with ``query``, one of whose parts may be left out."""
    kept = {name: value for name, value in query.items() if name != without}
    return f"{path}?{urlencode(kept)}" if kept else path
