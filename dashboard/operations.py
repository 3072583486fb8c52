"""How a route under ``/api/v1`` says what it takes and gives: its requests are decoded by that, and ``openapi`` describes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from flask import Response, request

from dashboard.problems import Problem, decoded_json

T = TypeVar("T")
View = Callable[..., Response]
_ATTRIBUTE: Final = "__operation__"
_WHOLE: Final = re.compile(r"-?[0-9]+")


class Operation(NamedTuple):
    """What a route does.

    Attributes:
        summary: for people, a sentence. answer: the type of what it gives; None: text; several: one of them.
        query, body: the types of what it takes. path: the types of names in its path that are not just any text.
        problems: the statuses of problems that are its own.
        is_body_optional: whether no body at all will do.
    """

    summary: str
    answer: Any
    query: Any = None
    body: Any = None
    path: Mapping[str, Any] = {}
    problems: tuple[int, ...] = ()
    is_body_optional: bool = False


def operation(
    summary: str, answer: Any, *, query: type | None = None, body: Any = None, optional_body: type | None = None,
    path: Mapping[str, Any] | None = None, problems: tuple[int, ...] = (),
) -> Callable[[View], View]:
    """Describes a view, and has it called with what was sent: ``query`` and ``body``, each of its type.

    Args:
        optional_body: instead of ``body``, where nothing at all may be sent; it has a default for everything.
        Else as in ``Operation``. A view that decodes its body itself has a description in ``described``.

    The view raises Problem: 422, something in the query or in the body has another shape; 400, the body is no JSON.
    """
    told = Operation(summary, answer, query, body or optional_body, path or {}, problems, optional_body is not None)

    def describe(view: View) -> View:
        decode = msgspec.json.Decoder(told.body).decode if told.body is not None else None

        @wraps(view)
        def run(**names: Any) -> Response:
            if query is not None:
                names["query"] = query_of(query)
            if decode is not None:
                content = request.get_data(cache=False)
                names["body"] = decoded_json(decode, b"{}" if told.is_body_optional and not content else content)
            return view(**names)

        return described(told)(run)

    return describe


def described(told: Operation) -> Callable[[View], View]:
    """Describes a view that takes its request apart by itself."""

    def describe(view: View) -> View:
        setattr(view, _ATTRIBUTE, told)
        return view

    return describe


def operation_of(view: Callable[..., Any]) -> Operation | None:
    """What a view was described as; None: it was not."""
    return getattr(view, _ATTRIBUTE, None)


def query_of(kind: type[T]) -> T:
    """The current request's query; what is empty counts as not said unless it is a text, and so do names that ``kind``
    does not have.

    Raises:
        Problem: 422, with the parameter's name, and what it may be.
    """
    types = _parameters(kind)
    given = {name: text for name, text in request.args.items() if text or isinstance(types.get(name), msgspec.inspect.StrType)}
    for name, text in given.items():
        if isinstance(types.get(name), msgspec.inspect.IntType) and not _WHOLE.fullmatch(text):  # 1e9 would be taken for one
            raise _misfit(name, types[name], "")
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        name = where.rstrip("`")
        raise _misfit(name, types[name], what) from error


def _parameters(kind: type) -> dict[str, msgspec.inspect.Type]:
    known = msgspec.inspect.type_info(kind)
    assert isinstance(known, msgspec.inspect.StructType)
    return {one.encode_name: _plain(one.type) for one in known.fields}


def _misfit(name: str, may_be: msgspec.inspect.Type, what: str) -> Problem:
    """What is wrong with the parameter ``name``, in the words of what it may be."""
    match may_be:
        case msgspec.inspect.LiteralType(values=values):
            return Problem(422, f"No such {name}", f"It is one of {', '.join(map(str, values))}.", field=name)
        case msgspec.inspect.IntType(ge=None):
            return Problem(422, "Wrong number", f"{name} is a whole number.", field=name)
        case msgspec.inspect.IntType(ge=least, le=most):
            return Problem(422, "Wrong number", f"{name} is a whole number from {least} to {most}.", field=name)
        case _:
            return Problem(422, "Wrong query", f"{what}.", field=name)


def _plain(one: msgspec.inspect.Type) -> msgspec.inspect.Type:
    """A parameter's type without what is said about it, and without that it may be left away."""
    match one:
        case msgspec.inspect.Metadata(type=inner):
            return _plain(inner)
        case msgspec.inspect.UnionType(types=types):
            return _plain(next(inner for inner in types if not isinstance(inner, msgspec.inspect.NoneType)))
        case _:
            return one
