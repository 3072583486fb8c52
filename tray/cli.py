"""The command line. Everything that changes something goes through the running app's API, as the dashboard does."""

from __future__ import annotations

import json
import os
import sys
import webbrowser
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import click

from resilience import __version__, home
from resilience.clock import SystemClock
from resilience.degradation.levels import DegradationLevel
from tray.guardian import CANNOT_START, Guardian, guarded, own_command
from tray.signals import on_signals

_NOT_RUNNING = 3
_TEST_S = 20
_LEVELS = ("auto", *(level.word for level in DegradationLevel))


class _InOrder(click.Group):
    """Lists its commands in the order in which people need them."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_InOrder, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="winclaw")
@click.pass_context
def cli(context: click.Context) -> None:
    """WinClaw keeps AI agents alive: it watches, restarts, heals, and has one red button. Without a command it runs.

    What it keeps alive stands in error_handling_config.yaml; `winclaw config check` says where that is.
    """
    if context.invoked_subcommand is None:
        context.invoke(run)


@cli.command()
@click.option("--headless", is_flag=True, help="Without a tray icon.")
@click.option("--port", type=click.IntRange(1024, 65535), help="The dashboard's port, instead of the configured one.")
@click.option("--no-browser", is_flag=True, help="Do not open the dashboard at start.")
@click.option("--no-guard", is_flag=True, help="Without the guardian that starts WinClaw again when it dies or hangs.")
@click.option("--guard", "watched", type=int, hidden=True, help="Guard the WinClaw that runs as this process.")
@click.option("--guarded-by", "guardian", type=int, hidden=True, help="Which process started this one, to guard it.")
@click.option("--after", "because", default="", hidden=True, help="Why the WinClaw before this one ended.")
def run(
    headless: bool, port: int | None, no_browser: bool, no_guard: bool, watched: int | None, guardian: int | None, because: str
) -> None:
    """Run WinClaw until you quit it. Exit status 4: it cannot run, and has said why."""
    chosen = [*(["--headless"] if headless else []), *(["--port", str(port)] if port else [])]
    again = own_command("run", *chosen)
    if guardian is None and not no_guard:
        command = [*again, *(["--no-browser"] if no_browser else []), "--guarded-by", str(os.getpid())]
        one = Guardian(home.find(), command, SystemClock())
        on_signals(one.stop)
        sys.exit(one.run(watched))

    from resilience.journal.journal import JournalError  # noqa: PLC0415 -- the guardian and the other commands need not wait for it
    from tray import app  # noqa: PLC0415

    try:
        sys.exit(
            app.run(
                home.find(), headless=headless, port=port, browser=not (no_browser or because), say=_say, because=because,
                guarded=nullcontext if guardian is None else partial(guarded, guardian, again),
            )
        )  # fmt: skip
    except app.AlreadyRunningError:
        _say("WinClaw is running already; opening its dashboard.")
        if not no_browser:
            webbrowser.open(_login_link())
    except (OSError, JournalError) as error:
        _fail(str(error), CANNOT_START)


@cli.command("open")
@click.option("--print", "only_print", is_flag=True, help="Print the one-time login link instead of opening it.")
def open_(only_print: bool) -> None:
    """Open the dashboard in the browser. The link works once, and for a minute."""
    link = _login_link()
    if only_print or not webbrowser.open(link):
        click.echo(link)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="The whole state as JSON.")
def status(as_json: bool) -> None:
    """Say how things stand. Exit status 3: WinClaw is not running."""
    state = _ask("GET", "/api/v1/state")
    if as_json:
        click.echo(json.dumps(state, indent=2))
        return
    level = DegradationLevel[state["level"]]
    _say(f"Level {level.value} of 5: {level.title}{' (pinned)' if state['pinned'] else ''}. {state['cause']}")
    want = state["rules_want"]
    if state["pinned"] and want["level"] != state["level"]:
        _say(f"The rules would choose {DegradationLevel[want['level']].title}: {want['cause']}")
    for latch in state["rules_want"]["latches"]:
        _say(f"Held until somebody chooses auto: {latch['cause']}")
    if want["rises_at"] is not None and not state["pinned"]:
        _say(f"If all stays well, it rises at {want['rises_at']}.")
    for channel, count in state["waiting"]["channels"].items():
        _say(f"Waiting to be sent: {count} to {channel}")
    alive = [agent["name"] for agent in state["agents"] if agent["alive"]]
    lost = [agent["name"] for agent in state["agents"] if not agent["alive"]]
    gone = f"; gone: {', '.join(lost)}" if lost else ""
    _say(f"Agents: {', '.join(alive) or 'none connected'}{gone}")
    unwell = [one for one in state["services"] if not one["healthy"]]
    if state["services"]:
        _say(f"Services: {len(state['services']) - len(unwell)} of {len(state['services'])} answer")
    for one in unwell:
        _say(f"  {one['name']}: circuit {one['circuit'].lower().replace('_', '-')}, {one['because']}")
    for one in state["processes"]:
        pid, why = f" ({one['pid']})" if one["pid"] else "", f", {one['why']}" if one["why"] else ""
        _say(f"Process {one['name']}: {one['state']}{pid}{why}")
    for notice in state["notices"]:
        _say(" ".join(f"Needs you: {notice['what']} {notice['cause']} {notice['action']}".split()))
    if state["snoozed_until"]:
        _say(f"Alerts are snoozed until {state['snoozed_until']}, but for what is FATAL.")


@cli.command()
@click.argument("wanted", type=click.Choice(_LEVELS, case_sensitive=False), required=False)
@click.option("--yes", is_flag=True, help="Leave Safe Mode without being asked.")
def level(wanted: str | None, yes: bool) -> None:
    """Show the level, or pin it. With auto, the rules choose again."""
    if wanted is None:
        click.echo(DegradationLevel[_ask("GET", "/api/v1/state")["level"]].word)
    else:
        _set_level(wanted, yes)


@cli.command("safe-mode")
@click.argument("switch", type=click.Choice(["on", "off"]), default="on")
@click.option("--yes", is_flag=True, help="Leave Safe Mode without being asked.")
def safe_mode(switch: str, yes: bool) -> None:
    """The red button: stop everything but reading. With off, it shows what will happen, and asks."""
    if switch == "off" and _ask("GET", "/api/v1/state")["level"] != DegradationLevel.SAFE_MODE.name:
        click.echo("Safe Mode is not on.")
        return
    _set_level(DegradationLevel.SAFE_MODE.word if switch == "on" else "auto", yes)


@cli.command()
@click.argument("command", type=click.Choice(["start", "stop", "restart"]))
@click.argument("name")
def process(command: str, name: str) -> None:
    """Start, stop or restart a process. Starting it clears a failure."""
    _ask("POST", f"/api/v1/processes/{quote(name, safe='')}/{command}")
    _say(f"{name}: {command} was asked for; see winclaw status.")


@cli.group()
def alerts() -> None:
    """Try the ways in which alerts are told."""


@alerts.command()
@click.argument("channel")
def test(channel: str) -> None:
    """Send a test message by CHANNEL, e.g. email; exit status 1 if it does not arrive."""
    [telling] = _ask("POST", "/api/v1/alerts/test", {"channel": channel, "wait_s": _TEST_S}, _TEST_S + 10)["tellings"]
    why = telling["why"].rstrip(".")
    match telling["state"]:
        case "delivered":
            _say(f"{channel}: delivered, {why}.")
        case "failed":
            _fail(f"{channel}: it did not arrive, {why}.")
        case _ if why:
            _fail(f"{channel}: it has not arrived yet, {why}. It is tried again.")
        case _:
            _fail(f"{channel}: it has not arrived in {_TEST_S} seconds. The page Alerts shows what becomes of it.")


@cli.group()
def config() -> None:
    """Look at the configuration file."""


@config.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
def check(file: Path | None) -> None:
    """Say what is wrong with the configuration. It is the one in use, or FILE; exit status 1 if anything is."""
    from resilience.config.file import ConfigError, load  # noqa: PLC0415 -- only this command needs it

    path = file or home.find() / home.CONFIG
    try:
        load(path)
    except ConfigError as error:
        _fail(str(error))
    _say(f"{path}: all right.")


def _set_level(wanted: str, yes: bool) -> None:
    status_code, answer = _exchange("POST", "/api/v1/level", {"level": wanted})
    if status_code == 409 and "confirm" in answer:
        for sentence in answer["preview"]["will"]:
            _say(sentence)
        if not yes and not click.confirm("Leave Safe Mode?", default=False):
            _fail("Safe Mode stays on.")
        status_code, answer = _exchange("POST", "/api/v1/level", {"level": wanted, "confirm": answer["confirm"]})
    _require_success(status_code, answer)
    now = DegradationLevel[answer["state"]["level"]]
    _say(f"Level {now.value} of 5: {now.title}. {answer['state']['cause']}")


def _login_link() -> str:
    link: str = _ask("POST", "/api/v1/login-links", {})["url"]
    return link


def _ask(method: str, path: str, body: dict[str, Any] | None = None, timeout_s: float = 10) -> dict[str, Any]:
    status_code, answer = _exchange(method, path, body, timeout_s)
    _require_success(status_code, answer)
    return answer


def _exchange(method: str, path: str, body: dict[str, Any] | None, timeout_s: float = 10) -> tuple[int, dict[str, Any]]:
    from resilience.agent.wire import UnreachableError, Wire  # noqa: PLC0415 -- the guardian, who lives long, asks nobody

    try:
        return Wire(home.find(), operator=True, timeout_s=timeout_s).ask(method, path, body)
    except UnreachableError:
        _fail("WinClaw is not running. Start it with: winclaw run", _NOT_RUNNING)


def _require_success(status_code: int, answer: dict[str, Any]) -> None:
    if status_code >= 400:
        _fail(f"{answer.get('title', f'HTTP status {status_code}')}: {answer.get('detail', '')}")


def _fail(message: str, code: int = 1) -> NoReturn:
    if sys.stderr is not None:
        click.echo(_clean(message), err=True)
    sys.exit(code)


def _clean(text: str) -> str:
    return "".join(one if one.isprintable() or one == "\n" else "?" for one in text)


def _say(message: str) -> None:
    """Says it at the console, if there is one, and it has not been closed; without what only terminals understand."""
    if sys.stdout is not None:
        with suppress(OSError):
            click.echo(_clean(message))
