"""Every page with something of everything on it: for all eyes, by keyboard alone, without scripts, and each of its commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from playwright.sync_api import expect

from resilience.core.inputs import HealTold
from resilience.events import Report
from resilience.healing.heals import HealState
from tests.browser.full_home import full_home, heal, wait_until
from tests.browser.test_live import live

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page

    from tray.app import Running

ARTIFACTS: Final = Path(__file__).parent / "artifacts"
SAYS: Final = {
    "overview": ("Needs you", "Timeline", "All of it as a table", "night-runner", "gpt-5.2", "What happened", "chosen by the rules", "Journal"),
    "errors": ("Kinds of errors", "By trouble", "One by one", "LLMTimeoutError", "Export"),
    "errors-filtered": ("agentic.llm", "WARNING", "Clear all"),
    "overview-then": ("Shown:", "Back to now", "What happened"),
    "error": ("What helps", "What was done about it", "Why it was classified so", "I saw it", "ReadTimeout", "Traceback", "The end of its log"),
    "error-plain": ("late", "No stack, cause or metadata came with this report."),
    "circuits": ("gpt-5.2", "half-open", "isolated by you", "memory_system"),
    "loops": ("agent_core", "stuck", "no beat for 600 s", "not used yet"),
    "processes": ("gateway", "running", "crasher", "it ended with exit status 1"),
    "process": ("line 39 <b>not bold</b>", "Its errors"),
    "healing": ("Waits for your approval", "At a glance", "healed", "did not help", "needs you", "waits for you", "rejected"),
    "heal": ("What it did", "Verification", "did not help"),
    "heal-waiting": ("waits for you", "it expires at"),
    "alerts": ("acknowledged", "not told: snoozed until", "delivered", "Delivered and not", "Not told", "Channels", "Webhook"),
    "incident": ("Who was told, message by message", "What happened, in order"),
    "recovery": ("The journal", "Checkpoints", "left undone: a person has to see to it", "did not work"),
    "recovery-plan": ("Restore memory from its checkpoint of", "Leave it"),
    "recovery-one": ("It stopped at step 2.", "left out"),
    "settings": ("error_handling_config.yaml", "One by one", "followed by trouble", "Version 1"),
    "settings-version": ("Made by", "Line by line", "Compare with", "Its text"),
    "settings-old": ("Version 1 of the configuration", "Roll back to this", "circuit_breaker.default.failure_threshold"),
    "safe-mode": ("Safe Mode is off", "Blocked"),
    "not-found": ("Not found", "There is nothing at this address."),
    "login": ("Please come in through the tray",),
}
"""What stands on each page, whether scripts run or not."""
PRINTED: Final = ("overview", "error", "incident", "recovery-plan")
FORCED: Final = ("overview", "errors", "alerts", "settings")
"""Of these, pictures are made in forced colours; of those, on paper."""
LOOKED_AT: Final = tuple(name for name in SAYS if name not in ("errors-filtered", "error-plain", "settings-old"))
"""The pages of which no other has the same parts."""
EACH_WAY: Final = pytest.mark.parametrize(
    "context", [{}, {"java_script_enabled": False}], indirect=True, ids=["with-scripts", "without-scripts"]
)
WITHOUT_SCRIPTS: Final = pytest.mark.parametrize("context", [{"java_script_enabled": False}], indirect=True, ids=["without-scripts"])
"""For what is done with scripts in a test of its page alone."""
AXE: Final = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
LOOKS: Final = (
    ({"color_scheme": "light", "forced_colors": "none"}, 1280, None),
    ({"color_scheme": "dark", "forced_colors": "active"}, 1280, ["color-contrast"]),
    ({"color_scheme": "dark", "forced_colors": "none"}, 320, ["color-contrast", "target-size", "scrollable-region-focusable"]),
)
"""How the screen is, how wide, and which rules are looked at there: None are all, and what is one of another look is not looked at again."""
MOST_STOPS: Final = 70
"""Of Tab, on one page: rows that are like others are not walked through."""
VIOLATIONS: Final = """async only => (await axe.run(document, {
  resultTypes: ["violations"], ...(only ? {runOnly: only} : {}), rules: {"target-size": {enabled: true}},
})).violations.filter(({impact}) => ["serious", "critical"].includes(impact)).flatMap(({id, impact, nodes}) => nodes
  .filter(({target}) => id !== "target-size" || !document.querySelector(target[0])?.closest(".track")) // a moment: the whole lane can be pressed, and the table has it, too
  .map(({target, failureSummary}) => `${impact} ${id}: ${target} ${failureSummary}`))"""
WALK: Final = """() => {
  const label = one => `${one.tagName} ${(one.getAttribute("aria-label") ?? one.textContent).trim()} ${one.getAttribute("href") ?? one.name ?? ""}`.replace(/\\s+/g, " ").slice(0, 150);
  [window.reached, window.unmarked] = [[], []];
  document.addEventListener("focusin", ({target}) => {
    const drawn = target.closest("svg"); // of what is drawn, the outline is drawn, too, and what lies over it is reached by arrow keys
    const {outlineStyle, outlineWidth, strokeWidth} = getComputedStyle(drawn ? target.querySelector(".reach") : target);
    const {left, top, width, height} = target.getClientRects()[0] ?? target.getBoundingClientRect();
    const there = document.elementFromPoint(left + Math.min(width / 2, 40), top + Math.min(height / 2, 10));
    if (parseFloat(drawn ? strokeWidth : outlineStyle === "none" ? 0 : outlineWidth) < 2) window.unmarked.push(`no outline: ${label(target)}`);
    if (!there || !(target.contains(there) || there.contains(target) || drawn?.contains(there) || target.labels?.length)) window.unmarked.push(`not in sight: ${label(target)}`);
    window.reached.push(label(target));
  });
  return [...document.querySelectorAll("a[href], button, input, select, summary, textarea, [tabindex='0']")].filter(one => {
    const fold = one.closest("details:not([open])");
    return one.checkVisibility({visibilityProperty: true}) && one.tabIndex >= 0 && !one.disabled && one.type !== "hidden"
      && (!fold || one.tagName === "SUMMARY" && one.parentElement === fold && !fold.parentElement.closest("details:not([open])"));
  }).map(label);
}"""
"""Names what Tab ought to reach, in its order, and from then on writes down what it reaches."""
FORMS: Final = """() => [...document.forms].filter(form => !form.querySelector("button:not([type=button])")
  || form.method === "post" && !form.elements.csrf_token?.value).map(form => form.outerHTML)"""
TOO_SMALL: Final = """() => [...document.querySelectorAll("button, .button, nav a, summary")].filter(one => {
  const {width, height} = one.getBoundingClientRect();
  return one.checkVisibility() && (width < 23.5 || height < 23.5);
}).map(one => `too small: ${one.outerHTML}`)"""
WRONG_IN_PRINT: Final = """() => [
  ...[...document.querySelectorAll("button, form, nav, footer, .button, dialog")].filter(one => one.checkVisibility()),
  ...[...document.querySelectorAll("main details:not(.kinds, .kinds *) > :not(summary)")].filter(one => !one.checkVisibility()),
].map(one => one.outerHTML)"""
"""What is to press is still there, or what is folded is not."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, dict[str, str]]]:
    with full_home(tmp_path_factory.mktemp("every-page") / "home") as found:
        ARTIFACTS.mkdir(exist_ok=True)
        yield found


