"""The real program in the real Windows Python, on a screen, with a mouse. Run by ``tests/windows/run``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image, ImageChops

from resilience.agent.wire import UnreachableError, Wire
from resilience.degradation.levels import DegradationLevel
from resilience.home import ENDPOINT, read_json
from tray.artwork import COLOURS

Box = tuple[int, int, int, int]
"""Left, top, right, bottom."""

pytestmark = pytest.mark.windows
HERE = Path(__file__).parent
ARTIFACTS = HERE / "artifacts"
TRAY = (1100, 740, 1280, 800)  # where the notification area is on the bench's screen of 1280 by 800
ABOVE = (640, 400, 1280, 768)  # where balloons stand, above the taskbar
NOTE = "import pathlib, sys; pathlib.Path(__file__).with_name('opened.txt').write_text(sys.argv[1])"
CLICKED = """
import win32con, win32gui
toast = win32gui.FindWindow("PythonTaskbar", None)
win32gui.PostMessage(toast, win32con.WM_USER + 20, 0, win32con.WM_USER + 5)
"""
"""Tells a toast of win10toast that it was clicked (NIN_BALLOONUSERCLICK), as Windows does; Wine's taskbar tells no such thing."""


def until(condition: Callable[[], object], seconds: float = 60) -> object:
    """What ``condition`` gives as soon as it is true; fails after ``seconds``."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.1)):
        if found := condition():
            return found
        pause.wait(0.1)
    raise AssertionError(f"not within {seconds} s: {condition}")


def screenshot(name: str) -> Image.Image:
    ARTIFACTS.mkdir(exist_ok=True)
    path = ARTIFACTS / f"{name}.png"
    subprocess.run(["import", "-window", "root", str(path)], check=True, timeout=30)
    return Image.open(path).convert("RGB")


def pixels_of(level: DegradationLevel, picture: Image.Image, box: Box = TRAY) -> list[tuple[int, int]]:
    """Where in ``box`` the colour of a level's icon is."""
    wanted = tuple(int(COLOURS[level][place : place + 2], 16) for place in (1, 3, 5))
    left, top, right, bottom = box
    return [
        (x, y) for x in range(left, right) for y in range(top, bottom)
        if max(abs(have - want) for have, want in zip(picture.getpixel((x, y)), wanted, strict=True)) < 24  # type: ignore[arg-type]
    ]  # fmt: skip


def middle(points: list[tuple[int, int]]) -> tuple[int, int]:
    return sum(x for x, _ in points) // len(points), sum(y for _, y in points) // len(points)


def mouse(*arguments: object) -> str:
    done = subprocess.run(["xdotool", *map(str, arguments)], check=True, capture_output=True, text=True, timeout=30)
    return done.stdout


def click(button: int, at: tuple[int, int]) -> None:
    mouse("mousemove", *at, "sleep", "0.2", "click", button)


