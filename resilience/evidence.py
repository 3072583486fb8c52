"""What an error shows by its structure: class names, status, errno, provider's code, causes. Never its message.

The same evidence is drawn from an exception of this process and from the report of another one, so that both are
judged by the same rules. Third-party exceptions are known by their names; none of their packages is imported.
"""

from __future__ import annotations

import builtins
import errno as errno_names
import functools
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

MAX_DEPTH: Final = 20
MAX_MEMBERS: Final = 50
_MAX_RETRY_AFTER_S: Final = 7 * 86400.0
# Codes of Windows that say more than the errno that Python translates them to.
_WINERRORS: Final = {
    32: "EBUSY", 33: "EBUSY", 39: "ENOSPC", 112: "ENOSPC", 1450: "ENOMEM", 1455: "ENOMEM", 1816: "EDQUOT",
    11001: "ENOTFOUND", 11002: "EAI_AGAIN",
}  # fmt: skip


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


def of_exception(error: BaseException, component: str = "", now: datetime | None = None, depth: int = 0) -> Evidence:
    """The evidence that ``error`` gives; an attribute that cannot be read is not there.

    Args:
        now: for a Retry-After that names a moment; the system's clock is not asked.
    """
    if type(error) is OSError or (type(error).__module__ == "builtins" and not isinstance(error, BaseExceptionGroup)):
        status = code = retry_after_s = None  # the short way for what is most frequent
    else:
        response = _get(error, "response")
        status = _status(error, response)
        code = _code(error, response)
        retry_after_s = _retry_after_s(error, response, now) if status is not None or response is not None else None
        if retry_after_s is None:
            retry_after_s = _seconds(_get(error, "retry_after_s"))
    cause, is_explicit = (None, True) if depth >= MAX_DEPTH else _cause(error)
    members = _members(error) if depth < 3 else ()
    return Evidence(
        names=names_of(type(error)),  # type: ignore[arg-type] # classes are hashable
        status=status,
        errno=_errno(error) if isinstance(error, OSError) else None,
        code=code,
        exit=_whole(_get(error, "returncode")),
        retry_after_s=retry_after_s,
        cause=None if cause is None else of_exception(cause, component, now, depth + 1),
        is_explicit=is_explicit,
        members=tuple(of_exception(member, component, now, depth + 1) for member in members),
        component=component,
    )


def of_report(report: Mapping[str, Any], component: str = "", depth: int = 0) -> Evidence:
    """The evidence in a report: its ``type``, its ``cause``, and what its ``metadata`` says of status, errno, code."""
    name = str(report.get("type", ""))
    said = report.get("metadata")
    facts: Mapping[str, Any] = said if isinstance(said, Mapping) else {}
    component = str(report.get("component") or component)
    cause = report.get("cause")
    original = facts.get("exception")
    names = _names_told(name) + (_names_told(original) if isinstance(original, str) else ())
    code = facts.get("code")
    errno = facts.get("errno")
    return Evidence(
        names=tuple(dict.fromkeys(names)),
        status=_whole(facts.get("status")),
        errno=errno if isinstance(errno, str) else name if name.isupper() and name.startswith("E") else None,
        code=code if isinstance(code, str) else name if name.isupper() else None,
        exit=_whole(facts.get("exit")),
        retry_after_s=_seconds(facts.get("retry_after_s")),
        cause=of_report(cause, component, depth + 1) if isinstance(cause, Mapping) and depth < MAX_DEPTH else None,
        component=component,
    )


def facts(error: BaseException, now: datetime | None = None) -> dict[str, Any]:
    """What a report's metadata says of ``error`` beside its type: status, retry_after_s, errno, code, exit."""
    try:
        found = of_exception(error, now=now, depth=MAX_DEPTH)
    except Exception:
        return {}
    said = {name: getattr(found, name) for name in ("status", "retry_after_s", "errno", "code", "exit")}
    return {name: value for name, value in said.items() if value is not None}


