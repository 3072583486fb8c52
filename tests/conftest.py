"""What tests of several parts share: a running WinClaw and a browser to look at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import hypothesis
import pytest

from run import NO_BROWSER, find_browser

if TYPE_CHECKING:  # a test that needs neither the app nor a browser loads neither
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, WebError

    from tray.app import Running

CHROMIUM_ARGUMENTS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

# The same examples in each run, and no question of how fast the machine is.
hypothesis.settings.register_profile("winclaw", deadline=None, derandomize=True, database=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("winclaw")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests in the browser come last: playwright's event loop stays in the main thread and would refuse asyncio.run()."""
    items.sort(key=lambda item: "chromium" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """This machine's Edge, Chrome or Chromium, else playwright's own.

    From here on nothing is measured: under Python 3.11 a trace function and playwright's greenlets can hang the process.
    """
    from coverage import Coverage
    from playwright.sync_api import sync_playwright

    if measured := Coverage.current():
        measured.stop()

    with sync_playwright() as playwright:
        executable = Path(find_browser() or playwright.chromium.executable_path)
        if not executable.is_file():
            pytest.skip(NO_BROWSER)
        browser = playwright.chromium.launch(executable_path=executable, args=list(CHROMIUM_ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def winclaw(tmp_path: Path) -> Iterator[Running]:
    """A WinClaw without a tray, in a home of its own, on a port that the system chooses."""
    from tray.app import running

    with running(tmp_path / "home", port=0) as winclaw:
        yield winclaw


@pytest.fixture
def complaints() -> list[str]:
    """What went wrong in the pages; a test that provokes something on purpose looks at it and clears it."""
    return []


@pytest.fixture
def context(chromium: Browser, complaints: list[str], request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """A fresh browser profile, not logged in; at its end no error was logged, no policy violated, no stranger asked.

    A test may say otherwise how it is: ``@pytest.mark.parametrize("context", [{"java_script_enabled": False}], indirect=True)``.
    """
    context = chromium.new_context(**getattr(request, "param", {}))

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":  # violations of the content security policy are logged as errors
            complaints.append(f"{message.text} ({message.location.get('url')})")

    def on_error(error: WebError) -> None:
        complaints.append(str(error.error))

    def on_request(asked: Request) -> None:
        address = urlsplit(asked.url)
        if address.scheme not in ("data", "blob") and address.hostname != "127.0.0.1":
            complaints.append(f"request to another host: {asked.url}")

    context.on("console", on_console)
    context.on("weberror", on_error)
    context.on("request", on_request)
    yield context
    context.close()
    assert complaints == []


@pytest.fixture
def page(winclaw: Running, context: BrowserContext) -> Page:
    """The dashboard's first page, logged in."""
    page = context.new_page()
    page.goto(winclaw.access.login_link())
    return page
