"""What an error shows by its structure: class names, status, errno, provider's code, causes. Never its message.

The same evidence is drawn from an exception of this process and from the report of another one, so that both are
judged by the same rules. Third-party exceptions are known by their names; none of their packages is imported.
"""

from __future__ import annotations

import builtins
import errno as errno_names
import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

MAX_CAUSES: Final = 20
MAX_ERRORS: Final = 100
"""Errors that are read at most, causes and members of groups together."""
_MAX_RETRY_AFTER_S: Final = 7 * 86400.0
# Codes of Windows that say more than the errno that Python translates them to.
_WINERRORS: Final = {
    32: "EBUSY", 33: "EBUSY", 39: "ENOSPC", 112: "ENOSPC", 1450: "ENOMEM", 1455: "ENOMEM", 1816: "EDQUOT",
}  # fmt: skip
# OSErrors whose errno is a number of their own library, not the system's.
_FOREIGN_ERRNO: Final = frozenset({"ssl.SSLError", "socket.gaierror", "socket.herror"})


@dataclass(frozen=True, slots=True)
class Evidence:
    """The structure of one error.

    Attributes:
        names: its class and those above it, each qualified and bare, the most specific first.
        status: the HTTP status. errno: the system's error by name. code: the code of a provider, of SQLite or of TLS.
        exit: how a child process ended: its exit status, or the negative number of the signal.
        retry_after_s: how long the other side asked to be left alone.
        cause: what led to it; ``is_explicit`` tells ``raise … from`` from an error during handling.
        members: the errors in a group. component: where it happened, if known.
    """

    names: tuple[str, ...]
    status: int | None = None
    errno: str | None = None
    code: str | None = None
    exit: int | None = None
    retry_after_s: float | None = None
    cause: Evidence | None = None
    is_explicit: bool = True
    members: tuple[Evidence, ...] = ()
    component: str = ""

    def chain(self) -> Iterator[Evidence]:
        """The error, what led to it, what led to that …"""
        link: Evidence | None = self
        while link is not None:
            yield link
            link = link.cause


def of_exception(error: BaseException, component: str = "", now: datetime | None = None) -> Evidence:
    """The evidence that ``error`` gives; an attribute that cannot be read is not there.

    Args:
        now: for a Retry-After that names a moment; the system's clock is not asked.
    """
    return _read(error, component, now, set())


def _read(error: BaseException, component: str, now: datetime | None, seen: set[int]) -> Evidence:
    links: list[tuple[BaseException, bool]] = []
    following: BaseException | None = error
    while following is not None and id(following) not in seen and len(links) <= MAX_CAUSES and len(seen) < MAX_ERRORS:
        seen.add(id(following))
        cause, is_explicit = _cause(following)
        links.append((following, is_explicit))
        following = cause
    evidence: Evidence | None = None
    for link, is_explicit in reversed(links):
        evidence = _alone(link, component, now, evidence, is_explicit, _members(link, component, now, seen))
    return evidence or Evidence(_names_of(type(error).__mro__), component=component)


def _alone(
    error: BaseException, component: str, now: datetime | None,
    cause: Evidence | None = None, is_explicit: bool = True, members: tuple[Evidence, ...] = (),
) -> Evidence:  # fmt: skip
    names = _names_of(type(error).__mro__)
    errno = _errno(error, names) if isinstance(error, OSError) else None
    if type(error).__module__ == "builtins":  # Python's own have nothing more, and are the most frequent
        return Evidence(names, None, errno, None, None, None, cause, is_explicit, members, component)
    response = attribute(error, "response")
    status = _status(error, response)
    retry_after_s = _retry_after_s(error, response, now) if status is not None or response is not None else None
    if retry_after_s is None:
        retry_after_s = _seconds(attribute(error, "retry_after_s"))
    exit_status = _whole(attribute(error, "returncode"))
    code = _code(error, response, names)
    return Evidence(names, status, errno, code, exit_status, retry_after_s, cause, is_explicit, members, component)


def of_report(report: Mapping[str, Any], component: str = "", depth: int = 0) -> Evidence:
    """The evidence in a report: its ``type``, its ``cause``, and what its ``metadata`` says of status, errno, code."""
    name = str(report.get("type", ""))
    said = report.get("metadata")
    facts: Mapping[str, Any] = said if isinstance(said, Mapping) else {}
    component = str(report.get("component") or component)
    cause = report.get("cause")
    original = facts.get("exception")
    names = _names_told(name) + (_names_told(original) if isinstance(original, str) else ())
    code = _text(facts.get("code")) or (name if name.isupper() else None)
    errno = _text(facts.get("errno"))
    return Evidence(
        names=tuple(dict.fromkeys(names)),
        status=_as_status(facts.get("status")),
        errno=canonical_errno(errno) if errno else None,
        code=code,
        exit=_whole(facts.get("exit")),
        retry_after_s=_seconds(facts.get("retry_after_s")),
        cause=of_report(cause, component, depth + 1) if isinstance(cause, Mapping) and depth < MAX_CAUSES else None,
        component=component,
    )


