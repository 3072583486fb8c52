"""One plain value of a configuration file: what it is, or why it cannot be that.

YAML 1.1 reads more into a plain word than people mean (``12:30`` is 750, ``010`` is 8), so a number must look like one.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import Enum
from typing import Final

import yaml
from msgspec import inspect

from resilience.config.nearest import nearest
from resilience.config.options import secret_places
from resilience.degradation.levels import FEATURES, DegradationLevel
from resilience.errors import TAXONOMY
from resilience.redaction import REDACTED, Redactor

_WHOLE: Final = re.compile(r"[-+]?(?:0|[1-9](?:_?[0-9])*)")
_NUMBER: Final = re.compile(r"[-+]?(?:(?:0|[1-9](?:_?[0-9])*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_UNFIT: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_PASSWORD: Final = re.compile(r"://[^/?#\s:]*:(?!\d+/)[^?#\s]*@")
_LOOKS: Final = {
    "system error": (re.compile(r"E[A-Z0-9]+"), "the name of a system error, e.g. ECONNREFUSED"),
    "email address": (re.compile(r"[^@\s,;<>]+@[^@\s,;<>]+"), "an email address, e.g. you@example.com"),
    "phone number": (re.compile(r"\+[1-9][0-9]{6,14}"), 'a phone number with its country, e.g. "+1234567890"'),
    "span of hours": (
        re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]-(?:[01][0-9]|2[0-3]):[0-5][0-9]"),
        "two times of day from 00:00 to 23:59, e.g. 22:00-07:00",
    ),
    "reference": (
        re.compile(r"(?:env|keyring):[A-Za-z_][\w.-]*"),
        "env:NAME or keyring:NAME; put what it names into an environment variable or the system's key store",
    ),
    "address": (
        re.compile(r"(?:env|keyring):[A-Za-z_][\w.-]*|(?!env:|keyring:)[A-Za-z][A-Za-z0-9+.-]*://\S+"),
        "an address such as https://example.com/hook or mailto://127.0.0.1, or env:NAME, or keyring:NAME",
    ),
}
_TAKEN_FOR: Final = {"bool": "true or false", "int": "a number", "float": "a number", "timestamp": "a date"}


class NotAllowedError(Exception):
    """A value is refused; the message says what was seen and what is allowed."""


def read(node: yaml.Node, kind: inspect.Type) -> str | float | bool | Enum:
    """The value of ``node``, which must be of ``kind`` and within its limits.

    Raises:
        NotAllowedError: it is not.
    """
    match kind:
        case inspect.BoolType():
            return _switch(node)
        case inspect.IntType() | inspect.FloatType():
            return _number(node, kind)
        case inspect.LiteralType():
            return _choice(node, [str(one) for one in kind.values])
        case inspect.EnumType():
            return kind.cls(_choice(node, sorted(str(one.value) for one in kind.cls)))
        case inspect.StrType():
            return _text(node, kind)
        case _:
            raise TypeError(f"no file can give a {kind}")


def check_name(node: yaml.Node, text: str, names: str) -> None:
    """Checks that ``text`` names what it must: ``names`` is a kind of thing that exists, or of address.

    Raises:
        NotAllowedError: it does not, or it holds a secret.
    """
    if names in _LOOKS:
        if names == "address" and (_PASSWORD.search(text) or Redactor().text(text) != text):
            raise NotAllowedError(
                "holds a secret; put the address into an environment variable or the system's key store, "
                "and write env:NAME or keyring:NAME here"
            )
        pattern, allowed = _LOOKS[names]
        if not pattern.fullmatch(text):
            instead = "" if names in ("address", "reference") else f", not {shown(node)}"  # it may be a secret itself
            raise NotAllowedError(f"must be {allowed}{instead}")
        return
    known = {"error class": TAXONOMY, "feature flag": FEATURES[DegradationLevel.FULL]}[names]
    if text not in known:
        hint = nearest(text, known) or f"; there are {listed(known)}"
        raise NotAllowedError(f"must be the name of an existing {names}, not {shown(node)}{hint}")


def tag(node: yaml.Node) -> str:
    """What YAML takes ``node`` for: ``str``, ``int``, ``null``, ``map`` …; ``!!name`` where it cannot be that."""
    name = str(node.tag).removeprefix("tag:yaml.org,2002:")
    fits = (name in ("map", "seq")) != isinstance(node, yaml.ScalarNode)
    return name if fits else f"!!{name}"


def word(node: yaml.Node) -> str:
    """What stands there, fit to be shown: without secrets and control characters, cut at 60."""
    if not isinstance(node, yaml.ScalarNode):
        return "a list" if isinstance(node, yaml.SequenceNode) else "a section"
    return _fit(node.value)


def _fit(text: str) -> str:
    redactor, text = Redactor(), text[:1000]
    if places := secret_places(words := text.split(), redactor.is_secret):  # a command line, where it ought to be a list
        text = " ".join([*words[: min(places)], REDACTED])
    found = redactor.text(text)
    return found if len(found) <= 60 else f"{found[:59]}…"


def shown(node: yaml.Node) -> str:
    """The same, with texts in quotes."""
    match tag(node):
        case "null":
            return "empty (leave it out for the default)"
        case "str":
            return repr(word(node))
        case known if known in ("bool", "int", "float", "map", "seq"):
            return word(node)
        case foreign:
            what = "a value" if isinstance(node, yaml.ScalarNode) else word(node)
            return f"{what} (with the tag {_fit(foreign)})"


def listed(known: Collection[str]) -> str:
    """The first fifteen of ``known``, in order, and how many more there are."""
    more = f" and {len(known) - 15} more" if len(known) > 15 else ""
    return ", ".join(sorted(known)[:15]) + more


def _switch(node: yaml.Node) -> bool:
    words = yaml.SafeLoader.bool_values
    if tag(node) == "bool" and node.value.lower() in words:
        return words[node.value.lower()]
    raise NotAllowedError(f"must be true or false, not {shown(node)}")


def _number(node: yaml.Node, kind: inspect.IntType | inspect.FloatType) -> float:
    whole = isinstance(kind, inspect.IntType)
    hint = ""
    if isinstance(node, yaml.ScalarNode) and tag(node) in ("int", "float", "str"):
        looks_right = (_WHOLE if whole else _NUMBER).fullmatch(node.value) is not None
        if looks_right and node.style is None:
            number = int(node.value.replace("_", "")[:30]) if whole else float(node.value)
            if _within(number, kind):
                return number
        elif looks_right:
            hint = "; write it without quotes"
        elif tag(node) == "int":
            hint = "; write it in plain decimal digits, without zeros in front"
    raise NotAllowedError(f"must be a {'whole ' if whole else ''}number {_limits(kind)}, not {shown(node)}{hint}")


def _within(number: float, kind: inspect.IntType | inspect.FloatType) -> bool:
    return not (
        (kind.ge is not None and number < kind.ge)
        or (kind.gt is not None and number <= kind.gt)
        or (kind.le is not None and number > kind.le)
    )


def _limits(kind: inspect.IntType | inspect.FloatType) -> str:
    return f"from {kind.ge} to {kind.le}" if kind.ge is not None else f"above {kind.gt} and up to {kind.le}"


def _choice(node: yaml.Node, allowed: list[str]) -> str:
    if tag(node) == "str" and node.value in allowed:
        return str(node.value)
    raise NotAllowedError(f"must be one of {', '.join(allowed)}, not {shown(node)}{nearest(word(node), allowed)}")


def _text(node: yaml.Node, kind: inspect.StrType) -> str:
    if (meant := _TAKEN_FOR.get(tag(node))) is not None:  # which is not shown: it may be a password of digits
        raise NotAllowedError(f"must be a text, and YAML takes it for {meant}; put it in quotes")
    if tag(node) != "str":
        raise NotAllowedError(f"must be a text, not {shown(node)}")
    text = str(node.value)
    if _UNFIT.search(text):
        raise NotAllowedError("holds an invisible character that has no place in a setting; type it anew")
    shortest, longest = kind.min_length or 0, kind.max_length or 10_000
    if not shortest <= len(text) <= longest:
        raise NotAllowedError(f"must be a text of {shortest} to {longest} characters, not of {len(text)}")
    if kind.pattern is not None and not re.search(kind.pattern, text):
        raise NotAllowedError(f"must be made of letters, digits, '.', '_' and '-', not {shown(node)}")
    return text
