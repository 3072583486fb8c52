from __future__ import annotations

import gc
import re
import socket
import struct
from pathlib import Path

import pytest

from dashboard.access import Access
from resilience import home
from resilience.testing import FakeClock
from tests.dashboard.conftest import Caller

CHANGES = [("/api/v1/level", {"level": "minimal"}), ("/api/v1/login-links", {}), ("/api/v1/logout-everywhere", {})]
READS = ["/api/v1/state", "/api/v1/events", "/api/v1/errors", "/api/v1/groups"]


def csrf(call: Caller, session: dict[str, str]) -> dict[str, str]:
    page = call("GET", "/", headers=session).body.decode()
    found = re.search(r'<meta name="csrf-token" content="([^"]+)"', page)
    assert found
    return {**session, "X-CSRF-Token": found[1]}


def test_strangers_learn_nothing_but_that_somebody_is_there(call: Caller) -> None:
    assert call("GET", "/healthz").json == {"status": "ok"}
    for path in [*READS, "/", "/errors", "/nowhere", "/static/nowhere", "/static/../operator.json"]:
        answer = call("GET", path)
        assert answer.status == (404 if "static" in path else 401), path
        assert b"FULL" not in answer.body
        assert b"Level" not in answer.body
    assert call("POST", "/api/v1/errors", {}).status == 401


@pytest.mark.parametrize("token", ["", "x", "Bearer", "Bearer ", "Bearer wrong", "Basic dXNlcjpwYXNz", "Bearer \u00ff"])
def test_a_wrong_token_is_refused(call: Caller, token: str) -> None:
    answer = call("GET", "/api/v1/state", headers={"Authorization": token})
    assert answer.status == 401
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_wrong_tokens_are_slowed_down_and_right_ones_are_not(call: Caller) -> None:
    statuses = [call("GET", "/api/v1/state", headers={"Authorization": "Bearer x"}).status for _ in range(25)]
    assert statuses[0] == 401
    assert statuses[-1] == 429
    assert call("GET", "/api/v1/state", headers=call.agent).status == 200


def test_agents_may_read_and_report_but_never_command(call: Caller) -> None:
    for path in READS:
        assert call("GET", path, headers=call.agent).status == 200
    for path, body in CHANGES:
        assert call("POST", path, body, call.agent).status == 403
    assert call("GET", "/", headers=call.agent).status == 403
    assert call.winclaw.core.state.standing.level.name == "FULL"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:20000", "127.0.0.1:20000.evil.example", "", "0.0.0.0:20000", "[::1]:20000"])
@pytest.mark.parametrize("path", ["/healthz", "/api/v1/state", "/socket.io/?EIO=4&transport=polling"])
def test_a_foreign_host_is_refused_everywhere(call: Caller, host: str, path: str) -> None:
    session = call.login()
    answer = call("GET", path, headers={**session, "Host": host})
    assert answer.status in (400, 403)
    assert b'"ok"' not in answer.body


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1:20000", "http://localhost", "http://127.0.0.1:20000.evil.example", ""])
def test_a_foreign_origin_is_refused_everywhere(call: Caller, origin: str) -> None:
    session = call.login()
    for method, path in (("GET", "/healthz"), ("GET", "/api/v1/state"), ("POST", "/api/v1/level"), ("GET", "/socket.io/?EIO=4&transport=polling")):
        answer = call(method, path, {} if method == "POST" else None, {**session, "Origin": origin})
        assert answer.status == 403, (method, path)


def test_forwarded_headers_fool_nobody(call: Caller) -> None:
    forged = {"X-Forwarded-Host": f"127.0.0.1:{call.port}", "X-Forwarded-For": "127.0.0.1", "Host": "evil.example"}
    assert call("GET", "/healthz", headers=forged).status == 403
    good = {"Host": f"localhost:{call.port}", "X-Forwarded-Host": "evil.example", "Origin": "http://evil.example"}
    assert call("GET", "/healthz", headers=good).status == 403


