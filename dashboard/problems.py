"""Errors as they are answered: ``application/problem+json`` (RFC 9457), with the field where there is one; or a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
from flask import Flask, Response, g, render_template, request
from werkzeug.exceptions import HTTPException, NotFound

from resilience.core.core import CoreBusyError
from resilience.journal.journal import JournalError

T = TypeVar("T")


class Problem(Exception):  # noqa: N818 -- the RFC calls it so
    """A request that cannot be answered as asked.

    Args:
        status: the HTTP status. title: in three words. detail: what is wrong and how to mend it.
        field: where in the request, e.g. ``[3].message``. more: further members of the answer.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail = status, title, detail
        self.more = {**({} if field is None else {"field": field}), **more}
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """The answer."""
        body = {"type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail, **self.more}
        return Response(json.dumps(body), self.status, self.headers, content_type="application/problem+json")


def answer_errors(app: Flask) -> None:
    """Has ``app`` answer every error as a problem; on a page for who is logged in, where that can be shown."""

    @app.errorhandler(Exception)
    def _answer(error: Exception) -> Response | tuple[str, int, dict[str, str]]:
        problem = _problem_of(error)
        if problem.status == 500:
            app.logger.error("a request failed: %s %s", request.method, request.path, exc_info=error)
        elif g.get("identity") == "session" and not request.path.startswith("/api/"):
            return render_template("message.html", title=problem.title, text=problem.detail), problem.status, problem.headers
        return problem.response()


def _problem_of(error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case CoreBusyError():
            wait = {"Retry-After": str(round(error.retry_after_s))}
            return Problem(503, "Too busy", f"{error}. Nothing was stored; send it again.", headers=wait)
        case JournalError():
            return Problem(503, "Not stored", f"{error}. Send it again later.", headers={"Retry-After": "5"})
        case TimeoutError():
            detail = "The disk does not answer; it may or may not have worked. Look, or send it again with the same key."
            return Problem(503, "Not stored in time", detail, headers={"Retry-After": "5"})
        case NotFound():
            return Problem(404, "Not found", "There is nothing at this address.")
        case HTTPException():
            allowed = getattr(error, "valid_methods", None)
            headers = {"Allow": ", ".join(allowed)} if allowed else None
            return Problem(error.code or 500, error.name, error.description or error.name, headers=headers)
        case _:
            return Problem(500, "A defect in WinClaw", "It is in the log. Nothing else is affected.")


def decoded_json(decode: Callable[[bytes], T], body: bytes) -> T:
    """What ``decode`` makes of a request's body.

    Raises:
        Problem: 400, it is no JSON; 422, it has another shape, with the field.
    """
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        raise Problem(422, "Wrong shape", f"{what}.", field=where.rstrip("`").removeprefix(".")) from error
    except UnicodeDecodeError as error:
        raise Problem(400, "Not UTF-8", f"Byte {error.start} is not UTF-8.") from error
    except msgspec.DecodeError as error:
        raise Problem(400, "Not JSON", f"{error}.") from error
    except RecursionError as error:
        raise Problem(400, "Too deep", "The JSON nests too deep.") from error
