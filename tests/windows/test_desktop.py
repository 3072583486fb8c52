"""The real program in the real Windows Python, on a screen, with a mouse. Run by ``tests/windows/run``."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from resilience.agent.wire import UnreachableError, Wire
from resilience.degradation.levels import DegradationLevel
from resilience.home import ENDPOINT, read_json
from tray.artwork import COLOURS

pytestmark = pytest.mark.windows
HERE = Path(__file__).parent
ARTIFACTS = HERE / "artifacts"
TRAY = (1100, 740, 1280, 800)  # where the notification area is on the bench's screen of 1280 by 800


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


def pixels_of(level: DegradationLevel, picture: Image.Image, box: tuple[int, int, int, int] = TRAY) -> list[tuple[int, int]]:
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
        self.process = subprocess.Popen(
            [HERE / "py", "-m", "tray", "run", "--no-browser", "--port", "24000"],
            env={**os.environ, "WINCLAW_HOME": f"Z:{home}".replace("/", "\\")},
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


def appeared(before: Image.Image, name: str) -> tuple[int, int, int, int] | None:
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


def test_safe_mode_by_mouse_from_the_tray_with_a_toast_killed_and_back_and_quit(app: App) -> None:
    until(app.answers, 90)
    icon = find_icon(DegradationLevel.FULL)
    assert app.level() == "FULL"
    choose(icon, SAFE_MODE, "menu")
    until(lambda: app.level() == "SAFE_MODE", 15)
    before = screenshot("safe-mode")
    until(lambda: toast_in(screenshot("toast")), 20)
    assert before.size == (1280, 800)
    killed = app.pid()
    app.kill()
    until(lambda: app.pid() not in (0, killed) and app.answers(), 60)
    assert app.level() == "SAFE_MODE"
    until(lambda: not toast_in(screenshot("toast-gone")), 30)
    choose(find_icon(DegradationLevel.SAFE_MODE), QUIT, "menu-safe-mode")
    assert app.process.wait(30) == 0, (app.home.parent / "output.txt").read_text()
    assert not (app.home / ENDPOINT).exists()


def toast_in(picture: Image.Image) -> bool:
    """Whether a balloon stands above the taskbar: much there is not the desktop's colour."""
    above = picture.crop((800, 500, 1280, 770))
    background = picture.getpixel((400, 300))
    colours = above.getcolors(above.width * above.height) or []
    return sum(count for count, colour in colours if colour != background) > 5000
