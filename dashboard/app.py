"""``create_app``: the dashboard's parts put together over one core."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from flask import Flask, Response, g, jsonify, redirect, render_template, request

from dashboard.access import Access, Guard
from dashboard.agents import MAX_BODY_BYTES, agents_api
from dashboard.alerts import alert_pages
from dashboard.api import json_api
from dashboard.commands import Commands
from dashboard.downloads import downloads
from dashboard.metrics import metrics_page
from dashboard.pages import pages
from dashboard.present.words import ticks
from dashboard.problems import Problem, answer_errors
from dashboard.recovery import RecoveryDesk, recovery_api, recovery_pages
from dashboard.settings import ConfigControl, ConfigDesk, config_api, config_pages
from dashboard.sockets import SocketIO
from dashboard.stream import Stream
from resilience.core.core import Core
from resilience.processes.supervisor import Supervisor
from resilience.recovery.engine import RecoveryEngine

# What a caller may reach without being anybody, and what an agent may; all else is for the operator and sessions.
_OWN_PATH: Final = re.compile(r"/(?![/\\])[\w./?=&%#-]*", re.ASCII)
"""Where a login link may lead: to a page of ours, whatever browsers make of odd characters."""
_OPEN: Final = frozenset({"static", "login", "healthz"})
_AGENTS_MAY: Final = frozenset(
    {
        "api.state", "api.loops", "api.processes", "api.healing", "api.events", "api.errors", "api.error", "api.groups",
        "api.timeline", "api.alerts", "api.one_alert", "api.all_incidents", "api.one_incident",
        "recovery_api.overview", "recovery_api.one_recovery", "recovery_api.checkpoints", "recovery_api.one_checkpoint",
        "recovery_api.save", "agents.errors", "agents.heartbeats", "agents.orders", "metrics.metrics",
    }
)  # fmt: skip


def create_app(
    core: Core,
    access: Access,
    supervisor: Supervisor,
    *,
    recovery: RecoveryEngine,
    config: ConfigControl,
    folder: Path,
    policy: Callable[[], Mapping[str, Any]],
    machine: Callable[[], Mapping[str, float]],
) -> tuple[Flask, Stream]:
    """The dashboard's WSGI application, guarded, and its live stream (not yet started).

    Args:
        recovery: what brings back what was lost. config: the versions of the configuration. folder: WINCLAW_HOME.
        policy: gives what agents are told with the state. machine: this machine's numbers for the overview.
    """
    files = _files()
    app = Flask("dashboard", static_folder=files / "static", template_folder=files / "templates")
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["MAX_FORM_MEMORY_SIZE"] = 100_000
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.jinja_env.filters["ticks"] = ticks
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    answer_errors(app)

    @app.before_request
    def admit() -> Response | tuple[str, int] | None:
        if request.endpoint in _OPEN:
            return None
        g.identity = access.identify()
        wants_json = request.path.startswith("/api/") or request.endpoint == "metrics.metrics"
        if g.identity is None:
            if wants_json:
                detail = "Send Authorization: Bearer and a token; agents find theirs in endpoint.json."
                raise Problem(401, "Not logged in", detail)
            return render_template("login.html"), 401
        if g.identity == "agent" and request.endpoint not in _AGENTS_MAY:
            raise Problem(403, "Not for agents", "An agent's token may report and read, never command.")
        if g.identity == "session" and request.method not in ("GET", "HEAD", "OPTIONS"):
            access.require_csrf()
        return None

    @app.after_request
    def harden(response: Response) -> Response:
        socket = " ".join(origin.replace("http", "ws", 1) for origin in sorted(access.origins))
        response.headers.update(
            {
                "Content-Security-Policy": f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
                f"connect-src 'self' {socket}; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
                "X-Content-Type-Options": "nosniff",
                "X-Frame-Options": "DENY",
                # With no-referrer everywhere, browsers would send forms with the origin "null", which is refused.
                "Referrer-Policy": "no-referrer" if request.endpoint == "login" else "same-origin",
                "Cross-Origin-Resource-Policy": "same-origin",
                "Cross-Origin-Opener-Policy": "same-origin",
            }
        )
        if request.endpoint != "static":
            response.headers["Cache-Control"] = "no-store"
        return response

    @app.get("/login")
    def login() -> Response | tuple[str, int]:
        session = access.redeem(request.args.get("ticket", ""))
        if session is None:
            return render_template("login.html"), 401
        to = request.args.get("to", "/")
        answer = redirect(to if _OWN_PATH.fullmatch(to) else "/", 303)
        answer.set_cookie(access.cookie, session, httponly=True, samesite="Strict", max_age=int(access.session_s))
        return answer  # type: ignore[return-value]

    @app.get("/healthz")
    def healthz() -> Response:
        return jsonify(status="ok")

    commands = Commands(core, access, supervisor)
    app.register_blueprint(json_api(core, access, commands))
    app.register_blueprint(agents_api(core, policy))
    app.register_blueprint(pages(core, access, commands, machine))
    app.register_blueprint(downloads(core))
    app.register_blueprint(alert_pages(core, commands))
    app.register_blueprint(metrics_page(core, machine))
    desk = RecoveryDesk(core, recovery, folder)
    app.register_blueprint(recovery_api(core, desk))
    app.register_blueprint(recovery_pages(core, desk))
    settings = ConfigDesk(core, access, config)
    app.register_blueprint(config_api(settings))
    app.register_blueprint(config_pages(settings))
    socketio = SocketIO(app, async_mode="threading", cors_allowed_origins=sorted(access.origins), max_http_buffer_size=100_000)
    stream = Stream(socketio, core, access)
    app.wsgi_app = Guard(app.wsgi_app, access)  # type: ignore[method-assign]
    return app, stream


def _files() -> Path:
    """Where static/ and templates/ lie: beside this file in an installation, beside the package in a checkout."""
    here = Path(__file__).resolve().parent
    return here if (here / "templates").is_dir() else here.parent