@pytest.fixture
def winclaw(home: tuple[Running, dict[str, str]]) -> Running:
    return home[0]


def visit(context: BrowserContext, home: tuple[Running, dict[str, str]], name: str) -> Page:
    """The page of that name."""
    winclaw, paths = home
    page = context.new_page()
    page.goto(f"{winclaw.url}/login" if name == "login" else winclaw.access.login_link(paths[name]))
    return page


def forgive(complaints: list[str], name: str) -> None:
    """A page that is not there, or not for strangers, is logged as an error."""
    if name in ("not-found", "login"):
        assert all("404" in one or "401" in one for one in complaints)
        complaints.clear()


@pytest.mark.parametrize("name", LOOKED_AT)
def test_a_page_is_for_all_eyes_and_hands(
    context: BrowserContext, home: tuple[Running, dict[str, str]], complaints: list[str], name: str
) -> None:
    """What stands there is read, reached by Tab, and breaks no rule of accessibility in light, dark, forced colours or print."""
    page = visit(context, home, name)
    if name != "login":
        live(page)
    page.route(page.url, lambda route: None)  # what is there stays there meanwhile
    for words in SAYS[name]:
        expect(page.locator("body")).to_contain_text(words)
    assert "owned" not in page.title()
    assert page.locator("img").count() == 0
    assert page.evaluate("document.title").count("·") >= 1
    found = {"keyboard": walk(page)}
    page.evaluate(AXE)
    for media, width, rules in LOOKS:
        page.emulate_media(**media)  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": 800})
        is_forced = media["forced_colors"] == "active"
        where = f"{'forced' if is_forced else media['color_scheme']}-{width}"
        found[where] = page.evaluate(VIOLATIONS, rules) + page.evaluate(TOO_SMALL)
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            found[where].append("sticks out")
        if not is_forced or name in FORCED:
            page.screenshot(path=ARTIFACTS / f"{name}-{where}.jpeg", full_page=True, type="jpeg", quality=80)
    page.emulate_media(media="print", color_scheme="dark", forced_colors="none")
    page.set_viewport_size({"width": 718, "height": 1000})  # a sheet of A4 between its margins
    found["print"] = page.evaluate(WRONG_IN_PRINT)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    if name in PRINTED:
        page.screenshot(path=ARTIFACTS / f"{name}-print.jpeg", full_page=True, type="jpeg", quality=80)
    forgive(complaints, name)
    assert {where: said for where, said in found.items() if said} == {}


