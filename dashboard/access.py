"""Who may do what: secrets, one-time login links, sessions, confirmations, and the guard at the door.

Three identities. The *operator* (the command line, by the secret in ``operator.json``) and a *session* (a browser
that came in through a one-time link) may do everything; an *agent* (the token in ``endpoint.json``) may report and
read, never command.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote

from flask import g, request
from itsdangerous import BadData, TimestampSigner, URLSafeSerializer, URLSafeTimedSerializer
from werkzeug.http import parse_cookie

from dashboard.problems import Problem
from resilience import home
from resilience.clock import Clock

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Identity = Literal["operator", "session", "agent"]
_LINK_LIVES_S: Final = 60
_CONFIRMATION_LIVES_S: Final = 60
_MAX_LINKS: Final = 50
_FAILURES_A_MINUTE: Final = 20


class Access:
    """The secrets of this installation and everything that is decided by them.

    Args:
        folder: WINCLAW_HOME; ``operator.json`` is read there, or made.
        port: the dashboard's; only addresses with it are let in.
        session_s: how long a login lasts.
    """

    def __init__(self, folder: Path, port: int, clock: Clock, session_s: float) -> None:
        self._file, self._clock, self.session_s = folder / home.OPERATOR, clock, session_s
        self.hosts = frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})
        self.origins = frozenset(f"http://{host}" for host in self.hosts)
        self.url = f"http://127.0.0.1:{port}"
        self._links: dict[str, float] = {}
        self._links_lock = threading.Lock()
        self._failures: deque[float] = deque(maxlen=_FAILURES_A_MINUTE)
        self._on_rotation: list[Callable[[], None]] = []
        kept = home.read_json(self._file)
        names = ("installation", "operator_token", "agent_token", "session_key")
        if kept is None or not all(isinstance(kept.get(name), str) and len(kept[name]) >= 8 for name in names):
            kept = {"installation": secrets.token_hex(4)}
            self._use(self._renew(kept))
        else:
            home.keep_private(self._file)
            self._use(kept)

    def _renew(self, kept: Mapping[str, Any]) -> dict[str, str]:
        fresh = {name: secrets.token_urlsafe(32) for name in ("operator_token", "agent_token", "session_key")}
        renewed = {"installation": str(kept["installation"]), **fresh}
        home.write_private(self._file, json.dumps(renewed, indent=2))
        return renewed

    def _use(self, kept: Mapping[str, str]) -> None:
        self._kept = dict(kept)
        self.cookie = f"winclaw-{kept['installation']}"
        key = kept["session_key"]
        signer, sha256 = _signer(self._clock), {"digest_method": hashlib.sha256}
        self._sessions = URLSafeTimedSerializer(key, salt="session", signer=signer, signer_kwargs=sha256)
        self._confirmations = URLSafeTimedSerializer(key, salt="confirmation", signer=signer, signer_kwargs=sha256)
        self._csrf = URLSafeSerializer(key, salt="csrf", signer_kwargs=sha256)

    @property
    def agent_token(self) -> str:
        """What agents show: it may report and read, never command."""
        return self._kept["agent_token"]

    def on_rotation(self, then: Callable[[], None]) -> None:
        """Has ``then()`` called when the secrets change, to end what was let in by the old ones."""
        self._on_rotation.append(then)

    def rotate(self) -> None:
        """New secrets: every session, socket, link and token ends at once."""
        with self._links_lock:
            self._links.clear()
        self._use(self._renew(self._kept))
        for then in self._on_rotation:
            then()

    def login_link(self, path: str = "/") -> str:
        """A link that logs a browser in, once, within 60 s, and leads to ``path``."""
        ticket = secrets.token_urlsafe(32)
        now_s = self._clock.monotonic()
        with self._links_lock:
            fresh = {one: made for one, made in self._links.items() if now_s - made <= _LINK_LIVES_S}
            self._links = dict([*fresh.items(), (_digest(ticket), now_s)][-_MAX_LINKS:])
        return f"{self.url}/login?ticket={ticket}" + (f"&to={quote(path, safe='/')}" if path != "/" else "")

    def redeem(self, ticket: str) -> str | None:
        """The session cookie's value for a link's ``ticket``; None if it is unknown, used or too old."""
        with self._links_lock:
            made = self._links.pop(_digest(ticket), None)
        if made is None or self._clock.monotonic() - made > _LINK_LIVES_S:
            self._failed()
            return None
        session: str = self._sessions.dumps(secrets.token_urlsafe(16))
        return session

    def session_of(self, cookies: Mapping[str, str]) -> str | None:
        """The id of the session that a request's cookies prove; None if they prove none."""
        try:
            session = self._sessions.loads(cookies.get(self.cookie, ""), max_age=int(self.session_s))
        except BadData:
            return None
        return session if isinstance(session, str) else None

    def identify(self) -> Identity | None:
        """Who sends the current request; None for a stranger.

        Raises:
            Problem: a token was shown, and it is wrong (401; 429 when that happens too often).
        """
        shown = request.headers.get("Authorization")
        if shown is not None:
            scheme, _, token = shown.partition(" ")
            if scheme.lower() == "bearer":
                if _equal(token, self._kept["operator_token"]):
                    return "operator"
                if _equal(token, self._kept["agent_token"]):
                    return "agent"
            self._failed()
            raise Problem(
                401, "Wrong token", "The token is not this WinClaw's. Agents find the right one in endpoint.json.",
                headers={"WWW-Authenticate": "Bearer"},
            )  # fmt: skip
        g.session_id = self.session_of(request.cookies)
        return "session" if g.session_id else None

    def _failed(self) -> None:
        now_s = self._clock.monotonic()
        too_often = len(self._failures) == self._failures.maxlen and now_s - self._failures[0] < 60
        self._failures.append(now_s)
        if too_often:
            raise Problem(429, "Too many wrong tokens", "Try again in a minute.", headers={"Retry-After": "60"})

    def csrf_token(self) -> str:
        """What a page of the current session must show with every change."""
        token: str = self._csrf.dumps(getattr(g, "session_id", None) or "")
        return token

    def require_csrf(self) -> None:
        """Checks the current request's ``X-CSRF-Token`` (or, from a form without scripts, ``csrf_token``).

        Raises:
            Problem: 403; it is missing or another session's.
        """
        shown = request.headers.get("X-CSRF-Token") or request.form.get("csrf_token", "")
        if not _equal(shown, self.csrf_token()):
            raise Problem(403, "Reload the page", "The request did not come from a page of this session (CSRF token).")

    def confirmation(self, since: datetime, of: str = "") -> str:
        """Proof, for 60 s, that a person was shown what a command will do.

        Args:
            since: when that began which would end, e.g. Safe Mode. of: what command it is, where there are several then.
        """
        token: str = self._confirmations.dumps(f"{since.isoformat()} {of}")
        return token

    def confirmed(self, since: datetime, token: str | None, of: str = "") -> bool:
        """Whether ``token`` is such a proof, and fresh."""
        try:
            said = self._confirmations.loads(token or "", max_age=_CONFIRMATION_LIVES_S)
        except BadData:
            return False
        return bool(said == f"{since.isoformat()} {of}")


