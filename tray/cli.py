"""The command line. Everything that changes something goes through the running app's API, as the dashboard does."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import sys
import webbrowser
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from urllib.parse import quote

import click

from resilience import __version__, home
from resilience.clock import SystemClock
from resilience.degradation.levels import DegradationLevel
from tray.cli_config import config
from tray.guardian import CANNOT_START, Guardian, guarded, own_command
from tray.signals import on_signals
from tray.terminal import ask, exchange, fail, require_success, say

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
    """Run WinClaw until you quit it. Exit status 4: it cannot run, and has said why; 1: with room on the disk it may."""
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
                home.find(), headless=headless, port=port, browser=not (no_browser or because), say=say, because=because,
                guarded=nullcontext if guardian is None else partial(guarded, guardian, again),
            )
        )  # fmt: skip
    except app.AlreadyRunningError:
        say("WinClaw is running already; opening its dashboard.")
        if not no_browser:
            webbrowser.open(_login_link())
    except (OSError, JournalError) as error:  # among them TimeoutError: the disk answers too late
        fail(str(error), 1 if _may_pass(error) else CANNOT_START)


def _may_pass(error: BaseException) -> bool:
    """Whether a later start may succeed, so that the guardian tries: the disk is full, or another program holds the journal."""
    cause = error.__cause__ or error
    if isinstance(cause, sqlite3.OperationalError):
        return cause.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY)
    return isinstance(cause, TimeoutError) or (isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT))


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
    state = ask("GET", "/api/v1/state")
    if as_json:
        click.echo(json.dumps(state, indent=2))
        return
    level = DegradationLevel[state["level"]]
    say(f"Level {level.value} of 5: {level.title}{' (pinned)' if state['pinned'] else ''}. {state['cause']}")
    want = state["rules_want"]
    if state["pinned"] and want["level"] != state["level"]:
        say(f"The rules would choose {DegradationLevel[want['level']].title}: {want['cause']}")
    for latch in state["rules_want"]["latches"]:
        say(f"Held until somebody chooses auto: {latch['cause']}")
    if want["rises_at"] is not None and not state["pinned"]:
        say(f"If all stays well, it rises at {want['rises_at']}.")
    for channel, count in state["waiting"]["channels"].items():
        say(f"Waiting to be sent: {count} to {channel}")
    alive = [agent["name"] for agent in state["agents"] if agent["alive"]]
    lost = [agent["name"] for agent in state["agents"] if not agent["alive"]]
    gone = f"; gone: {', '.join(lost)}" if lost else ""
    say(f"Agents: {', '.join(alive) or 'none connected'}{gone}")
    unwell = [one for one in state["services"] if not one["healthy"]]
    if state["services"]:
        say(f"Services: {len(state['services']) - len(unwell)} of {len(state['services'])} answer")
    for one in unwell:
        say(f"  {one['name']}: circuit {one['circuit'].lower().replace('_', '-')}, {one['because']}")
    for one in state["processes"]:
        pid, why = f" ({one['pid']})" if one["pid"] else "", f", {one['why']}" if one["why"] else ""
        say(f"Process {one['name']}: {one['state']}{pid}{why}")
    for notice in state["notices"]:
        say(" ".join(f"Needs you: {notice['what']} {notice['cause']} {notice['action']}".split()))
    if state["snoozed_until"]:
        say(f"Alerts are snoozed until {state['snoozed_until']}, but for what is FATAL.")


@cli.command()
@click.argument("wanted", type=click.Choice(_LEVELS, case_sensitive=False), required=False)
@click.option("--yes", is_flag=True, help="Leave Safe Mode without being asked.")
def level(wanted: str | None, yes: bool) -> None:
    """Show the level, or pin it. With auto, the rules choose again."""
    if wanted is None:
        click.echo(DegradationLevel[ask("GET", "/api/v1/state")["level"]].word)
    else:
        _set_level(wanted, yes)


@cli.command("safe-mode")
@click.argument("switch", type=click.Choice(["on", "off"]), default="on")
@click.option("--yes", is_flag=True, help="Leave Safe Mode without being asked.")
def safe_mode(switch: str, yes: bool) -> None:
    """The red button: stop everything but reading. With off, it shows what will happen, and asks."""
    if switch == "off" and ask("GET", "/api/v1/state")["level"] != DegradationLevel.SAFE_MODE.name:
        click.echo("Safe Mode is not on.")
        return
    _set_level(DegradationLevel.SAFE_MODE.word if switch == "on" else "auto", yes)


@cli.command()
@click.argument("command", type=click.Choice(["start", "stop", "restart"]))
@click.argument("name")
def process(command: str, name: str) -> None:
    """Start, stop or restart a process. Starting it clears a failure."""
    ask("POST", f"/api/v1/processes/{quote(name, safe='')}/{command}")
    say(f"{name}: {command} was asked for; see winclaw status.")


@cli.command()
@click.argument("wanted", metavar="LEVEL", type=click.Choice(["operation", "session", "component", "system"]))
@click.argument("target", default="")
@click.option("--checkpoint", default="", metavar="ID", help="Restore from this one, instead of the newest.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--yes", is_flag=True, help="Begin without being asked.")
def recover(wanted: str, target: str, checkpoint: str, dry_run: bool, yes: bool) -> None:
    """Recover what was lost: a component by its name, the system, a session, or what was before an operation.

    It shows its plan, and asks. Exit status 1: there is nothing to be done, or it did not work.
    """
    asked = {"level": wanted, "target": target, "checkpoint": checkpoint}
    shown = ask("POST", "/api/v1/recover", {**asked, "dry_run": True})
    for number, step in enumerate(shown["plan"], 1):
        say(f"{number}. {step['what']}")
    if dry_run:
        return
    if not yes and not click.confirm("Begin?", default=False):
        fail("Nothing was done.")
    recovery = ask("POST", "/api/v1/recover", {**asked, "plan": shown["digest"]})["recovery"]
    told = 0
    while True:
        over = [step for step in recovery["steps"] if step["state"] not in ("planned", "running")]
        for step in over[told:]:
            say(f"{step['state']}: {step['what']} {step['result']}".rstrip())
        told = len(over)
        if recovery["state"] != "running":
            break
        recovery = ask("GET", f"/api/v1/recovery/{recovery['id']}?wait=5")
    if recovery["state"] != "recovered":
        fail(recovery["result"])
    say(recovery["result"])


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--with-secrets", is_flag=True, help="Leave nothing out; the file is then to be kept like a password.")
@click.option("--with-logs", is_flag=True, help="Add the logs.")
@click.option("--force", is_flag=True, help="Replace FILE, if there is one.")
def export(file: Path, with_secrets: bool, with_logs: bool, force: bool) -> None:
    """Write all that WinClaw knows into FILE, a zip file, for restore; whether it runs or not."""
    from tray import disaster  # noqa: PLC0415 -- only these two commands need it

    try:
        disaster.write_export(
            home.find(), file, SystemClock(), say, with_secrets=with_secrets, with_logs=with_logs, force=force
        )  # fmt: skip
    except disaster.DisasterError as error:
        fail(str(error))


@cli.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--into", type=click.Path(file_okay=False, path_type=Path), help="Where to, instead of WINCLAW_HOME.")
@click.option("--dry-run", is_flag=True, help="Only look at FILE, and say what would be done.")
@click.option("--force", is_flag=True, help="Set aside what is there; nothing is deleted.")
def restore(file: Path, into: Path | None, dry_run: bool, force: bool) -> None:
    """Bring an empty home to the state that was exported to FILE, and compare. WinClaw must not run.

    Exit status 1: nothing was restored, or what stands there is not what was exported.
    """
    from tray import disaster  # noqa: PLC0415

    try:
        is_same = disaster.read_restore(
            file, into.absolute() if into is not None else home.find(), SystemClock(), say, dry_run=dry_run, force=force
        )  # fmt: skip
    except disaster.DisasterError as error:
        fail(str(error))
    if not is_same:
        fail("What stands there is not what was exported.")


@cli.group()
def alerts() -> None:
    """Try the ways in which alerts are told."""


@alerts.command()
@click.argument("channel")
def test(channel: str) -> None:
    """Send a test message by CHANNEL, e.g. email; exit status 1 if it does not arrive."""
    [telling] = ask("POST", "/api/v1/alerts/test", {"channel": channel, "wait_s": _TEST_S}, _TEST_S + 10)["tellings"]
    why = telling["why"].rstrip(".")
    match telling["state"]:
        case "delivered":
            say(f"{channel}: delivered, {why}.")
        case "failed":
            fail(f"{channel}: it did not arrive, {why}.")
        case _ if why:
            fail(f"{channel}: it has not arrived yet, {why}. It is tried again.")
        case _:
            fail(f"{channel}: it has not arrived in {_TEST_S} seconds. The page Alerts shows what becomes of it.")


cli.add_command(config)


def _set_level(wanted: str, yes: bool) -> None:
    status_code, answer = exchange("POST", "/api/v1/level", {"level": wanted})
    if status_code == 409 and "confirm" in answer:
        for sentence in answer["preview"]["will"]:
            say(sentence)
        if not yes and not click.confirm("Leave Safe Mode?", default=False):
            fail("Safe Mode stays on.")
        status_code, answer = exchange("POST", "/api/v1/level", {"level": wanted, "confirm": answer["confirm"]})
    require_success(status_code, answer)
    now = DegradationLevel[answer["state"]["level"]]
    say(f"Level {now.value} of 5: {now.title}. {answer['state']['cause']}")


def _login_link() -> str:
    link: str = ask("POST", "/api/v1/login-links", {})["url"]
    return link
