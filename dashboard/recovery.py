"""Recovery (§9) over HTTP: plans that are shown before they run, recoveries, checkpoints, and what is left undone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from flask import Blueprint, Response, jsonify, render_template, request

from dashboard import shapes
from dashboard.commands import actor, origin
from dashboard.operations import Operation, described, operation
from dashboard.pages import see
from dashboard.present import recovery as recovery_words
from dashboard.problems import Problem, decoded_json
from dashboard.recovery_asked import CheckpointQuery, Progress, RecoveryWanted, StateSaved
from resilience import home
from resilience.clock import as_text
from resilience.config.shown import redactor_of
from resilience.core.core import Core
from resilience.core.state import State
from resilience.exact import InexactError
from resilience.recovery.checkpoint import Checkpoint, CheckpointDamagedError, CheckpointError, CheckpointTooLargeError
from resilience.recovery.engine import BusyError, PlanChangedError, RecoveryEngine
from resilience.recovery.plans import NothingToRecoverError, Recovery, RecoveryLevel, Step, digest_of
from resilience.recovery.policy import CheckpointLevel
from resilience.transactions.file import unfinished_in

_ROWS: Final = 200
_MAX_WAIT_S: Final = 25.0
_BESIDE_STATE_BYTES: Final = 200_000


class RecoveryDesk:
    """What people and agents ask of recovery, from the API and from the page alike."""

    def __init__(self, core: Core, engine: RecoveryEngine, folder: Path) -> None:
        self._core, self._engine, self._folder = core, engine, folder
        self.saved = engine.checkpoints

    def plan(self, wanted: RecoveryWanted) -> tuple[Step, ...]:
        """What would be done.

        Raises:
            Problem: 422, there is nothing to be done; it says why.
        """
        try:
            return self._engine.plan(wanted.level, wanted.target, wanted.checkpoint)
        except NothingToRecoverError as error:
            raise _nothing(error) from error

    def begin(self, wanted: RecoveryWanted) -> Recovery:
        """Begins it.

        Raises:
            Problem: 422, there is nothing to be done; 409, another one goes on that would get into its way, or what would be
                done is no longer what was shown: ``plan`` is what it would be now.
        """
        try:
            return self._engine.begin(
                wanted.level, wanted.target, wanted.checkpoint, actor=actor(), origin=origin(), shown=wanted.plan
            )
        except PlanChangedError as error:
            said = "What would be done is no longer what was shown; nothing was done. Look at the plan as it is now."
            raise Problem(409, "The plan has changed", said, field="plan", **_as_plan(error.steps)) from error
        except NothingToRecoverError as error:
            raise _nothing(error) from error
        except BusyError as error:
            raise Problem(409, "Another one goes on", f"{error}.") from error

    def recovery(self, number: int, state: State | None = None) -> Recovery:
        """The recovery of that number, now or in ``state``.

        Raises:
            Problem: 404, there is none, or it is too old to be kept.
        """
        found = (state or self._core.state).recoveries.get(number)
        if found is None:
            raise Problem(404, "No such recovery", f"There is no recovery {number}, or it is too old to be kept.", field="id")
        return found

    def progress(self, number: int, wait_s: float) -> Recovery:
        """The same; while it goes on, as soon as a further step is over, or after so many seconds.

        Raises:
            Problem: as ``recovery``.
        """
        clock, state = self._core.clock, self._core.state
        end_s = clock.monotonic() + wait_s
        found = begun = self.recovery(number, state)
        while found.is_open and found.steps == begun.steps and (left_s := end_s - clock.monotonic()) > 0:
            known, state = state.version, self._core.wait_for_change(state.version, left_s)
            if state.version == known and clock.monotonic() < end_s:
                break  # the core ends, and nothing comes any more
            found = self.recovery(number, state)
        return found

    def checkpoint(self, checkpoint_id: str) -> Checkpoint:
        """The checkpoint of that id, proven.

        Raises:
            Problem: 404, there is none; 410, it is damaged; 503, it cannot be read now.
        """
        try:
            found = self.saved.load_checkpoint(checkpoint_id)
        except CheckpointDamagedError as error:
            raise Problem(410, "Damaged", f"{error}.", field="id") from error
        except CheckpointError as error:
            raise Problem(503, "Not readable", f"{error}.", headers={"Retry-After": "5"}) from error
        if found is None:
            detail = f"There is no checkpoint {checkpoint_id[:100]!r}, or it has made room for newer ones."
            raise Problem(404, "No such checkpoint", detail, field="id")
        return found

    def save(self, wanted: StateSaved) -> Checkpoint:
        """Saves a state; it is on disk when this returns.

        Raises:
            Problem: 409, checkpoints are turned off; 422, it cannot be held exactly, or is too large; 503, the disk refuses.
        """
        policy = self._engine.policy()
        if not policy.enabled:
            raise Problem(409, "Checkpoints are off", "They are turned off in the configuration: checkpoint.enabled.")
        try:
            state = json.loads(bytes(wanted.state))
            return self.saved.create_checkpoint(wanted.level, wanted.component, state, wanted.metadata, parent=wanted.parent)
        except CheckpointTooLargeError as error:
            raise Problem(413, "Too large", f"{error}.", field="state") from error
        except InexactError as error:
            raise Problem(422, "Not exact", f"{error}.", field="state") from error
        except ValueError as error:
            raise Problem(422, "Unfit", f"{error}.") from error
        except CheckpointError as error:
            raise Problem(503, "Not stored", f"{error}. Send it again later.", headers={"Retry-After": "5"}) from error

    def heads(self, component: str = "", level: CheckpointLevel | None = None) -> list[dict[str, Any]]:
        """The checkpoints of a component, of a level, or all, the newest first."""
        return [one.view() for one in self.saved.checkpoints(component or None, level)[:_ROWS]]

    def unfinished(self) -> list[dict[str, Any]]:
        """The transactions of all agents that are under way, or left undone; what their steps kept is their agents' alone."""
        clean = redactor_of(self._core.state.settings).value
        found = []
        for one in unfinished_in(self._folder / home.TRANSACTIONS):
            left = [{name: value for name, value in step._asdict().items() if name != "kept"} for step in one.left]
            found.append({**clean({**one._asdict(), "left": left}), "since": as_text(one.since)})
        return found


