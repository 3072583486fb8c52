"""The live stream over real WebSockets, spoken by hand."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from simple_websocket import Client, ConnectionClosed

from dashboard.stream import PageSocket, Stream
from resilience.degradation.levels import DegradationLevel
from resilience.events import Report
from tests.dashboard.conftest import Caller


class _Socket(Client):
    def handshake(self) -> None:
        self.host = f"{self.host}:{self.port}"  # as browsers name it
        super().handshake()
        self.connected = self._handle_events()  # the first message may have come together with the handshake's answer


class Page:
    """An open page: what it has been sent."""

    def __init__(self, call: Caller, session: dict[str, str], since: int | None = None) -> None:
        url = f"ws://127.0.0.1:{call.port}/socket.io/?EIO=4&transport=websocket"
        self._socket = _Socket(url, headers=session)
        assert self._socket.receive(10).startswith("0")
        self._socket.send("40" + json.dumps({"since": since} if since is not None else {}))
        self.messages: list[tuple[str, Any]] = []

    def wait_for(self, enough: Callable[[list[tuple[str, Any]]], bool]) -> None:
        while not enough(self.messages):
            packet = self._socket.receive(10)
            assert packet is not None, self.messages
            if packet == "2":
                self._socket.send("3")
            elif packet.startswith("42"):
                name, content = json.loads(packet[2:])
                self.messages.append((name, content))

    @property
    def ids(self) -> list[int]:
        return [event["id"] for name, content in self.messages if name == "events" for event in content["events"]]

    def close(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            self._socket.close()
        self._socket.sock.close()


@pytest.fixture
def open_page(call: Caller) -> Iterator[Callable[..., Page]]:
    pages: list[Page] = []

    def open_one(since: int | None = None) -> Page:
        pages.append(Page(call, call.login(), since))
        return pages[-1]

    yield open_one
    for page in pages:
        page.close()


def fail(call: Caller, times: int = 1) -> list[int]:
    report = Report(type="TimeoutError", message="late", component="gpt-5.2", operation="ask")
    return call.winclaw.core.report([report] * times).result(10)


def test_an_error_reaches_an_open_page_with_its_id(call: Caller, open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.wait_for(lambda messages: any(name == "snapshot" for name, _ in messages))
    wanted = fail(call)
    page.wait_for(lambda _: wanted[0] in page.ids)
    event = next(event for name, content in page.messages if name == "events" for event in content["events"] if event["id"] in wanted)
    assert event["kind"] == "agentic.llm.timeout"


def test_a_page_that_was_away_is_told_what_it_missed(call: Caller, open_page: Callable[..., Page]) -> None:
    seen = fail(call)[0]
    missed = fail(call, 5)
    page = open_page(since=seen)
    page.wait_for(lambda _: missed[-1] in page.ids)
    assert page.ids == missed
    assert not any(content["gap"] for name, content in page.messages if name == "events")


def test_what_is_about_to_be_sent_when_a_page_comes_is_told_once_and_in_order(
    call: Caller, open_page: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch waits until the page is there; the history has what is in it already."""
    first = open_page()
    wanted = fail(call)
    first.wait_for(lambda _: wanted[0] in first.ids)
    here = threading.Event()
    send = Stream._send_events
    monkeypatch.setattr(Stream, "_send_events", lambda self: here.wait(10) and send(self))
    wanted += fail(call, 3)
    page = open_page(since=0)
    page.wait_for(lambda messages: any(name == "snapshot" for name, _ in messages))
    here.set()
    wanted += fail(call, 2)
    for one in (first, page):
        one.wait_for(lambda _, one=one: wanted[-1] in one.ids)  # type: ignore[misc]
    assert first.ids == wanted
    assert page.ids[-len(wanted) :] == wanted
    assert len(set(page.ids)) == len(page.ids)


def test_a_page_that_missed_more_than_is_sent_is_told_so(call: Caller, open_page: Callable[..., Page]) -> None:
    missed = fail(call, 500)
    page = open_page(since=0)
    page.wait_for(lambda messages: any(name == "snapshot" for name, _ in messages))
    assert set(missed[-200:]) <= set(page.ids)
    assert missed[0] not in page.ids
    assert any(content["gap"] for name, content in page.messages if name == "events")


