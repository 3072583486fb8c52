"""Pings to somebody outside, seen by a real server: they come while WinClaw is well, and at no other time."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from resilience.alerting.ping import DeadMansSwitch, Pings
from resilience.alerting.policy import Alerting, Ping
from resilience.clock import SystemClock
from resilience.config.settings import Settings
from resilience.core.core import Core
from resilience.core.inputs import Configuration
from resilience.testing import FakeClock

FAILS = "no ping gets through to alerting.ping.url: "
AGAIN = "pings get through to alerting.ping.url again"


class Outside(ThreadingHTTPServer):
    """Answers ``status`` and ``said`` as soon as ``may_answer``, and keeps the paths it was asked for until they are taken."""

    daemon_threads = True

    def __init__(self) -> None:
        self.status, self.said = 200, b"OK"
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.asked: queue.SimpleQueue[str] = queue.SimpleQueue()
        super().__init__(("127.0.0.1", 0), _Answers)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def taken(self) -> list[str]:
        return [self.asked.get() for _ in range(self.asked.qsize())]

    def handle_error(self, *_: object) -> None:
        """Nothing: who asked may have gone."""


class _Answers(BaseHTTPRequestHandler):
    server: Outside

    def do_GET(self) -> None:
        self.server.asked.put(self.path)
        self.server.may_answer.wait(60)
        self.send_response(self.server.status)
        self.send_header("Location", f"{self.server.url}/login")
        self.end_headers()
        self.wfile.write(self.server.said)

    def log_message(self, *_: object) -> None:
        """Nothing: the tests' output is no log."""


@pytest.fixture
def outside() -> Iterator[Outside]:
    with Outside() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.may_answer.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nobody answers: the port is taken, and not listened at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def switch(core: Core, clock: FakeClock) -> Iterator[DeadMansSwitch]:
    one = DeadMansSwitch(core, clock)
    yield one
    one.stop()


def configure(core: Core, url: str | None) -> None:
    """Tells the core; whoever follows it has heard when this returns."""
    core.tell(Configuration(Settings(alerting=Alerting(ping=Ping(url=url, every_s=3600))))).result(10)


def test_the_first_ping_comes_at_once_and_then_one_every_so_many_seconds(core: Core, clock: FakeClock, outside: Outside) -> None:
    pings = Pings(Ping(url=f"{outside.url}/ping/a?status=up", every_s=300), core, clock)
    trace = [(0, 300, 1), (0, 300, 0), (299, 1, 0), (1, 300, 1), (1000, 300, 1), (1, 299, 0)]
    for passes_s, rests_s, arrive in trace:
        clock.advance(passes_s)
        assert pings.step() == rests_s
        assert outside.taken() == ["/ping/a?status=up"] * arrive


def test_pings_go_on_by_themselves(core: Core, outside: Outside) -> None:
    pings = Pings(Ping(url=f"{outside.url}/a", every_s=0.01), core, SystemClock())
    pings.thread.start()
    assert [outside.asked.get(timeout=30) for _ in range(3)] == ["/a"] * 3
    pings.end()
    pings.thread.join(30)
    assert not pings.thread.is_alive()


@pytest.mark.parametrize(
    ("address", "status", "said", "why"),
    [
        ("{outside}/s3cret", 500, b"", "the server said 500"),
        ("{outside}/s3cret", 404, b'{"ok":false}', "the server said 404"),
        ("{outside}/s3cret", 302, b"", "the server said 302, and redirects are not followed"),
        ("{outside}/s3cret", 200, b"OK (not found)", "the server said OK, but knows no such check"),
        ("ftp://127.0.0.1/s3cret", 200, b"", "it does not begin with http:// or https://"),
        ("file:///s3cret", 200, b"", "it does not begin with http:// or https://"),
        ("http://127.0.0.1:s3cret/", 200, b"", "it cannot be asked (InvalidURL)"),
        ("http://127.0.0.1/a s3cret", 200, b"", "it cannot be asked (InvalidURL)"),
        ("http://[s3cret/", 200, b"", "it cannot be asked (ValueError)"),
        ("", 200, b"", "the environment has no PING_URL; put the address or secret there, and start WinClaw again"),
        ("{nobody}/s3cret", 200, b"", None),
    ],
)
def test_trouble_is_logged_when_it_begins_and_when_it_is_over_without_the_address(
    core: Core, clock: FakeClock, outside: Outside, nobody: str, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, address: str, status: int, said: bytes, why: str | None,
) -> None:  # fmt: skip
    pings = Pings(Ping(url="env:PING_URL", every_s=60), core, clock)
    monkeypatch.setenv("PING_URL", address.format(outside=outside.url, nobody=nobody))
    outside.status, outside.said = status, said
    for _ in range(3):
        assert pings.step() == 60
        clock.advance(60)
    assert "/login" not in outside.taken()
    monkeypatch.setenv("PING_URL", f"{outside.url}/s3cret")
    outside.status, outside.said = 200, b"OK"
    for _ in range(2):
        pings.step()
        clock.advance(60)
    assert outside.taken() == ["/s3cret"] * 2
    begins, ends = caplog.messages
    assert begins == f"{FAILS}{why}" if why else begins.startswith((f"{FAILS}[Errno ", f"{FAILS}[WinError "))
    assert ends == AGAIN
    assert "s3cret" not in caplog.text