def recovery_api(core: Core, desk: RecoveryDesk) -> Blueprint:
    """Routes under ``/api/v1`` of recovery."""
    api = Blueprint("recovery_api", __name__, url_prefix="/api/v1")
    decode_saved = msgspec.json.Decoder(StateSaved).decode

    @api.get("/recovery")
    @operation("Recoveries, transactions that are not over, and the journal's health.", shapes.RecoveryOverview)
    def overview() -> Response:
        recoveries = [one.view() for one in reversed([*core.state.recoveries.values()])]
        return jsonify(recoveries=recoveries, transactions=desk.unfinished(), journal=core.state.health.view())

    @api.get("/recovery/<int:number>")
    @operation("One recovery, as soon as a further step is over.", shapes.RecoveryView, query=Progress)
    def one_recovery(number: int, query: Progress) -> Response:
        return jsonify(desk.progress(number, min(query.wait, _MAX_WAIT_S)).view())

    @api.post("/recover")
    @operation("Begins a recovery, or only plans it.", (shapes.Plan, shapes.Begun), body=RecoveryWanted, problems=(409,))
    def recover(body: RecoveryWanted) -> Response:
        if body.dry_run:
            return jsonify(_as_plan(desk.plan(body)))
        return jsonify(recovery=desk.begin(body).view())

    @api.get("/checkpoints")
    @operation("Checkpoints, without their states.", shapes.Checkpoints, query=CheckpointQuery)
    def checkpoints(query: CheckpointQuery) -> Response:
        return jsonify(checkpoints=desk.heads(query.component, query.level))

    @api.get("/checkpoints/<checkpoint_id>")
    @operation("One checkpoint with its state, proven.", shapes.CheckpointView, problems=(410,))
    def one_checkpoint(checkpoint_id: str) -> Response:
        found = desk.checkpoint(checkpoint_id)
        return Response(json.dumps(found.view()), content_type="application/json")

    @api.post("/checkpoints")
    @described(Operation("Saves a state.", shapes.HeadView, body=StateSaved, problems=(409,)))
    def save() -> Response:
        request.max_content_length = core.state.settings.checkpoint.max_state_mb * 1_000_000 + _BESIDE_STATE_BYTES
        saved = desk.save(decoded_json(decode_saved, request.get_data(cache=False)))
        return jsonify({name: value for name, value in saved.view().items() if name != "state"})

    return api


def recovery_pages(core: Core, desk: RecoveryDesk) -> Blueprint:
    """The pages of recovery."""
    site = Blueprint("recovery", __name__)

    @site.get("/recovery")
    def overview() -> str:
        return shown(_of_form(request.args) if request.args.get("level") else None)

    def shown(wanted: RecoveryWanted | None, said: str = "") -> str:
        plan: tuple[Step, ...] = ()
        if wanted is not None:
            try:
                plan = desk.plan(wanted)
            except Problem as problem:
                said = problem.detail
        now, saved = core.state, desk.saved.checkpoints()
        clean = redactor_of(now.settings).text
        return render_template(
            "recovery.html",
            wanted=wanted,
            levels_words=recovery_words.LEVELS,
            plan=plan,
            digest=digest_of(plan),
            why_not=said,
            targets=recovery_words.targets(now, saved),
            recoveries=[recovery_words.recovery(one.view()) for one in reversed([*now.recoveries.values()])],
            checkpoints=[recovery_words.checkpoint(one.view(), clean) for one in saved[:_ROWS]],
            transactions=[recovery_words.transaction(one) for one in desk.unfinished()],
            journal=recovery_words.journal(now.health.view()),
        )

    @site.get("/recovery/<int:number>")
    def one_recovery(number: int) -> str:
        return render_template("recovery_one.html", recovery=recovery_words.recovery(desk.recovery(number).view()))

    @site.post("/recovery")
    def begin() -> Response | tuple[str, int]:
        wanted = _of_form(request.form)
        try:
            return see(f"/recovery/{desk.begin(wanted).id}")
        except Problem as problem:
            if problem.more.get("field") != "plan":
                raise
            return shown(wanted, problem.detail), problem.status

    return site


def _of_form(form: Any) -> RecoveryWanted:
    """What a form, or a link, asks to recover.

    Raises:
        Problem: 422, there is no such level.
    """
    level = next((one for one in RecoveryLevel if one.value == form.get("level")), None)
    if level is None:
        raise Problem(422, "No such level", f"It is one of {', '.join(RecoveryLevel)}.", field="level")
    target = "" if level is RecoveryLevel.SYSTEM else form.get("target", "")[:200]
    checkpoint, plan = form.get("checkpoint", "")[:100], form.get("plan", "")[:100]
    return RecoveryWanted(level=level, target=target, checkpoint=checkpoint, plan=plan)


def _as_plan(steps: Sequence[Step]) -> dict[str, Any]:
    """A plan as the API gives it, with the digest by which it is begun."""
    return {"plan": [msgspec.to_builtins(one) for one in steps], "digest": digest_of(steps)}


def _nothing(error: NothingToRecoverError) -> Problem:
    said = str(error)
    return Problem(422, "Nothing to recover", f"{said[:1].upper()}{said[1:].rstrip('.')}.", field="target")
