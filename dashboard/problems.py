"""Errors as the API tells them: ``application/problem+json`` (RFC 9457), with the field named where there is one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

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
        body = problem_body(self.status, self.title, self.detail, **self.more)
        return Response(body, self.status, self.headers, content_type="application/problem+json")


def problem_body(status: int, title: str, detail: str, **more: Any) -> bytes:
    """The body of such an answer."""
    return json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail, **more}).encode()


def answer_problems(app: Flask) -> None:
    """Has ``app`` answer every error under ``/api/`` as a problem; pages keep their own."""

    @app.errorhandler(Problem)
    def _problem(problem: Problem) -> Response:
        return problem.response()

    @app.errorhandler(CoreBusyError)
    def _busy(error: CoreBusyError) -> Response:
        wait = {"Retry-After": str(round(error.retry_after_s))}
        return Problem(503, "Too busy", f"{error}. Nothing was stored; send it again.", headers=wait).response()

    @app.errorhandler(JournalError)
    def _refused(error: JournalError) -> Response:
        return Problem(503, "Not stored", f"{error}. Send it again later.", headers={"Retry-After": "5"}).response()

    @app.errorhandler(TimeoutError)
    def _slow(_: TimeoutError) -> Response:
        detail = "The disk did not answer in time; it may or may not be stored. Send it again with the same key."
        return Problem(503, "Not stored in time", detail, headers={"Retry-After": "5"}).response()

    @app.errorhandler(HTTPException)
    def _http(error: HTTPException) -> Response | HTTPException:
        if not request.path.startswith("/api/"):
            return error
        problem = Problem(error.code or 500, error.name, error.description or error.name)
        if error.code == 405 and (allowed := getattr(error, "valid_methods", None)):
            problem.headers["Allow"] = ", ".join(allowed)
        return problem.response()

    @app.errorhandler(Exception)
    def _defect(error: Exception) -> Response:
        app.logger.error("a request failed: %s %s", request.method, request.path, exc_info=error)
        return Problem(500, "A defect in WinClaw", "It is in the log. Nothing else is affected.").response()


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