class App:
    """``winclaw run`` in the Windows Python."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.output = (home.parent / "output.txt").open("wb")
        browser = home.parent / "browser.py"
        browser.write_text(NOTE)
        self.opened = home.parent / "opened.txt"
        """What the browser was last told to open."""
        self.process = subprocess.Popen(
            [HERE / "py", "-m", "tray", "run", "--no-browser", "--port", "24000"],
            env={
                **os.environ, "WINCLAW_HOME": f"Z:{home}".replace("/", "\\"),
                "BROWSER": f"C:/Python311/python.exe Z:{browser} %s",  # with slashes: backslashes would be taken as escapes
            },
            stdout=self.output, stderr=subprocess.STDOUT, cwd=home.parent,
        )  # fmt: skip

    def answers(self) -> bool:
        assert self.process.poll() is None, (self.home.parent / "output.txt").read_text()
        endpoint = read_json(self.home / ENDPOINT)
        if endpoint is None:
            return False
        try:
            with urllib.request.urlopen(f"{endpoint['url']}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def pid(self) -> int:
        """The number of the WinClaw that agents are told of, not of its guardian; 0 if there is none."""
        return int((read_json(self.home / ENDPOINT) or {"pid": 0})["pid"])

    def kill(self) -> None:
        """Ends WinClaw as the Task Manager does; its guardian is left."""
        end = "import os, sys; os.kill(int(sys.argv[1]), 9)"
        subprocess.run([HERE / "py", "-c", end, str(self.pid())], check=True, timeout=60)

    def level(self) -> str:
        try:
            status, state = Wire(self.home).ask("GET", "/api/v1/state")
        except UnreachableError:
            return ""
        return str(state["level"]) if status == 200 else ""

    def report(self, *components: str) -> None:
        """Reports that each of them has failed, as an agent does."""
        reports = [
            {
                "type": "RuntimeError", "message": f"The memory of {one} is lost. Nothing it says can be trusted.",
                "component": one, "operation": "remember", "severity": "CRITICAL",
            }
            for one in components
        ]  # fmt: skip
        status, answer = Wire(self.home).ask("POST", "/api/v1/errors", json.dumps(reports).encode())
        assert status == 200, answer

    def toasts(self) -> dict[str, str]:
        """Where the toast of each alert stands, by the component that the alert is about."""
        status, answer = Wire(self.home, operator=True).ask("GET", "/api/v1/alerts")
        assert status == 200, answer
        return {
            alert["component"]: told["state"]
            for alert in answer["alerts"] for told in alert["tellings"] if told["channel"] == "toast"
        }  # fmt: skip

    def page(self) -> str:
        """The page that the link leads to which the browser was last told to open."""
        link = urlsplit(self.opened.read_text()) if self.opened.exists() else urlsplit("")
        to = parse_qs(link.query).get("to", [""])[0]
        return f"{to}#{link.fragment}" if link.fragment else to


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    assert shutil.which("xdotool"), "the bench is not set up: run tests/windows/run"
    one = App(tmp_path / "home")
    yield one
    if one.process.poll() is None:
        one.process.kill()
        one.process.wait(20)
    one.output.close()


def find_icon(level: DegradationLevel) -> tuple[int, int]:
    def look() -> tuple[int, int] | None:
        points = pixels_of(level, screenshot(f"icon-{level.word}"))
        return middle(points) if len(points) >= 20 else None

    found = until(look, 30)
    assert isinstance(found, tuple)
    return found


def appeared(before: Image.Image, name: str) -> Box | None:
    """Where something new is on the screen (left, top, right, bottom), once it has been drawn to its end."""
    first = screenshot(name)
    box = ImageChops.difference(before, first).getbbox()
    if box is None or box[2] - box[0] < 60 or box[3] - box[1] < 40:
        return None
    return box if ImageChops.difference(first, screenshot(name)).getbbox() is None else None


def choose(icon: tuple[int, int], share: float, name: str) -> None:
    """Right-clicks the icon and clicks the entry that lies at ``share`` of the menu's height."""
    before = screenshot(name)
    click(3, icon)
    box = until(lambda: appeared(before, name), 15)
    assert isinstance(box, tuple)
    top, bottom = box[1], min(box[3], icon[1])  # it ends where the mouse is, to the left of it and above
    click(1, (icon[0] - 60, round(top + (bottom - top) * share)))


SAFE_MODE, QUIT = 0.65, 0.89  # where these entries lie in the menu of seven lines, two of them thin


def test_critical_errors_and_safe_mode_by_mouse_killed_and_back_and_quit(app: App) -> None:
    until(app.answers, 90)
    icon = find_icon(DegradationLevel.FULL)
    assert app.level() == "FULL"
    app.report("researcher")
    seen("toast-alert")
    subprocess.run([HERE / "py", "-c", CLICKED], check=True, timeout=60)
    until(lambda: app.page() == "/alerts#alert-1", 15)
    until(lambda: not toast_in(screenshot("toast-gone")), 15)
    app.report("writer", "painter")
    first = seen("toast-first")
    seen("toast-second", other_than=first)
    until(lambda: app.toasts() == dict.fromkeys(["researcher", "writer", "painter"], "delivered"), 15)
    choose(icon, SAFE_MODE, "menu")
    until(lambda: app.level() == "SAFE_MODE", 15)
    killed = app.pid()
    app.kill()
    until(lambda: app.pid() not in (0, killed) and app.answers(), 60)
    assert app.level() == "SAFE_MODE"
    until(lambda: {*app.toasts().values()} == {"delivered"}, 30)
    until(lambda: not toast_in(screenshot("toast-gone")), 15)
    choose(find_icon(DegradationLevel.SAFE_MODE), QUIT, "menu-safe-mode")
    assert app.process.wait(30) == 0, (app.home.parent / "output.txt").read_text()
    assert not (app.home / ENDPOINT).exists()


def seen(name: str, other_than: Image.Image | None = None) -> Image.Image:
    """Waits for a toast that has been drawn to its end; what it looks like. With ``other_than``, for one that looks otherwise."""

    def look() -> Image.Image | None:
        picture = screenshot(name)
        box = toast_in(picture)
        if box is None or differ(picture.crop(box), screenshot(name).crop(box)):
            return None
        found = picture.crop(box)
        return found if other_than is None or differ(found, other_than) else None

    found = until(look, 20)
    assert isinstance(found, Image.Image)
    return found


def toast_in(picture: Image.Image) -> Box | None:
    """Where a balloon stands above the taskbar: much there is not the desktop's colour."""
    above = picture.crop(ABOVE)
    desktop = Image.new("RGB", above.size, picture.getpixel((400, 300)))  # type: ignore[arg-type]
    box = ImageChops.difference(above, desktop).getbbox()
    if box is None or (box[2] - box[0]) * (box[3] - box[1]) < 5000:
        return None
    return box[0] + ABOVE[0], box[1] + ABOVE[1], box[2] + ABOVE[0], box[3] + ABOVE[1]


def differ(one: Image.Image, other: Image.Image) -> bool:
    return one.size != other.size or ImageChops.difference(one, other).getbbox() is not None