def facts(error: BaseException, now: datetime | None = None) -> dict[str, Any]:
    """What a report's metadata says of ``error`` beside its type: status, retry_after_s, errno, code, exit."""
    try:
        found = _alone(error, "", now)
    except Exception:  # an error that cannot be looked at has no facts
        return {}
    said = {name: getattr(found, name) for name in ("status", "retry_after_s", "errno", "code", "exit")}
    return {name: value for name, value in said.items() if value is not None}


@functools.lru_cache(maxsize=2000)
def _names_of(classes: tuple[type, ...]) -> tuple[str, ...]:
    """An error's classes, each as ``package.module.Name`` and ``Name``, the most specific first."""
    found: dict[str, None] = {}
    for one in classes:
        if one is not object:
            found[f"{one.__module__}.{one.__qualname__}"] = None
            found[one.__name__] = None
    return tuple(found)


def _names_told(name: str) -> tuple[str, ...]:
    """What a name alone tells: itself, bare, and for one of Python's own exceptions the classes above it."""
    bare = name.rpartition(".")[2]
    known = getattr(builtins, bare, None)
    above = _names_of(known.__mro__) if isinstance(known, type) and issubclass(known, BaseException) else ()
    return (name, bare, *above)


def canonical_errno(name: str) -> str:
    """The one name of a system error that has several: ``WSAECONNRESET``, ``EWOULDBLOCK``."""
    bare = name.removeprefix("WSA")
    number = getattr(errno_names, bare, None)
    return errno_names.errorcode[number].removeprefix("WSA") if isinstance(number, int) else bare


def _cause(error: BaseException) -> tuple[BaseException | None, bool]:
    if error.__cause__ is not None:
        return error.__cause__, True
    if error.args and isinstance(error.args[0], BaseException):  # httpcore's and requests' way
        return error.args[0], True
    if type(error).__module__ != "builtins":
        for name in ("reason", "os_error", "original_error"):  # urllib's, aiohttp's and others' own way
            if isinstance(inner := attribute(error, name), BaseException):
                return inner, True
        tries = attribute(error, "errors")
        if isinstance(tries, (tuple, list)) and tries and isinstance(tries[-1], BaseException):
            return tries[-1], True  # a retry that gave up: the last try tells
    if error.__context__ is not None and not error.__suppress_context__:
        return error.__context__, False
    return None, True


def _members(error: BaseException, component: str, now: datetime | None, seen: set[int]) -> tuple[Evidence, ...]:
    if not isinstance(error, BaseExceptionGroup):
        return ()
    return tuple(_read(member, component, now, seen) for member in error.exceptions if len(seen) < MAX_ERRORS)


def _status(error: object, response: object) -> int | None:
    for holder, name in (
        (error, "status_code"), (error, "status"), (response, "status_code"), (response, "status"), (error, "code"),
    ):  # fmt: skip
        status = _as_status(attribute(holder, name))
        if status is not None:
            return status
    metadata = response.get("ResponseMetadata") if isinstance(response, Mapping) else None  # botocore
    return _as_status(metadata.get("HTTPStatusCode")) if isinstance(metadata, Mapping) else None


def _code(error: object, response: object, names: tuple[str, ...]) -> str | None:
    code = attribute(error, "code")
    if callable(code) and "grpc.RpcError" in names:
        code = attribute(code(), "name")
    if isinstance(code, str) and code:
        return code
    for name in ("sqlite_errorname", "reason"):  # SQLite's and TLS' own
        if isinstance(code := attribute(error, name), str) and code.isupper():
            return code
    for body in (attribute(error, "body"), response):
        if isinstance(body, Mapping):
            inner = body.get("error") or body.get("Error") or body
            if isinstance(inner, Mapping):
                for name in ("code", "type", "status", "Code"):
                    if isinstance(code := inner.get(name), str) and code:
                        return code
    return None


def _retry_after_s(error: object, response: object, now: datetime | None) -> float | None:
    for holder in (error, response):
        headers = attribute(holder, "headers")
        if headers is None:
            continue
        try:
            value = headers.get("Retry-After") or headers.get("retry-after")
        except Exception:  # noqa: S112 -- headers that cannot be read say nothing
            continue
        if isinstance(value, str):
            return _until(value, now) if now is not None and value[:1].isalpha() else _seconds(value)
    return None


def _until(http_date: str, now: datetime) -> float | None:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 -- rarely needed, and slow to import

    try:
        moment = parsedate_to_datetime(http_date)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return _seconds(max(0.0, (moment - now).total_seconds()))


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return min(seconds, _MAX_RETRY_AFTER_S) if 0 <= seconds < math.inf else None


def _errno(error: OSError, names: tuple[str, ...]) -> str | None:
    winerror = getattr(error, "winerror", None)
    if isinstance(winerror, int) and winerror in _WINERRORS:
        return _WINERRORS[winerror]
    number = error.errno
    if not isinstance(number, int) or not _FOREIGN_ERRNO.isdisjoint(names):
        return None
    return errno_names.errorcode.get(number, "").removeprefix("WSA") or None


def _as_status(value: object) -> int | None:
    status = _whole(value)
    return status if status is not None and 100 <= status <= 599 else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def attribute(holder: object, name: str) -> Any:
    """The attribute ``name`` of ``holder``; None where it is not there, or cannot be read."""
    if holder is None:
        return None
    try:
        return getattr(holder, name, None)
    except Exception:
        return None