def test_a_change_of_level_is_shown_by_event_and_snapshot(call: Caller, open_page: Callable[..., Page]) -> None:
    page = open_page()
    call.winclaw.core.set_level(DegradationLevel.SAFE_MODE, actor="test", origin="here").result(10)
    page.wait_for(lambda messages: any(name == "snapshot" and content["level"] == "SAFE_MODE" for name, content in messages))
    page.wait_for(lambda _: bool(page.ids))


def test_a_flood_becomes_few_messages_and_nobody_waits_for_it(call: Caller, open_page: Callable[..., Page]) -> None:
    """Three thousand errors in a moment: ten messages a second at the most, the newest in them, the rest by a gap."""
    page = open_page()
    page.wait_for(lambda messages: any(name == "snapshot" for name, _ in messages))
    last = [fail(call, 100)[-1] for _ in range(30)][-1]
    page.wait_for(lambda _: last in page.ids)
    batches = [content for name, content in page.messages if name == "events"]
    assert len(batches) < 30
    assert sum(len(batch["events"]) for batch in batches) < 3000 or not any(batch["gap"] for batch in batches)
    assert all(len(batch["events"]) <= 200 for batch in batches)


def test_signing_out_everywhere_ends_open_pages_at_once(call: Caller, open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.wait_for(lambda messages: any(name == "snapshot" for name, _ in messages))
    call.winclaw.access.rotate()
    with pytest.raises((ConnectionClosed, AssertionError)):
        page.wait_for(lambda _: False)


def test_a_page_that_stops_reading_is_dropped_and_the_others_go_on(
    call: Caller, open_page: Callable[..., Page], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What queues up for it behind the full buffers of its socket is bounded: then it is let go, with its threads and its queue."""
    monkeypatch.setattr("dashboard.stream._EVENTS_EVERY_S", 0.0)
    reading = open_page()
    reading.wait_for(lambda messages: any(name == "snapshot" for name, _ in messages))
    others = set(threading.enumerate())
    with socket.create_connection(("127.0.0.1", call.port), timeout=10) as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        cookie = call.login()["Cookie"]
        stalled.sendall(
            f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{call.port}\r\nCookie: {cookie}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        assert stalled.recv(12) == b"HTTP/1.1 101"
        stalled.sendall(b"\x81\x82\0\0\0\0" + b"40")  # joins, and never reads again
        report = Report(type="TimeoutError", message="x" * 9000, component="gpt-5.2", operation="ask")
        dropped = False
        for _ in range(400):
            last = call.winclaw.core.report([report] * 20).result(10)[-1]
            reading.wait_for(lambda _, last=last: last in reading.ids)  # type: ignore[misc]
            reading.messages.clear()
            dropped = "was dropped" in caplog.text
            if dropped:
                break
        assert dropped
        for thread in set(threading.enumerate()) - others:
            if any(what in thread.name for what in ("simple_websocket", "writer", "process_request_thread")):
                thread.join(5)
                assert not thread.is_alive()
        last = fail(call)[0]
        reading.wait_for(lambda _: last in reading.ids)


def test_a_page_that_is_slow_gets_each_message_whole() -> None:
    """The server's sockets have a timeout, and so take a part of what does not fit into their buffers."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(10)
        theirs.settimeout(10)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection, message = PageSocket(None, None), "x" * 3_000_000
        connection.ws = SimpleNamespace(connected=True, sock=ours, ws=SimpleNamespace(send=lambda one: one.data.encode()))
        sending = threading.Thread(target=connection.send, args=[message])
        sending.start()
        came = b""
        while len(came) < len(message):
            came += theirs.recv(65536)
        sending.join(10)
        connection.ws.connected = False
        with pytest.raises(OSError):  # noqa: PT011 -- any of them ends the writer
            connection.send(message)
    assert came == message.encode()


def test_few_long_messages_are_enough_to_be_dropped(call: Caller, open_page: Callable[..., Page], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.stream._MAX_QUEUED_CHARACTERS", -1)
    page = open_page()
    fail(call)
    with pytest.raises((ConnectionClosed, AssertionError)):
        page.wait_for(lambda _: False)


def test_closing_the_connection_of_a_browser_that_is_gone_is_no_fault() -> None:
    """Engine.IO does it in a thread that nobody watches."""

    class Gone:
        connected = True

        def close(self) -> None:
            raise ConnectionResetError

    connection = PageSocket(None, None)
    connection.ws = Gone()
    connection.close()