def walk(page: Page) -> list[str]:
    """Tab reaches all that can be pressed or filled in, in the order in which it stands there, each in sight and marked: what is wrong."""
    wanted = page.evaluate(WALK)[:MOST_STOPS]
    for _ in wanted:
        page.keyboard.press("Tab")
    reached = page.evaluate("reached")
    page.evaluate("document.activeElement.blur()")
    there = next((f"{one} was to come, and {other} came" for one, other in zip(wanted, reached, strict=False) if one != other), "")
    missing = [there] if there else [f"{len(wanted)} stops, and {len(reached)} came"] if len(wanted) != len(reached) else []
    return [*missing, *page.evaluate("unmarked")]


@WITHOUT_SCRIPTS
def test_without_scripts_all_is_there_and_each_form_is_whole(
    context: BrowserContext, home: tuple[Running, dict[str, str]], complaints: list[str]
) -> None:
    winclaw, paths = home
    page = context.new_page()
    page.goto(f"{winclaw.url}/login")
    for name in ("login", *paths):
        if name != "login":
            page.goto(winclaw.access.login_link(paths[name]) if name == "overview" else winclaw.url + paths[name])
            assert not page.get_by_role("button", name="Keyboard and help").is_visible(), "what works by scripts alone is not offered"
        there = " ".join((page.locator("body").text_content() or "").split())
        assert [words for words in SAYS[name] if words not in there] == [], name
        assert page.evaluate(FORMS) == [], name
        forgive(complaints, name)


def pressed(page: Page, button: str, *, within: Locator | None = None) -> None:
    (within or page).get_by_role("button", name=button, exact=True).first.click()


@WITHOUT_SCRIPTS
def test_the_level_is_chosen_and_safe_mode_entered_and_left(context: BrowserContext, home: tuple[Running, dict[str, str]]) -> None:
    page = visit(context, home, "overview")
    level, mode = page.get_by_role("heading", level=1), page.locator("#mode")
    page.locator("#mode").get_by_role("button", name="Minimal").click()
    expect(level).to_contain_text("Minimal")
    expect(mode).to_contain_text("chosen by hand, until Auto")
    page.locator("#mode").get_by_role("button", name="Auto").click()
    expect(mode).to_contain_text("chosen by the rules")
    pressed(page, "Safe Mode")
    expect(level).to_contain_text("Level 5 of 5 · Safe Mode")
    page.get_by_role("link", name="Leave Safe Mode…").click()
    expect(page.get_by_text("This will happen at once:")).to_be_visible()
    pressed(page, "Leave Safe Mode")
    expect(level).not_to_contain_text("Safe Mode")


@WITHOUT_SCRIPTS
def test_a_circuit_is_isolated_released_and_closed(context: BrowserContext, home: tuple[Running, dict[str, str]]) -> None:
    page = visit(context, home, "circuits")
    row = page.get_by_role("row").filter(has_text="memory_system")
    pressed(page, "Isolate memory_system")
    expect(row).to_contain_text("isolated by dashboard")
    pressed(page, "Release memory_system")
    expect(row).to_contain_text("half-open")
    pressed(page, "Close memory_system")
    expect(row).to_contain_text("closed by dashboard")


@EACH_WAY
def test_heals_are_approved_rejected_and_dismissed(context: BrowserContext, home: tuple[Running, dict[str, str]]) -> None:
    winclaw = home[0]
    first = max(winclaw.core.state.heals) + 1
    states = {"Approve": HealState.WAITING, "Reject": HealState.WAITING, "Dismiss": HealState.ESCALATED}
    for number, state in enumerate(states.values(), first):
        winclaw.core.tell(HealTold(heal(number, state, f"cache-{number}"))).result(10)
    page = visit(context, home, "healing")
    for number, (button, word) in enumerate(zip(states, ("approved", "rejected", "dismissed"), strict=True), first):
        page.get_by_role("link", name=f"cache-{number}").first.click()
        pressed(page, button)
        expect(page.get_by_role("row").filter(has_text=f"cache-{number}")).to_contain_text(word)