def test_a_server_that_does_not_answer_is_given_up_and_asked_again(
    clock: FakeClock, outside: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    class Answers:  # however short the time and busy the machine
        def answers(self, _within_s: float) -> bool:
            return True

    outside.may_answer.clear()
    slow = Pings(Ping(url=f"{outside.url}/s3cret"), Answers(), clock, timeout_s=0.05)  # type: ignore[arg-type]
    for _ in range(2):
        assert slow.step() == 60
        clock.advance(60)
    assert caplog.messages == [f"{FAILS}timed out"]


def test_what_did_not_get_through_is_tried_again_within_a_minute(core: Core, clock: FakeClock, outside: Outside) -> None:
    """Else one ping lost on the way would be an alarm, where they come once a day."""
    pings = Pings(Ping(url=outside.url, every_s=86_400), core, clock)
    outside.status = 503
    assert pings.step() == 60
    clock.advance(60)
    outside.status = 200
    assert pings.step() == 86_400


def test_a_core_that_hangs_sends_no_ping(
    core: Core, clock: FakeClock, outside: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    hangs, may_go_on = threading.Event(), threading.Event()

    def listener(*_: object) -> None:
        hangs.set()
        may_go_on.wait(60)

    unsubscribe = core.subscribe(listener)
    pings = Pings(Ping(url=outside.url), core, clock, timeout_s=0.05)
    core.tell(Configuration(Settings()))
    assert hangs.wait(30)
    pings.step()
    assert outside.taken() == []
    unsubscribe()
    may_go_on.set()
    assert core.answers(30)
    clock.advance(60)
    pings._timeout_s = 30  # now it is to answer, however busy the machine
    pings.step()
    assert outside.taken() == ["/"]
    assert caplog.messages == [f"{FAILS}WinClaw does not answer itself, so none is sent", AGAIN]


def test_a_core_that_has_ended_sends_no_ping(core: Core, clock: FakeClock, outside: Outside) -> None:
    pings = Pings(Ping(url=outside.url), core, clock)
    core.stop()
    pings.step()
    assert outside.taken() == []


def test_trouble_without_words_is_trouble_all_the_same(clock: FakeClock, outside: Outside, caplog: pytest.LogCaptureFixture) -> None:
    class Fails:
        def answers(self, _within_s: float) -> bool:
            raise TimeoutError

    assert Pings(Ping(url=outside.url, every_s=3600), Fails(), clock).step() == 60  # type: ignore[arg-type]
    assert caplog.messages == [f"{FAILS}TimeoutError"]


def test_quitting_sends_no_ping_not_even_one_that_was_about_to_be_sent(clock: FakeClock, outside: Outside) -> None:
    class Quits:
        def answers(self, _within_s: float) -> bool:
            pings.end()
            return True

    pings = Pings(Ping(url=outside.url), Quits(), clock)  # type: ignore[arg-type]
    pings.step()
    assert outside.taken() == []


def test_a_changed_configuration_holds_at_once_though_a_ping_is_under_way(
    core: Core, switch: DeadMansSwitch, outside: Outside
) -> None:
    outside.may_answer.clear()
    switch.start()
    for address in ("/a", "/b"):
        configure(core, f"{outside.url}{address}")
        assert outside.asked.get(timeout=30) == address
    switch.stop()
    configure(core, f"{outside.url}/too-late")
    outside.may_answer.set()
    assert outside.taken() == []


def test_without_an_address_nothing_is_at_work(core: Core, switch: DeadMansSwitch, outside: Outside) -> None:
    def at_work() -> list[threading.Thread]:
        return [one for one in threading.enumerate() if one.name == "ping"]

    switch.start()
    assert at_work() == []
    configure(core, outside.url)
    assert outside.asked.get(timeout=30) == "/"
    configure(core, None)
    for thread in at_work():
        thread.join(30)
    assert at_work() == []
    assert outside.taken() == []


def test_it_begins_with_what_is_configured_and_at_its_end_sends_nothing(
    life: Callable[..., Core], clock: FakeClock, outside: Outside
) -> None:
    switch = DeadMansSwitch(life(enabled=False, ping=Ping(url=outside.url, every_s=10)), clock)
    switch.start()
    assert outside.asked.get(timeout=30) == "/"
    switch.stop()
    assert outside.taken() == []
