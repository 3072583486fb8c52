"""The description of ``/api/v1`` as OpenAPI 3.1, made of what its routes say of themselves: see ``operations``."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any, Final

import msgspec
from flask import Blueprint, Flask, Response, current_app
from werkzeug.routing import Rule

from dashboard import shapes
from dashboard.operations import Operation, operation, operation_of
from resilience import __version__

PREFIX: Final = "/api/v1"
_REF: Final = "#/components/schemas/{name}"
_NAME: Final = re.compile(r"<(?:(\w+):)?(\w+)>")
_PROBLEMS: Final = {
    400: "The body is no JSON.",
    401: "Nobody is logged in, or the token is another WinClaw's.",
    403: "It is not for agents, or the page's own token is missing, or Host or Origin are foreign.",
    404: "There is nothing of that name, or it is too old to be kept.",
    409: "Something else goes on, it is too late, or it takes a confirmation.",
    410: "It is damaged.",
    413: "The body is too large.",
    415: "The body is not sent as application/json.",
    422: "Something has another shape, or cannot be; `field` says what.",
    429: "Too many wrong tokens; try again in a minute.",
    503: "Nothing was stored; send it again after `Retry-After` seconds.",
}
_ALWAYS: Final = (401, 403, 429, 503)
_OF_BODIES: Final = (400, 413, 422)
_INFO: Final = {
    "title": "WinClaw",
    "version": __version__,
    "summary": "What keeps AI agents alive on this machine: report errors, read what holds, command.",
    "description": "Answers on 127.0.0.1 alone, to its exact Host and Origin. Errors are `application/problem+json` (RFC 9457).",
    "license": {"name": "MIT", "identifier": "MIT"},
}


def openapi_route(cookie: str, agents_may: Collection[str]) -> Blueprint:
    """The route of the description.

    Args:
        cookie: the name of the session's. agents_may: the endpoints that are for agents, too.
    """
    site = Blueprint("openapi", __name__, url_prefix=PREFIX)

    @cache
    def text(app: Flask) -> str:
        return json.dumps(description(app, cookie, agents_may))

    @site.get("/openapi.json")
    @operation("This description.", dict[str, Any])
    def openapi() -> Response:
        return Response(text(current_app._get_current_object()), content_type="application/json")  # type: ignore[attr-defined]

    return site


def description(app: Flask, cookie: str, agents_may: Collection[str]) -> dict[str, Any]:
    """The description of every route of ``app`` under ``/api/v1``; one that says nothing of itself stands there without answers.

    Args:
        As for ``openapi_route``.
    """
    rules = sorted((rule for rule in app.url_map.iter_rules() if rule.rule.startswith(f"{PREFIX}/")), key=lambda rule: rule.rule)
    told = [(rule, operation_of(app.view_functions[rule.endpoint])) for rule in rules]
    schemas = _Schemas(list(_types(one for _, one in told if one is not None)))
    paths: dict[str, dict[str, Any]] = {}
    for rule, one in told:
        by_method = paths.setdefault(_NAME.sub(r"{\2}", rule.rule), {})
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            by_method[method.lower()] = _operation(rule, method, one, schemas, agents_may)
    return {
        "openapi": "3.1.0",
        "info": _INFO,
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": {f"Problem{status}": _problem(what, schemas) for status, what in _PROBLEMS.items()},
            "securitySchemes": _security_schemes(cookie),
        },
    }


class _Schemas:
    """The schema of each type, in the order in which they were given, and the components that those refer to."""

    def __init__(self, types: list[Any]) -> None:
        # Once as JSON and back: the defaults that stand in it are Python's.
        found, components = json.loads(msgspec.json.encode(msgspec.json.schema_components(types, ref_template=_REF)))
        self._found = list(zip(types, found, strict=True))
        self.components: dict[str, Any] = dict(sorted(components.items()))
        for name in shapes.OPEN:
            self.components[name]["additionalProperties"] = True

    def of(self, wanted: Any) -> Any:
        """The schema of a type; of several, that it is one of them."""
        if isinstance(wanted, tuple):
            return {"oneOf": [self.of(one) for one in wanted]}
        return next(schema for one, schema in self._found if one is wanted)

    def parameters(self, query: Any) -> Iterator[dict[str, Any]]:
        """The parameters of a query; none of them has to be there."""
        _, components = msgspec.json.schema_components([query], ref_template=_REF)
        for name, schema in components[query.__name__]["properties"].items():
            said = {key: value for key, value in schema.items() if key != "anyOf" and value is not None}
            choices = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]  # null is what nobody has said
            yield {"name": name, "in": "query", "required": False, "schema": said | choices[0] if choices else said}


def _types(operations: Iterator[Operation]) -> Iterator[Any]:
    yield shapes.Trouble
    for one in operations:
        answers = one.answer if isinstance(one.answer, tuple) else (one.answer,)
        yield from (kind for kind in (*answers, one.body, *one.path.values()) if kind is not None)


def _operation(
    rule: Rule, method: str, told: Operation | None, schemas: _Schemas, agents_may: Collection[str]
) -> dict[str, Any]:
    for_agents = rule.endpoint in agents_may
    session: dict[str, list[str]] = {"session": []} if method == "GET" else {"session": [], "csrf": []}
    described = {
        "operationId": rule.endpoint.replace(".", "_"),
        "tags": [rule.rule.removeprefix(f"{PREFIX}/").partition("/")[0]],
        "security": [*([{"agent": []}] if for_agents else []), {"operator": []}, session],
    }
    if told is None:
        return {**described, "responses": {"default": {"description": "It is not described."}}}
    parameters = [_in_path(name, kind, told.path, schemas) for kind, name in _NAME.findall(rule.rule)]
    if told.query is not None:
        parameters += schemas.parameters(told.query)
    body = {}
    if told.body is not None:
        content = {"application/json": {"schema": schemas.of(told.body)}}
        body = {"requestBody": {"required": not told.is_body_optional, "content": content}}
    return {
        **described,
        "summary": told.summary,
        "description": f"For {'agents, ' if for_agents else ''}the operator and sessions.",
        **({"parameters": parameters} if parameters else {}),
        **body,
        "responses": {"200": _answer(told, schemas), **_responses(told, has_names="<" in rule.rule)},
    }


def _in_path(name: str, kind: str, types: Mapping[str, Any], schemas: _Schemas) -> dict[str, Any]:
    plain = {"type": "integer", "minimum": 0} if kind == "int" else {"type": "string", "minLength": 1}
    return {"name": name, "in": "path", "required": True, "schema": schemas.of(types[name]) if name in types else plain}


def _answer(told: Operation, schemas: _Schemas) -> dict[str, Any]:
    answers = told.answer if isinstance(told.answer, tuple) else (told.answer,)
    kinds = tuple(one for one in answers if one is not None)
    text = {"text/plain": {"schema": {"type": "string"}}} if None in answers else {}
    told_as_json = {"application/json": {"schema": schemas.of(kinds if len(kinds) > 1 else kinds[0])}} if kinds else {}
    return {"description": told.summary, "content": {**text, **told_as_json}}


def _responses(told: Operation, *, has_names: bool) -> dict[str, Any]:
    statuses = {*_ALWAYS, *told.problems}
    statuses |= {404} if has_names else set()
    statuses |= {422} if told.query is not None or told.path else set()
    statuses |= {*_OF_BODIES} if told.body is not None else set()
    return {str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in sorted(statuses)}


def _problem(what: str, schemas: _Schemas) -> dict[str, Any]:
    return {"description": what, "content": {"application/problem+json": {"schema": schemas.of(shapes.Trouble)}}}


def _security_schemes(cookie: str) -> dict[str, Any]:
    agents, operators = "`token` in endpoint.json: may report and read", "`operator_token` in operator.json: for the command line"
    browsers, pages = "A browser that came in by a link of `winclaw open`", "What a page's meta element `csrf-token` says"
    return {
        "agent": {"type": "http", "scheme": "bearer", "description": f"{agents}, never command."},
        "operator": {"type": "http", "scheme": "bearer", "description": f"{operators}."},
        "session": {"type": "apiKey", "in": "cookie", "name": cookie, "description": f"{browsers}."},
        "csrf": {"type": "apiKey", "in": "header", "name": "X-CSRF-Token", "description": f"{pages}."},
    }