@WITHOUT_SCRIPTS
def test_alerts_are_snoozed_told_again_and_acknowledged(context: BrowserContext, home: tuple[Running, dict[str, str]]) -> None:
    winclaw = home[0]
    before = len(winclaw.core.state.alerts)
    places = (f"kitchen-{before}", f"cellar-{before}")
    burning = [Report(type="OSError", message="it burns", component=place, operation="cook", severity="CRITICAL") for place in places]
    winclaw.core.report(burning).result(10)
    for place in places:
        wait_until(winclaw, lambda now, place=place: any(place in str(one.cause) for one in now.alerts.values()))
    page = visit(context, home, "alerts")
    row = page.locator("#alerts").get_by_role("row").filter(has_text=places[0])
    row.get_by_role("button", name="Snooze").click()
    expect(row).to_contain_text("not told: snoozed until")
    row.get_by_role("button", name="Tell again of alert").click()
    expect(row.get_by_role("button", name="Snooze")).to_be_visible()
    row.get_by_role("button", name="Acknowledge").click()
    expect(row).to_contain_text("by dashboard, from 127.0.0.1")
    for length in ("Snooze all for an hour", "Snooze all for 8 hours"):
        pressed(page, length)
        expect(page.get_by_text("Nobody is told of anything but what is FATAL until")).to_be_visible()
        pressed(page, "Tell again")
    pressed(page, "Acknowledge all")
    expect(page.get_by_role("button", name="Acknowledge all")).to_have_count(0)
    pressed(page, "Test Dashboard")
    expect(page.get_by_role("row").filter(has_text="A test").first).to_be_visible()
    assert page.evaluate("location.hash").startswith("#alert-")


@EACH_WAY
def test_a_process_is_stopped_started_and_restarted(context: BrowserContext, home: tuple[Running, dict[str, str]]) -> None:
    winclaw = home[0]
    wait_until(winclaw, lambda now: now.processes["gateway"].state.value == "running")
    page = visit(context, home, "processes")
    row = page.get_by_role("row").filter(has_text="gateway")
    for button, state in (("Stop", "stopped"), ("Start", "running"), ("Restart", "running")):
        pid = winclaw.core.state.processes["gateway"].pid
        pressed(page, f"{button} gateway")
        wait_until(winclaw, lambda now, wanted=state, old=pid: now.processes["gateway"].state.value == wanted and now.processes["gateway"].pid != old)
        page.reload()
        expect(row).to_contain_text(state)


@WITHOUT_SCRIPTS
def test_what_was_lost_is_recovered_by_a_plan(context: BrowserContext, home: tuple[Running, dict[str, str]]) -> None:
    winclaw = home[0]
    page = visit(context, home, "recovery")
    page.get_by_label("Of what").fill("memory")
    pressed(page, "Show the plan")
    expect(page.get_by_role("list", name="The plan")).to_contain_text("Restore memory from its checkpoint of")
    pressed(page, "Begin")
    expect(page.get_by_role("heading", name="Recover memory")).to_be_visible()
    number = int(page.url.rpartition("/")[2])
    wait_until(winclaw, lambda now: not now.recoveries[number].is_open)
    page.reload()
    expect(page.get_by_text("memory is recovered.")).to_be_visible()


@WITHOUT_SCRIPTS
def test_the_configuration_is_rolled_back(context: BrowserContext, home: tuple[Running, dict[str, str]]) -> None:
    page = visit(context, home, "settings")
    page.get_by_role("link", name=re.compile("Roll back to version")).first.click()
    page.get_by_role("button", name=re.compile("Roll back to version")).click()
    expect(page.get_by_text(re.compile(r"rolled back to \d")).first).to_be_visible()


@EACH_WAY
def test_errors_are_searched_and_everybody_is_signed_out(
    context: BrowserContext, home: tuple[Running, dict[str, str]], complaints: list[str]
) -> None:
    page = visit(context, home, "errors")
    page.get_by_label("Search").fill("PromptInjectionError")
    pressed(page, "Show")
    expect(page.locator("#rows tbody tr")).to_have_count(4)
    pressed(page, "Sign out everywhere")
    expect(page.get_by_role("heading", level=1)).to_contain_text("come in through the tray")
    assert all("401" in one or "WebSocket" in one for one in complaints)
    complaints.clear()
