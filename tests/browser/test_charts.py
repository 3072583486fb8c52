"""Charts and the services' tiles in a real browser: drawn from their tables, live, and usable with many services."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from resilience.events import CircuitReport, Heartbeat
from resilience.journal.samples import Sample, minute_of
from tests.browser.test_live import live

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tray.app import Running


def measured(winclaw: Running, ago: int, *samples: Sample) -> None:
    """Has the journal hold ``samples`` of so many minutes ago."""
    minute = minute_of(winclaw.core.clock.now()) - ago
    winclaw.core.on_journal(lambda journal: journal.sample(minute, samples, 0)).result(10)


def use(winclaw: Running, ago: int, cpu: float = 12.0, **calls: tuple[int, int, float]) -> None:
    """Has the journal hold a minute of the machine and of calls: how many, how many failed, p95 in ms."""
    measured(winclaw, ago, Sample("machine", cpu, 60.0), *(Sample(name, None, None, *numbers) for name, numbers in calls.items()))


def beat(winclaw: Running, *circuits: CircuitReport) -> None:
    winclaw.core.beat(Heartbeat(agent="a", pid=1, circuits=circuits)).result(10)


def test_charts_are_drawn_from_their_tables_and_go_on_by_themselves(page: Page, winclaw: Running) -> None:
    page.clock.install()
    page.goto(f"{winclaw.url}/circuits")
    live(page)
    expect(page.locator("#measured")).to_contain_text("As soon as agents have called a service for a minute")
    use(winclaw, 30, gpt=(10, 1, 830.0), gmail=(4, 4, 1500.0))
    page.clock.fast_forward("01:00")
    for name in ("p95", "failed", "calls"):
        expect(page.locator(f"#{name} canvas")).to_be_visible()
        expect(page.locator(f"#{name}-table tbody tr")).to_have_count(60)
    expect(page.locator("#p95-data .legend li")).to_have_text(["gmail 1.5 s", "gpt 830 ms"])
    use(winclaw, 20, gpt=(20, 0, 410.0))
    page.clock.fast_forward("01:00")
    expect(page.locator("#p95-data .legend li")).to_have_text(["gmail 1.5 s", "gpt 410 ms"])
    expect(page.locator("#calls-data .legend li")).to_have_text(["gmail 0", "gpt 20"])
    use(winclaw, 15, ollama=(7, 0, 90.0))
    page.clock.fast_forward("01:00")
    expect(page.locator("#failed-data .legend li")).to_have_text(["gmail 100 %", "gpt 0 %", "ollama 0 %"])
    box = page.locator("#failed .u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    expect(page.locator("#failed-said")).to_have_text(re.compile(r"at \d\d:\d\d"))
    page.mouse.move(2, 2)
    expect(page.locator("#failed-said")).to_have_text("of 100 calls, so many failed")
    page.get_by_role("link", name="24h").click()
    live(page)
    expect(page.locator("#calls-table tbody tr")).to_have_count(144)
    expect(page.locator("#calls canvas")).to_be_visible()


def test_the_overview_has_the_machine_over_time_and_each_service_as_a_tile(page: Page, winclaw: Running) -> None:
    """The countdown goes on by itself; when it is over, the server says what is so now."""
    use(winclaw, 30, cpu=12.0, gpt=(10, 1, 830.0))
    opened = CircuitReport(service="gpt", state="OPEN", change=1, because="3 failed", retry_after_s=90, calls=12, failures=4)
    beat(winclaw, CircuitReport(service="gpt", state="CLOSED", calls=8), CircuitReport(service="quiet", state="CLOSED"))
    winclaw.sampler.look()
    beat(winclaw, opened)
    winclaw.sampler.look()
    page.clock.install()
    page.goto(winclaw.url)
    live(page)
    expect(page.locator("#use canvas")).to_be_visible()
    expect(page.locator("#use-data .legend li")).to_have_text(["CPU 12 %", "Memory 60 %"])
    tiles = page.locator("#services .services > li")
    expect(tiles).to_have_count(2)
    expect(tiles.first).to_contain_text(re.compile(r"gpt\s+Open\s+errors\s*100 %\s+p95\s*—\s+calls\s*4/min\s+Not answering, next try in (8\d|90) s"))
    expect(tiles.nth(1)).to_contain_text("Closed")
    page.clock.fast_forward("00:30")
    expect(tiles.first).to_contain_text(re.compile(r"next try in (5\d|60) s"))
    expect(page.get_by_text("next try in")).to_have_count(1)  # where else a time ends, nothing is counted down
    expect(page.locator("#timeline .lane")).not_to_have_count(0)
    page.evaluate("window.same = true")
    winclaw.core.switch_circuit("gpt", "isolate", actor="you", origin="elsewhere").result(10)
    expect(tiles.first).to_contain_text("Cut off")
    assert page.evaluate("window.same")


def test_forty_services_stay_usable(page: Page, winclaw: Running) -> None:
    """Those in trouble come first; the rest is a click away."""
    reports = [CircuitReport(service=f"service-{number:02}", state="CLOSED") for number in range(38)]
    trouble = [CircuitReport(service=f"z-{number}", state="OPEN", change=1, because="3 failed", retry_after_s=60) for number in range(2)]
    beat(winclaw, *reports, *trouble)
    for number in range(3):
        use(winclaw, 10 + number, **{one.service: (5, 0, 10.0) for one in (*reports, *trouble)})
    page.set_viewport_size({"width": 320, "height": 800})
    page.goto(winclaw.url)
    live(page)
    tiles = page.locator("#services .services > li")
    expect(tiles).to_have_count(8)
    expect(tiles.locator(".name")).to_have_text(["z-0", "z-1", *(f"service-{number:02}" for number in range(6))])
    expect(page.locator("#services .rest")).to_have_text(re.compile("and 32 more\\s+all of them answer"))
    page.get_by_role("link", name="and 32 more").click()
    live(page)
    expect(page.locator("table.circuits tbody tr")).to_have_count(40)
    expect(page.locator("#p95-data .legend li")).to_have_count(8)
    expect(page.locator("#p95-data .legend li").nth(6)).to_have_text("z-0 10 ms")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert page.locator("tr").count() < 500


def test_without_scripts_charts_are_pictures_with_their_tables(chromium: Browser, winclaw: Running) -> None:
    use(winclaw, 30, gpt=(10, 1, 830.0))
    with chromium.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(winclaw.access.login_link("/circuits"))
        expect(page.locator("#p95 path.line-0")).to_have_attribute("d", re.compile(r"^M\d"))
        page.locator("#p95-data summary").click()
        expect(page.locator("#p95-table").get_by_text("830 ms")).to_be_visible()
