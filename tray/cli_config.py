"""The commands `winclaw config …`: with the running app, or on the files alone where none runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from resilience import home
from tray.terminal import exchange, fail, reached, require_success, say


@click.group()
def config() -> None:
    """Look at the configuration, and go back to an earlier one."""


@config.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
def check(file: Path | None) -> None:
    """Say what is wrong with the configuration. It is the one in use, or FILE; exit status 1 if anything is."""
    from resilience.alerting.addresses import require_understood  # noqa: PLC0415 -- only this command needs them
    from resilience.alerting.channels import Channels  # noqa: PLC0415
    from resilience.config.file import ConfigError, load  # noqa: PLC0415

    path = file or home.find() / home.CONFIG
    try:
        require_understood(load(path).alerting.channels, Channels())
    except ConfigError as error:
        fail(str(error))
    except ValueError as error:
        fail(f"{path} cannot be used:\n  alerts cannot take it: {error}")
    say(f"{path}: all right.")


@config.command()
@click.option("--version", "number", type=int, help="The text of that version instead, without secrets.")
@click.option("--diff", is_flag=True, help="With --version: what changed with it, line by line.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(number: int | None, diff: bool, as_json: bool) -> None:
    """Show the settings in force, without secrets; or a version of them."""
    from resilience.config.shown import as_yaml  # noqa: PLC0415 -- as below
    from tray import config_offline  # noqa: PLC0415 -- only these commands need it

    if number is None:
        found = _told("/api/v1/config", lambda: config_offline.in_force(home.find()))
        click.echo(json.dumps(found["settings"], indent=2)) if as_json else say(as_yaml(found["settings"]).rstrip())
        return
    one = _version(number)
    if as_json:
        click.echo(json.dumps(one, indent=2))
    elif not diff:
        say(one["text"].replace("\r\n", "\n").rstrip("\n"))
    elif one["diff"] is None:
        say(f"What version {number} replaced is not known any more.")
    else:
        say("\n".join(one["diff"]) or f"Version {number} differs in nothing that may be shown.")


@config.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def versions(as_json: bool) -> None:
    """List the versions of the configuration: author, when, what changed, outcome."""
    from tray import config_offline  # noqa: PLC0415
    from tray.config_words import version_lines  # noqa: PLC0415

    found = _told("/api/v1/config/versions", lambda: {"versions": config_offline.versions(home.find())})["versions"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif found:
        say("\n".join(version_lines(found)))
    else:
        say("There is no version yet. The first is made when WinClaw runs.")


@config.command()
@click.argument("number", type=int)
@click.option("--yes", is_flag=True, help="Without being asked.")
def rollback(number: int, yes: bool) -> None:
    """Go back to version NUMBER: it comes into force, and into your file; what that says now is kept beside it."""
    from resilience.config.problems import ConfigError  # noqa: PLC0415
    from tray import config_offline  # noqa: PLC0415
    from tray.config_words import roll_back_lines  # noqa: PLC0415

    def confirm(would_change: list[str]) -> None:
        say("\n".join(roll_back_lines(number, would_change)))
        if not yes and not click.confirm(f"Roll back to version {number}?", default=False):
            fail("Nothing has changed.")

    answered = reached("POST", "/api/v1/config/rollback", {"version": number})
    if answered is None:
        one = _version(number)
        if one["problems"]:
            fail(f"Version {number} cannot be used any more: {' · '.join(one['problems'][:5])}")
        confirm(one["would_change"])
        try:
            say(_sentence(config_offline.roll_back(home.find(), number)))
        except config_offline.RunningError:
            fail("WinClaw is just starting; try again.")
        except (LookupError, ConfigError, OSError) as error:
            fail(f"Nothing has changed: {error}.")
        return
    shown = None
    while answered[0] == 409 and "confirm" in answered[1]:
        if answered[1]["preview"] != shown:  # else only the confirmation has grown old, while a person read
            shown = answered[1]["preview"]
            confirm(shown["would_change"])
        answered = exchange("POST", "/api/v1/config/rollback", {"version": number, "confirm": answered[1]["confirm"]})
    require_success(*answered)
    say(_sentence(answered[1]["done"]))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _version(number: int) -> dict[str, Any]:
    from tray import config_offline  # noqa: PLC0415

    try:
        return _told(f"/api/v1/config/versions/{number}", lambda: config_offline.version(home.find(), number))
    except LookupError:
        fail(f"There is no version {number} of the configuration, or it is damaged.")
    except OSError as error:
        fail(f"{error}.")


def _told(path: str, otherwise: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What the running app answers; where none runs, ``otherwise``."""
    answered = reached("GET", path)
    if answered is None:
        return otherwise()
    require_success(*answered)
    return answered[1]