@functools.lru_cache(maxsize=2000)
def names_of(kind: type[BaseException]) -> tuple[str, ...]:
    """The class and those above it, each as ``package.module.Name`` and ``Name``, the most specific first."""
    found: dict[str, None] = {}
    for one in kind.__mro__:
        if one not in (object, BaseException, Exception):
            found[f"{one.__module__}.{one.__qualname__}"] = None
            found[one.__name__] = None
    return tuple(found)


def _names_told(name: str) -> tuple[str, ...]:
    """What a name alone tells: itself, bare, and for one of Python's own exceptions the classes above it."""
    bare = name.rpartition(".")[2]
    known = getattr(builtins, bare, None)
    above = names_of(known) if isinstance(known, type) and issubclass(known, BaseException) else ()
    return (name, bare, *above)


def _cause(error: BaseException) -> tuple[BaseException | None, bool]:
    if error.__cause__ is not None:
        return error.__cause__, True
    for name in ("reason", "os_error", "original_error"):  # urllib's, aiohttp's and others' own way
        inner = _get(error, name)
        if isinstance(inner, BaseException) and inner is not error:
            return inner, True
    if error.args and isinstance(error.args[0], BaseException):  # httpcore's and requests' way
        return error.args[0], True
    tries = _get(error, "errors")
    if isinstance(tries, (tuple, list)) and tries and isinstance(tries[-1], BaseException) and tries[-1] is not error:
        return tries[-1], True  # a retry that gave up: the last try tells
    if error.__context__ is not None and not error.__suppress_context__:
        return error.__context__, False
    return None, True


def _members(error: BaseException) -> tuple[BaseException, ...]:
    return error.exceptions[:MAX_MEMBERS] if isinstance(error, BaseExceptionGroup) else ()


def _status(error: object, response: object) -> int | None:
    for holder, name in ((error, "status_code"), (error, "status"), (response, "status_code"), (response, "status"), (error, "code")):
        status = _whole(_get(holder, name))
        if status is not None and 100 <= status <= 599:
            return status
    metadata = response.get("ResponseMetadata") if isinstance(response, Mapping) else None
    return _whole(metadata.get("HTTPStatusCode")) if isinstance(metadata, Mapping) else None


def _code(error: object, response: object) -> str | None:
    if isinstance(code := _get(error, "code"), str) and code:
        return code
    for name in ("sqlite_errorname", "reason"):  # SQLite's and TLS' own
        if isinstance(code := _get(error, name), str) and code.isupper():
            return code
    for body in (_get(error, "body"), response):
        if isinstance(body, Mapping):
            inner = body.get("error") or body.get("Error") or body
            if isinstance(inner, Mapping):
                for name in ("code", "type", "Code"):
                    if isinstance(code := inner.get(name), str) and code:
                        return code
    return None


def _retry_after_s(error: object, response: object, now: datetime | None) -> float | None:
    for holder in (error, response):
        headers = _get(holder, "headers")
        if headers is None:
            continue
        try:
            value = headers.get("Retry-After") or headers.get("retry-after")
        except Exception:
            continue
        if isinstance(value, str):
            return _seconds(value.strip()) if now is None or not value[:1].isalpha() else _until(value, now)
    return None


def _until(http_date: str, now: datetime) -> float | None:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 -- rarely needed, and slow to import

    try:
        moment = parsedate_to_datetime(http_date)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - now).total_seconds()), _MAX_RETRY_AFTER_S)


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return min(seconds, _MAX_RETRY_AFTER_S) if seconds >= 0 else None


def _errno(error: OSError) -> str | None:
    winerror = _get(error, "winerror")
    if isinstance(winerror, int) and winerror in _WINERRORS:
        return _WINERRORS[winerror]
    number = error.errno
    return errno_names.errorcode.get(number, "").removeprefix("WSA") or None if isinstance(number, int) else None


def signal_name(exit_status: int) -> str | None:
    """The signal that a negative exit status stands for, e.g. ``SIGKILL``."""
    try:
        return signal.Signals(-exit_status).name if exit_status < 0 else None
    except ValueError:
        return f"signal {-exit_status}"


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _get(holder: object, name: str) -> Any:
    if holder is None:
        return None
    try:
        return getattr(holder, name, None)
    except Exception:
        return None
