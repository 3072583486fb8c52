"""What a toast says and where it leads, and that a message is only said to be delivered when something has shown it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from resilience.alerting.alerts import Alert, Cause, Telling, TellingState
from resilience.alerting.delivery import AlertDelivery
from resilience.alerting.sending import UndeliverableError
from resilience.classification.classifier import ErrorClassifier
from resilience.clock import SystemClock
from resilience.context import ErrorSeverity
from resilience.core.core import Core
from resilience.events import Report
from resilience.journal.history import History
from resilience.journal.journal import Journal
from resilience.redaction import Redactor
from tray.presenters import Balloons, by_notify_send, by_osascript, presenters
from tray.toasts import Toast, Toasts, toast_of
from tray.windows_toast import WindowsToasts

AT = datetime(2026, 1, 1, tzinfo=UTC)


def message(what: str = "raised", title: str = "The disk is full", text: str = "Nothing can be written.") -> tuple[Alert, Telling]:
    cause = Cause(about="x", title=title, message=text, severity=ErrorSeverity.CRITICAL, component="disk")
    alert = Alert(id=7, cause=cause, at=AT, last_at=AT)
    return alert, Telling(key="7-1-toast", channel="toast", what=what, text=text, at=AT)


class Screen:
    """Where toasts appear; it breaks, or the toasts on it are clicked, if so told."""

    def __init__(self, *, clicked: bool = False, broken: bool = False) -> None:
        self.clicked, self.broken = clicked, broken
        self.asked = 0
        self.shown: list[Toast] = []

    def __call__(self, toast: Toast, _ending: threading.Event) -> bool:
        self.asked += 1
        if self.broken:
            raise OSError(f"no screen {toast.title}")
        self.shown.append(toast)
        return self.clicked


class Opened:
    """The pages that were opened."""

    def __init__(self) -> None:
        self.pages: list[str] = []

    def __call__(self, path: str) -> None:
        self.pages.append(path)
        if path == "/alerts":
            raise OSError("no browser")


@pytest.fixture
def opened() -> Opened:
    return Opened()


@pytest.mark.parametrize(
    ("what", "title", "path"),
    [
        ("raised", "The disk is full", "/alerts#alert-7"),
        ("again", "The disk is full", "/alerts#alert-7"),
        ("resolved", "Resolved: The disk is full", "/alerts#alert-7"),
        ("escalated", "Still: The disk is full", "/alerts#alert-7"),
        ("digest", "The disk is full", "/alerts"),
    ],
)
def test_a_toast_says_what_has_become_of_an_alert_and_leads_to_it(what: str, title: str, path: str) -> None:
    assert toast_of(*message(what)) == Toast(title, "Nothing can be written.", path)


@pytest.mark.parametrize("text", ["x" * 10_000, "\U0001f980" * 500, "\x1b[31m\r\nBcc: all", "\u202etxt.exe", "", "\x00"])
@pytest.mark.parametrize("what", ["raised", "resolved"])
def test_no_text_is_too_hostile_for_the_shell(what: str, text: str) -> None:
    title, words, _ = toast_of(*message(what, text, text))
    assert title.isprintable()
    assert words.isprintable()
    assert 0 < len(title.encode("utf-16-le")) // 2 <= 63
    assert 0 < len(words.encode("utf-16-le")) // 2 <= 255


def test_a_toast_that_was_shown_is_delivered(opened: Opened) -> None:
    screen = Screen()
    assert Toasts([screen], opened).show(*message()) == "shown on this desktop"
    assert [one.title for one in screen.shown] == ["The disk is full"]
    assert opened.pages == []


@pytest.mark.parametrize(("what", "page"), [("raised", "/alerts#alert-7"), ("digest", "/alerts")])
def test_a_click_opens_the_page_of_the_alert(opened: Opened, what: str, page: str) -> None:
    """A browser that does not open is no reason to show it again."""
    assert Toasts([Screen(clicked=True)], opened).show(*message(what)) == "shown on this desktop"
    assert opened.pages == [page]


def test_one_that_fails_takes_nobody_down_and_is_not_asked_again(opened: Opened) -> None:
    broken, other = Screen(broken=True), Screen()
    toasts = Toasts([broken, other], opened)
    for _ in range(2):
        assert toasts.show(*message()) == "shown on this desktop"
    assert (broken.asked, len(other.shown)) == (1, 2)


def test_what_nothing_could_show_is_not_delivered_and_the_last_that_failed_is_asked_again(opened: Opened) -> None:
    screens = Screen(broken=True), Screen(broken=True)
    toasts = Toasts(screens, opened)
    with pytest.raises(UndeliverableError, match="nothing on this desktop could show it: no screen The disk"):
        toasts.show(*message())
    screens[1].broken = False
    toasts.show(*message())
    assert (screens[0].asked, screens[1].asked) == (1, 2)


def test_who_waits_for_the_end_of_a_toast_goes_on_when_winclaw_ends(opened: Opened) -> None:
    """And what is told from then on waits for the next WinClaw."""
    showing = threading.Event()

    def lasting(_toast: Toast, ending: threading.Event) -> bool:
        showing.set()
        assert ending.wait(10)
        return False

    toasts, said = Toasts([lasting], opened), list[str]()
    thread = threading.Thread(target=lambda: said.append(toasts.show(*message())))
    thread.start()
    assert showing.wait(10)
    toasts.stop()
    thread.join(10)
    assert said == ["shown on this desktop"]
    with pytest.raises(RuntimeError):
        toasts.show(*message())


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Core]:
    clock = SystemClock()
    journal = Journal(tmp_path / "journal.db", clock.now())
    one = Core(journal, History(journal.path), ErrorClassifier(clock=clock), Redactor(), clock)
    one.start()
    yield one
    one.stop()
    one.history.close()


def test_of_two_at_once_both_are_shown(core: Core, opened: Opened) -> None:
    screen = Screen()
    delivery = AlertDelivery(core, lambda _: (), core.clock)
    delivery.start()
    withdraw = delivery.offer("toast", Toasts([screen], opened).show)
    core.report([
        Report(type="MemoryError", message="it burns", component=room, operation="cook", severity="CRITICAL")
        for room in ("kitchen", "cellar")
    ]).result(10)  # fmt: skip

    def told() -> list[tuple[TellingState, str]]:
        tellings = (one for alert in core.state.alerts.values() for one in alert.tellings)
        return [(one.state, one.why) for one in tellings if one.channel == "toast"]

    wanted = [(TellingState.DELIVERED, "shown on this desktop")] * 2
    while (state := core.state) and told() != wanted:
        assert core.wait_for_change(state.version, 10) is not state, told()
    withdraw()
    delivery.stop()
    assert sorted(one.title.rpartition(" ")[2] for one in screen.shown) == ["cellar", "kitchen"]
    assert sorted(one.path for one in screen.shown) == ["/alerts#alert-1", "/alerts#alert-2"]


@pytest.mark.parametrize("platform", ["win32", "linux", "darwin"])
def test_each_system_has_its_own_way_to_show(monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    first, *others = presenters(lambda _title, _message: None)
    wanted = {"win32": WindowsToasts, "linux": type(by_notify_send), "darwin": type(by_osascript)}
    assert isinstance(first, wanted[platform])
    assert [type(one) for one in others] == ([] if platform == "darwin" else [Balloons])


def test_a_balloon_at_the_icon_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    pystray = dummy_pystray(monkeypatch)
    shown: list[tuple[str, str]] = []
    ending = threading.Event()
    ending.set()
    balloons = Balloons(lambda *texts: shown.append(texts))
    assert balloons(Toast("Title", "Message", "/"), ending) is False
    assert shown == [("Title", "Message")]
    monkeypatch.setattr(pystray.Icon, "HAS_NOTIFICATION", False)
    with pytest.raises(OSError, match="have no notifications"):
        balloons(Toast("Title", "Message", "/"), ending)
    assert len(shown) == 1


def dummy_pystray(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("PYSTRAY_BACKEND", "dummy")
    for name in [name for name in sys.modules if name.partition(".")[0] == "pystray"]:
        monkeypatch.delitem(sys.modules, name)
    import pystray

    return pystray


class Program:
    """A program on the PATH that notes its arguments."""

    def __init__(self, folder: Path, name: str, status: int = 0) -> None:
        self._noted = folder / "arguments"
        program = folder / name
        program.write_text(f"#!/bin/sh\nprintf '%s\\0' \"$@\" > '{self._noted}'\necho no daemon >&2\nexit {status}\n")
        program.chmod(0o755)

    @property
    def arguments(self) -> list[str]:
        return self._noted.read_text().split("\0")[:-1]


HOSTILE = Toast("--icon=/etc/passwd", '"; $(reboot) <a href="x">&', "/")


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in for the program")
class TestProgramsThatShowToasts:
    @pytest.fixture(autouse=True)
    def only_ours(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))

    def test_notify_send_gets_texts_as_they_are_and_no_markup(self, tmp_path: Path) -> None:
        program = Program(tmp_path, "notify-send")
        assert by_notify_send(HOSTILE, threading.Event()) is False
        texts = ["--icon=/etc/passwd", '"; $(reboot) &lt;a href="x"&gt;&amp;']
        assert program.arguments == ["--app-name=WinClaw", "--", *texts]

    def test_osascript_gets_texts_as_arguments_of_a_script_that_is_always_the_same(self, tmp_path: Path) -> None:
        program = Program(tmp_path, "osascript")
        assert by_osascript(HOSTILE, threading.Event()) is False
        assert program.arguments[-3:] == ["--", HOSTILE.title, HOSTILE.message]
        assert not any(text in part for part in program.arguments[:-3] for text in HOSTILE[:2])

    def test_what_a_desktop_refuses_was_not_shown(self, tmp_path: Path, opened: Opened) -> None:
        Program(tmp_path, "notify-send", status=3)
        with pytest.raises(UndeliverableError, match="notify-send ended with 3: no daemon"):
            Toasts([by_notify_send], opened).show(*message())

    def test_a_program_that_is_not_there_is_named(self, opened: Opened) -> None:
        with pytest.raises(UndeliverableError, match="No such file or directory: 'notify-send'"):
            Toasts([by_notify_send], opened).show(*message())
