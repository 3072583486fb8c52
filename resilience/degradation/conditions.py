"""The language of the rules for the level (§10.2): read by a grammar, checked when it is read, never run as code.

``gpt-5.2.unhealthy`` · ``count_unhealthy([gmail_api, twilio_api]) >= 2`` · ``security.error_count > 10`` ·
``not (memory_system.healthy and level.age_s < 600)``
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import cache
from typing import Final, NoReturn

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedToken, v_args
from lark.exceptions import VisitError

from resilience.config.nearest import nearest
from resilience.degradation import condition_parts as parts
from resilience.degradation.condition_parts import CIRCUIT_STATES, PROPERTIES, Part
from resilience.degradation.health import BRANCHES, Circumstances

MAX_LENGTH: Final = 1000
_GRAMMAR: Final = r"""
    start: either
    ?either: both ("or" both)*
    ?both: one ("and" one)*
    ?one: "not" one -> negation
        | value COMPARED value -> comparison
        | value
    ?value: "(" either ")"
        | NUMBER -> number
        | NAME "(" "[" [name ("," name)*] "]" ")" -> count
        | name -> word
    name: NAME | QUOTED
    COMPARED: ">=" | "<=" | "==" | "!=" | ">" | "<"
    NUMBER: /\d+(\.\d+)?/
    NAME: /[A-Za-z_][\w-]*(\.[\w-]+)*/
    QUOTED: /'[^'\n]+'(\.\w+)?|"[^"\n]+"(\.\w+)?/
    %ignore /[ \t\r\n]+/
