"""The configuration over HTTP: the settings in force, its versions with what each changed, and the way back."""

from __future__ import annotations

from typing import Any, Final, Protocol

from flask import Blueprint, Response, jsonify, render_template, request
from msgspec import Struct

from dashboard import shapes
from dashboard.access import Access
from dashboard.commands import actor, origin
from dashboard.operations import operation, query_of
from dashboard.pages import see
from dashboard.present import config as config_words
from dashboard.problems import Problem
from dashboard.query import ComparedQuery
from resilience.config.explained import NEW
from resilience.config.problems import ConfigError
from resilience.config.shown import as_yaml
from resilience.config.version import InForce
from resilience.core.core import Core, CoreBusyError
from resilience.core.notices import Notice
from resilience.events import EventType
from resilience.journal.journal import JournalError

_COMMIT_S: Final = 10.0
_LATER: Final = "The configuration file says version {} now. WinClaw is busy; it comes into force as soon as that is over."


class ConfigControl(Protocol):
    """What the app knows of its configuration, and can do with it."""

    def in_force(self) -> dict[str, Any]: ...
    def explained(self) -> dict[str, Any]: ...
    def listed(self) -> list[dict[str, Any]]: ...
    def described(self, number: int, against: int | None = None) -> dict[str, Any]: ...
    def roll_back(self, number: int, *, author: str, origin: str) -> str: ...


class RollBackWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """The version to go back to, with the token that an answer 409 had."""

    version: int
    confirm: str | None = None


class ConfigDesk:
    """What people ask of the configuration, from the API and from the pages alike."""

    def __init__(self, core: Core, access: Access, config: ConfigControl) -> None:
        self._core, self._access, self.config = core, access, config

    @property
    def notices(self) -> list[Notice]:
        """What is wrong with the configuration: with the file, or that its versions cannot be kept."""
        return [one for one in self._core.state.notices if one.name.startswith("config")]

    def newest(self) -> int:
        """The id of the newest event; 0: there is none."""
        return max((event.id for event in self._core.history.events(0, 1, newest=True)), default=0)

    def explained(self) -> dict[str, Any]:
        """Each setting in force, as the app explains it; the port is the one that it has."""
        found, port = self.config.explained(), self._access.url.rpartition(":")[2]
        each = [config_words.with_port(one, port) if one["path"] == "dashboard.port" else one for one in found["each"]]
        return {**found, "each": each}

    def version(self, number: int, against: int | None = None) -> dict[str, Any]:
        """The version of that number, whole; with its difference to the one before, or to the version ``against``.

        Raises:
            Problem: 404, there is none, or it has made room, or it is damaged; 503, it cannot be read now.
        """
        try:
            return self.config.described(number, against)
        except LookupError as missing:
            raise _no_version(next((one for one in missing.args if isinstance(one, int)), number)) from None
        except OSError as error:
            raise Problem(503, "Not readable", f"{error}.", headers={"Retry-After": "5"}) from error

    def confirmation(self, number: int) -> str | None:
        """Proof that a person has seen what rolling back to a version does; None where no version has been in force yet."""
        now = self._core.state.config
        return self._access.confirmation(now.since, _rolling_back(number, now)) if now is not None else None

    def roll_back(self, number: int, confirm: str | None) -> str:
        """Puts a version in force and into the user's file; says what was done.

        Raises:
            Problem: 404, as ``version``; 409, it takes a confirmation and there is none, which is then in the answer, with what
                would change; 422, it cannot be used any more; 503, the file cannot be written, or it is, and the core takes
                nothing just now.
        """
        found, now = self.version(number), self._core.state.config
        if found["problems"]:
            raise _unfit(number, found["problems"])
        if now is None or not self._access.confirmed(now.since, confirm, _rolling_back(number, now)):
            raise Problem(
                409, "Confirm first", "Rolling back takes a confirmation: send it again with this token.",
                preview={"would_change": found["would_change"]}, confirm=self.confirmation(number),
            )  # fmt: skip
        command = f"rollback version {number}"
        self._core.announce(EventType.COMMAND, "config", asked=command, actor=actor(), origin=origin()).result(_COMMIT_S)
        try:
            return self.config.roll_back(number, author=actor(), origin=origin())
        except LookupError:
            raise _no_version(number) from None
        except ConfigError as error:
            raise _unfit(number, [str(one) for one in error.problems]) from error
        except (CoreBusyError, JournalError, TimeoutError) as error:  # of these, only what comes after the file is written
            raise Problem(503, "Not in force yet", _LATER.format(number)) from error
        except OSError as error:
            raise Problem(503, "Not written", f"The configuration file cannot be written: {error}.") from error