class Guard:
    """The outermost layer: nothing, Socket.IO included, is reached past a wrong Host, a wrong Origin or no login.

    It stands around the whole WSGI application because neither Flask's hooks nor its trusted hosts see Socket.IO.
    """

    def __init__(self, app: Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]], access: Access) -> None:
        self._app, self._access = app, access

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        for name in [name for name in environ if name.startswith("HTTP_X_FORWARDED") or name == "HTTP_FORWARDED"]:
            del environ[name]  # nobody stands between us and the caller
        try:
            self._admit(environ)
        except Problem as problem:
            problem.headers["Connection"] = "close"
            return problem.response()(environ, start_response)
        if "websocket" in environ.get("HTTP_UPGRADE", "").lower() and (connection := environ.get("werkzeug.socket")):
            connection.settimeout(None)  # it may be silent for longer than a request
        return _closed_at_its_end(self._app(environ, start_response))

    def _admit(self, environ: WSGIEnvironment) -> None:
        origin = environ.get("HTTP_ORIGIN")
        if environ.get("HTTP_HOST") not in self._access.hosts:
            raise Problem(403, "Wrong host", "This address is answered only as 127.0.0.1 or localhost with the right port.")
        if origin is not None and origin not in self._access.origins:
            raise Problem(403, "Wrong origin", "Pages of other origins may not talk to WinClaw.")
        if environ.get("PATH_INFO", "").startswith("/socket.io") and self._access.session_of(parse_cookie(environ)) is None:
            raise Problem(401, "Not logged in", "Open the dashboard from the tray, or run: winclaw open")


def _closed_at_its_end(body: Iterable[bytes]) -> Iterator[bytes]:
    """``body``, closed as soon as it is over: the server would first read on, and forget it if the client is gone."""
    try:
        yield from body
    finally:
        close = getattr(body, "close", None)
        if close is not None:
            close()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _equal(shown: str, wanted: str) -> bool:
    return hmac.compare_digest(shown.encode(), wanted.encode())


def _signer(clock: Clock) -> type[TimestampSigner]:
    class ClockSigner(TimestampSigner):
        def get_timestamp(self) -> int:
            return int(clock.now().timestamp())

    return ClockSigner