"""
_EXPECTED: Final = {
    "NAME": "a name", "NUMBER": "a number", "COMPARED": "a comparison such as >=", "LPAR": "(", "RPAR": ")", "LSQB": "[",
    "RSQB": "]", "COMMA": "a comma", "AND": "and", "OR": "or", "NOT": "not", "$END": "the end",
}  # fmt: skip
_INSTEAD: Final = {"&": "and", "|": "or", "!": "not", "=": "==", "≥": ">=", "≤": "<=", "≠": "!=", "{": "[", "}": "]"}


_AGE: Final = "level.age_s"


class ConditionError(ValueError):
    """A condition that cannot be understood.

    Attributes:
        column: where in its text, from 1. what: what is wrong, and how to mend it.
    """

    def __init__(self, column: int, what: str) -> None:
        super().__init__(f"column {column}: {what}")
        self.column, self.what = column, what


class Condition:
    """One condition, understood.

    Args:
        text: in the language above, at most 1,000 characters.
        services: the names that there are; None: any name will do.

    Raises:
        ConditionError: it cannot be understood, or names what there is not.
    """

    def __init__(self, text: str, services: Collection[str] | None = None) -> None:
        if len(text) > MAX_LENGTH:
            raise ConditionError(MAX_LENGTH + 1, f"a condition has at most {MAX_LENGTH} characters; make it two rules")
        self.text = text
        self._root = _read(text, services)
        self.names = frozenset(self._root.names)

    def __call__(self, circumstances: Circumstances) -> bool:
        """Whether it holds."""
        return bool(self._root.value(circumstances))

    def because(self, circumstances: Circumstances) -> str:
        """Why it holds, in words with the present values."""
        return self._root.said(circumstances)

    def unwell(self, circumstances: Circumstances) -> frozenset[str]:
        """The services it names that are not healthy."""
        return frozenset(name for name in self.names if not circumstances.of(name).is_healthy)


# Reading.


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", maybe_placeholders=False)


def _read(text: str, services: Collection[str] | None) -> Part:
    try:
        return _Understood(services).transform(_parser().parse(text))
    except UnexpectedToken as wrong:
        ended = wrong.token.type == "$END"
        expected = sorted({_EXPECTED[name] for name in wrong.expected if name in _EXPECTED})
        found = "it ends too early" if ended else f"{str(wrong.token)!r} cannot stand here"
        if str(wrong.token).lower() in ("and", "or", "not"):
            found = f"{found}; write it small: {str(wrong.token).lower()}"
        raise ConditionError(len(text) + 1 if ended else wrong.column, f"{found}; possible: {', '.join(expected)}") from None
    except UnexpectedCharacters as wrong:
        instead = _INSTEAD.get(wrong.char)
        hint = f"; write {instead!r}" if instead else "; a name with other characters than A-Z, 0-9, _ - . needs quotes"
        raise ConditionError(wrong.column, f"{wrong.char!r} is not understood{hint}") from None
    except VisitError as wrong:
        raise wrong.orig_exc from None
    except RecursionError:
        raise ConditionError(1, "it nests too deep; make it two rules") from None


def _truth(part: Part) -> Part:
    """``part``, which must be true or false by itself."""
    if part.kind == "number":
        raise ConditionError(part.column, "that is a number; compare it, for example with: > 10")
    if part.kind == "state":
        raise ConditionError(part.column, f"that is the state of a circuit; compare it with: == {CIRCUIT_STATES[1]}")
    return part


@v_args(inline=True)
class _Understood(Transformer[Token, Part]):
    def __init__(self, services: Collection[str] | None) -> None:
        super().__init__()
        self._services = services

    def start(self, whole: Part) -> Part:
        return _truth(whole)

    def name(self, token: Token) -> Token:
        return token

    def number(self, token: Token) -> Part:
        return _at(token, parts.number(float(token)))

    def word(self, token: Token) -> Part:
        return _at(token, self._word(token))

    def count(self, function: Token, *names: Token) -> Part:
        if function != "count_unhealthy":
            _refuse(function, f"there is no {str(function)!r}; there is count_unhealthy([service, service])")
        if not names:
            _refuse(function, "count_unhealthy counts services; name them: count_unhealthy([gmail_api, twilio_api])")
        return _at(function, parts.count_unhealthy(tuple(self._service(name, _unquoted(name)) for name in names)))

    def comparison(self, left: Part, sign: Token, right: Part) -> Part:
        for side in (left, right):
            if side.kind == "truth":
                raise ConditionError(side.column, "that is true or false by itself; do not compare it")
        if left.kind != right.kind:
            raise ConditionError(right.column, f"a {left.kind} cannot be compared with a {right.kind}")
        if left.kind == "state" and sign not in ("==", "!="):
            _refuse(sign, "a circuit's state is compared with == or !=")
        return replace(parts.compared(left, str(sign), right), column=left.column)

    def negation(self, part: Part) -> Part:
        return replace(parts.negation(_truth(part)), column=part.column)

    def both(self, *joined: Part) -> Part:
        return replace(parts.several("and", tuple(map(_truth, joined))), column=joined[0].column)

    def either(self, *joined: Part) -> Part:
        return replace(parts.several("or", tuple(map(_truth, joined))), column=joined[0].column)

    def _word(self, token: Token) -> Part:
        if token in CIRCUIT_STATES:
            return parts.circuit_state(str(token))
        if token == _AGE:
            return parts.level_age()
        name, dot, asked = _split(token)
        if self._services is not None and _unquoted(token) in self._services:
            _refuse(token, f"say what of it is meant: {token}.unhealthy, for example")
        if not dot:
            near = nearest(str(token), (*CIRCUIT_STATES, *PROPERTIES))
            _refuse(token, f"{str(token)!r} is not understood{near}; a service is asked as NAME.unhealthy")
        if asked not in PROPERTIES:
            offset = len(token) - len(asked)
            near = nearest(asked, PROPERTIES) or f"; there are {', '.join(PROPERTIES)}"
            raise ConditionError(_column(token) + offset, f"{asked!r} cannot be asked{near}")
        service = self._service(token, name)
        if service in BRANCHES and service not in (self._services or ()) and asked != "error_count":
            _refuse(token, f"{service} is a branch of errors; its error_count can be asked, nothing else")
        return parts.asked(service, PROPERTIES[asked])

    def _service(self, token: Token, name: str) -> str:
        if self._services is not None and name not in self._services and name not in BRANCHES:
            near = nearest(name, self._services) or "; add it under services:, if your agents call it"
            _refuse(token, f"there is no service {name!r}{near}")
        return name


def _at(token: Token, part: Part) -> Part:
    return replace(part, column=_column(token))


def _split(token: Token) -> tuple[str, str, str]:
    name, dot, asked = str(token).rpartition(".")
    return (_unquoted(name), dot, asked) if dot and not asked.endswith(("'", '"')) else (str(token), "", "")


def _unquoted(text: str) -> str:
    return text[1:-1] if text[:1] in ("'", '"') and text[-1:] == text[:1] else str(text)


def _column(token: Token) -> int:
    return token.column or 1


def _refuse(token: Token, what: str) -> NoReturn:
    raise ConditionError(_column(token), what)