def config_api(desk: ConfigDesk) -> Blueprint:
    """Routes under ``/api/v1`` of the configuration; not for agents."""
    api = Blueprint("config_api", __name__, url_prefix="/api/v1/config")

    @api.get("")
    @operation("The settings in force.", shapes.ConfigInForce)
    def in_force() -> Response:
        return jsonify(desk.config.in_force())

    @api.get("/explained")
    @operation("Each setting with its value, its default, its source and its meaning.", shapes.ConfigExplained)
    def explained() -> Response:
        found = desk.explained()
        return jsonify({**found, "each": [one for one in found["each"] if one["entry"] != NEW]})

    @api.get("/versions")
    @operation("The versions of the configuration.", shapes.Versions)
    def versions() -> Response:
        return jsonify(versions=desk.config.listed())

    @api.get("/versions/<int:number>")
    @operation("One version of the configuration, with what it changed.", shapes.WholeVersionView, query=ComparedQuery)
    def one_version(number: int, query: ComparedQuery) -> Response:
        return jsonify(desk.version(number, query.against or None))

    @api.post("/rollback")
    @operation("Goes back to a version.", shapes.RolledBack, body=RollBackWanted, problems=(404, 409))
    def roll_back(body: RollBackWanted) -> Response:
        return jsonify(done=desk.roll_back(body.version, body.confirm))

    return api


def config_pages(desk: ConfigDesk) -> Blueprint:
    """The pages of the configuration."""
    site = Blueprint("settings", __name__)

    @site.get("/settings")
    def overview() -> str:
        last = desk.newest()  # first: what happens from now on, the stream brings
        now, explained = desk.config.in_force(), desk.explained()
        return render_template(
            "settings.html",
            file=explained["file"],
            problems=explained["problems"],
            sections=config_words.sections(explained["each"], explained["version"]),
            number=now["version"],
            differs=now["differs"],
            yaml=as_yaml(now["settings"]),
            versions=[config_words.version(one) for one in desk.config.listed()],
            notices=desk.notices,
            last=last,
        )

    @site.get("/settings/versions/<int:number>")
    def one_version(number: int) -> str:
        found = desk.version(number, query_of(ComparedQuery).against or None)
        return render_template(
            "settings_version.html",
            others=[one for one in desk.config.listed() if one["version"] != number],
            one=config_words.version(found),
            difference=config_words.lines(found["diff"]) if found["diff"] is not None else None,
            confirm=desk.confirmation(number),
            again="again" in request.args,
        )

    @site.post("/settings/versions/<int:number>/rollback")
    def roll_back(number: int) -> Response:
        try:
            desk.roll_back(number, request.form.get("confirm"))
        except Problem as problem:
            if "confirm" not in problem.more:
                raise
            return see(f"/settings/versions/{number}?again")
        return see("/settings")

    return site


def _rolling_back(number: int, now: InForce) -> str:
    """What is confirmed: this version, after the one that is in force now."""
    return f"roll back to version {number} from {now.version.number}"


def _no_version(number: int) -> Problem:
    detail = f"There is no version {number} of the configuration, or it has made room for newer ones, or it is damaged."
    return Problem(404, "No such version", detail, field="version")


def _unfit(number: int, problems: list[str]) -> Problem:
    detail = f"Version {number} cannot be used any more: {' · '.join(problems[:5])}"
    return Problem(422, "It cannot be used", detail, field="version")