def test_a_foreign_websocket_is_refused_before_the_handshake(call: Caller) -> None:
    for extra in ("Origin: http://evil.example\r\n", ""):
        with socket.create_connection(("127.0.0.1", call.port), timeout=10) as peer:
            peer.sendall(
                f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{call.port}\r\n{extra}Upgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            assert peer.recv(12) in (b"HTTP/1.1 403", b"HTTP/1.1 401")


def test_a_login_link_works_once(call: Caller) -> None:
    path = call.winclaw.access.login_link().removeprefix(call.winclaw.url)
    first, second = call("GET", path), call("GET", path)
    assert (first.status, second.status) == (303, 401)
    assert first.headers["Location"] == "/"
    assert "Set-Cookie" not in second.headers
    assert first.headers["Referrer-Policy"] == "no-referrer"


def test_the_cookie_is_for_this_site_and_no_script(call: Caller) -> None:
    link = call.winclaw.access.login_link().removeprefix(call.winclaw.url)
    cookie = call("GET", link).headers["Set-Cookie"]
    assert cookie.startswith(f"winclaw-{call.winclaw.access._kept['installation']}=")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Domain" not in cookie


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/%09/evil.example", "/%0a/x", "/%0d%0aX:%20y"])
def test_a_login_leads_nowhere_else(call: Caller, to: str) -> None:
    link = call.winclaw.access.login_link().removeprefix(call.winclaw.url)
    assert call("GET", f"{link}&to={to}").headers["Location"] == "/"


def test_a_change_needs_the_pages_own_token(call: Caller) -> None:
    """Another program on another local port counts as the same site: its requests carry the cookie."""
    session, other = call.login(), call.login()
    stolen = csrf(call, other)["X-CSRF-Token"]
    for path, body in CHANGES:
        assert call("POST", path, body, session).status == 403
        assert call("POST", path, body, {**session, "X-CSRF-Token": "x"}).status == 403
        assert call("POST", path, body, {**session, "X-CSRF-Token": stolen}).status == 403
    assert call("POST", "/api/v1/level", {"level": "minimal"}, csrf(call, session)).status == 200


def test_reading_changes_nothing(call: Caller) -> None:
    for path in ("/api/v1/level", "/api/v1/login-links", "/api/v1/logout-everywhere"):
        answer = call("GET", path, headers=call.operator)
        assert answer.status == 405
        assert "POST" in answer.headers["Allow"]


def test_signing_out_everywhere_ends_every_session_and_token(call: Caller) -> None:
    session, agent, operator = call.login(), call.agent, call.operator
    link = call.winclaw.access.login_link().removeprefix(call.winclaw.url)
    assert call("POST", "/api/v1/logout-everywhere", {}, csrf(call, session)).status == 200
    assert call("GET", "/", headers=session).status == 401
    assert call("GET", "/api/v1/state", headers=agent).status == 401
    assert call("GET", "/api/v1/state", headers=operator).status == 401
    assert call("GET", link).status == 401
    assert Caller(call.winclaw)("GET", "/api/v1/state", headers=Caller(call.winclaw).agent).status == 200


def test_every_page_carries_the_protective_headers(call: Caller) -> None:
    headers = call("GET", "/", headers=call.login()).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"


def test_a_file_is_closed_when_it_is_sent_even_if_the_client_is_gone_by_then(call: Caller) -> None:
    """An open file that nobody closes is a warning when it is collected, and warnings are errors here."""
    hang_up_hard = struct.pack("ii", 1, 0)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", call.port), timeout=10) as peer:
            peer.sendall(f"GET /static/winclaw.css HTTP/1.1\r\nHost: 127.0.0.1:{call.port}\r\n\r\n".encode())
            assert peer.recv(100)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, hang_up_hard)
    assert call("GET", "/healthz").status == 200
    gc.collect()


def test_leaving_safe_mode_needs_a_fresh_confirmation(call: Caller) -> None:
    call("POST", "/api/v1/level", {"level": "safe-mode"}, call.operator)
    first = call("POST", "/api/v1/level", {"level": "auto"}, call.operator)
    assert first.status == 409
    assert first.json["preview"]["will"]
    for wrong in ("", "x", first.json["confirm"] + "x"):
        assert call("POST", "/api/v1/level", {"level": "auto", "confirm": wrong}, call.operator).status == 409
    assert call.winclaw.core.state.standing.level.name == "SAFE_MODE"
    second = call("POST", "/api/v1/level", {"level": "auto", "confirm": first.json["confirm"]}, call.operator)
    assert second.json["state"]["level"] == "FULL"


def test_an_unknown_level_is_refused_with_the_list(call: Caller) -> None:
    answer = call("POST", "/api/v1/level", {"level": "panic"}, call.operator)
    assert (answer.status, answer.json["field"]) == (422, "level")
    assert "safe-mode" in answer.json["detail"]


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=501", "limit=-1", "before=1e9", "severity=BAD", "limit=%F0%9F%98%80"])
def test_a_bad_query_is_refused_with_its_field(call: Caller, query: str) -> None:
    answer = call("GET", f"/api/v1/errors?{query}", headers=call.agent)
    assert answer.status == 422
    assert answer.json["field"] == query.partition("=")[0]


def test_the_secrets_are_in_files_of_this_user_alone(call: Caller, tmp_path: Path) -> None:
    folder = tmp_path / "home"
    operator, endpoint = home.read_json(folder / "operator.json"), home.read_json(folder / "endpoint.json")
    assert operator is not None
    assert endpoint is not None
    assert endpoint["token"] == operator["agent_token"]
    assert operator["operator_token"] not in (folder / "endpoint.json").read_text()


# Without a server: what needs the clock.


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def access(tmp_path: Path, clock: FakeClock) -> Access:
    return Access(tmp_path, 20000, clock, session_s=3600)


def ticket(access: Access) -> str:
    return access.login_link().partition("ticket=")[2]


def test_a_login_link_lives_for_a_minute(access: Access, clock: FakeClock) -> None:
    early, late = ticket(access), ticket(access)
    clock.advance(59)
    assert access.redeem(early) is not None
    clock.advance(2)
    assert access.redeem(late) is None


def test_a_session_lives_as_long_as_configured_and_through_a_restart(access: Access, clock: FakeClock, tmp_path: Path) -> None:
    cookies = {access.cookie: access.redeem(ticket(access)) or ""}
    again = Access(tmp_path, 20001, clock, session_s=3600)
    clock.advance(3599)
    assert again.session_of(cookies) is not None
    clock.advance(10)
    assert again.session_of(cookies) is None


def test_a_confirmation_lives_for_a_minute_and_for_one_safe_mode(access: Access, clock: FakeClock) -> None:
    token = access.confirmation(clock.now())
    since = clock.now()
    clock.advance(59)
    assert access.confirmed(since, token)
    assert not access.confirmed(clock.now(), token)
    clock.advance(5)
    assert not access.confirmed(since, token)


def test_links_that_nobody_uses_do_not_pile_up(access: Access) -> None:
    for _ in range(500):
        access.login_link()
    assert len(access._links) <= 50


def test_a_spoilt_secret_file_is_made_anew(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "operator.json").write_text('{"operator_token": ""}')
    assert len(Access(tmp_path, 20000, clock, session_s=3600).agent_token) >= 40
