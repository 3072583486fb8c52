"""What browser tests share: the browser of this machine, a running WinClaw, a page that is logged in."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from run import find_browser
from tray.app import Running, running

CHROMIUM = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A real browser, found where this machine has one."""
    executable = find_browser()
    if executable is None:
        pytest.skip("no Edge, Chrome or Chromium was found on this machine; `python run.py test` installs one if it can")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(executable), args=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def winclaw(tmp_path: Path) -> Iterator[Running]:
    """WinClaw without a tray, on a home and a port of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with running(tmp_path / "home", port=port) as started:
        yield started


@pytest.fixture
def page(chromium: Browser, winclaw: Running) -> Iterator[Page]:
    """A page that is logged in; at the end nothing may have gone wrong in it, and no other host been asked."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    one = context.new_page()
    complaints: list[str] = []
    one.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    one.on("pageerror", lambda error: complaints.append(str(error)))
    strangers: list[str] = []
    one.on("request", lambda request: strangers.append(request.url) if not request.url.startswith((winclaw.url, "data:")) else None)
    one.goto(winclaw.access.login_link())
    yield one
    context.close()
    assert complaints == []
    assert strangers == []
