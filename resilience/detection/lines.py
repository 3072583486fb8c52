"""One line of a program's output: what it says of an error, if anything. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from resilience.events import Cause, SeverityName

_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]{0,50}[ -/]{0,10}[@-~]|\][^\x07\x1b]{0,500}(?:\x07|\x1b\\)?|[@-_])")
_CONTROLS: Final = dict.fromkeys([*range(9), *range(11, 32), 127])
_MOST_TEXT: Final = 2000

UNNAMED: Final = "LogError"
"""The type of an error whose line does not name one."""

# A name such as TypeError, openai.RateLimitError or java.lang.OutOfMemoryError.
ERROR_NAME: Final = (
    r"(?:[A-Za-z_$][\w$]{0,80}\.){0,8}[A-Z][\w$]{0,80}(?:Error|Exception|Interrupt|Exit|Warning|Fault|Failure|Timeout)"
)
_NAMED: Final = re.compile(
    rf"(?:^|[\s\]:>])(?:Uncaught |Unhandled |Caused by: )?({ERROR_NAME})(?: \[(\w{{1,60}})\])?(?::\s*(.*)|$)"
)
_JS_ERROR: Final = re.compile(r"^(?:Uncaught )?Error(?: \[(\w{1,60})\])?:\s*(.*)")
_WORDS: Final[Mapping[str, SeverityName]] = {
    "trace": "DEBUG", "debug": "DEBUG", "verbose": "DEBUG", "info": "INFO", "information": "INFO", "notice": "INFO",
    "success": "INFO", "warn": "WARNING", "warning": "WARNING", "error": "ERROR", "err": "ERROR", "severe": "ERROR",
    "critical": "CRITICAL", "crit": "CRITICAL", "alert": "CRITICAL", "fatal": "FATAL", "panic": "FATAL", "emerg": "FATAL",
    "emergency": "FATAL",
}  # fmt: skip
# A severity in capitals within the head of a line, in brackets, as level=…, or as its first word with a colon.
_MARK: Final = re.compile(
    r"\b(TRACE|DEBUG|VERBOSE|INFO|NOTICE|SUCCESS|WARN|WARNING|ERROR|SEVERE|CRITICAL|FATAL|PANIC|EMERG)\b(?!\s*[=:]\s*0\b)(?!_)"
    r"|[\[<(](trace|debug|info|notice|warn|warning|error|err|crit|critical|alert|fatal|emerg|Error|Warning|Info)[\])>]"
    r"|\b(?:level|lvl|severity)\s?[=:]\s?\"?(trace|debug|info|notice|warn|warning|error|err|critical|fatal|panic)\b"
    r"|^\s{0,3}(error|fatal|panic|warning|info|debug|Error|Fatal|Panic|Warning)(?: error)?(?:\[\w{1,20}\])?:"
)
_HEAD: Final = 120
_NUMBERS: Final[Mapping[int, SeverityName]] = {10: "DEBUG", 20: "DEBUG", 30: "INFO", 40: "WARNING", 50: "ERROR", 60: "FATAL"}
_SERIOUS: Final = frozenset({"ERROR", "CRITICAL", "FATAL"})


class Finding(Struct, frozen=True):
    """An error that was read, with facts such as its code or status; ``offset`` is where its first byte stood."""

    type: str
    message: str
    severity: SeverityName
    offset: int = 0
    stack: str = ""
    facts: Mapping[str, Any] = {}
    cause: Cause | None = None


def clean(line: bytes) -> str:
    """A line as text, without what only terminals understand, and nothing that a report cannot hold."""
    text = line.decode("utf-8", "replace")
    if "\x1b" in text:
        text = _ESCAPES.sub("", text)
    return text.rstrip("\r\n").translate(_CONTROLS)


def error_in(line: str) -> Finding | None:
    """What a line says of an error by itself; None if it tells of none, or only of a warning."""
    if (fields := _fields(line)) is not None:
        return _error_in_fields(fields, line)
    head = line[:_HEAD]
    mark = _MARK.search(head)
    if mark is None:
        return None
    word = next(part for part in mark.groups() if part).lower()
    severity = _WORDS[word]
    if severity not in _SERIOUS:
        return None
    message = line[mark.end() :].lstrip(" :]>)-|\t\"") or line
    named = named_error(message)
    if "heap out of memory" in message:
        return Finding("MemoryError", message[:_MOST_TEXT], "FATAL")
    if named is not None:
        return replace(named, message=named.message or message[:_MOST_TEXT], severity=severity)
    return Finding(UNNAMED, message[:_MOST_TEXT], severity)


def named_error(line: str) -> Finding | None:
    """What a line such as ``TypeError: x is not a function`` names; None if it names no error."""
    found = _JS_ERROR.match(line)
    if found is not None:
        return Finding("Error", found[2][:_MOST_TEXT], "ERROR", facts={"code": found[1]} if found[1] else {})
    found = _NAMED.search(line[:_MOST_TEXT])
    if found is None:
        return None
    return Finding(found[1][:200], (found[3] or "")[:_MOST_TEXT], "ERROR", facts={"code": found[2]} if found[2] else {})


def _fields(line: str) -> Mapping[str, Any] | None:
    """What a line of a structured log says; None if it is no such line."""
    if not (line.startswith("{") and line.rstrip().endswith("}")):
        return None
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):
        return None


def _error_in_fields(said: Mapping[str, Any], line: str) -> Finding | None:
    level = next((said[key] for key in ("level", "severity", "lvl", "levelname", "log.level", "@level") if key in said), None)
    if isinstance(level, (int, float)) and not isinstance(level, bool):
        severity = _NUMBERS.get(int(level) // 10 * 10)
    else:
        severity = _WORDS.get(str(level).lower())
    if severity is None or severity not in _SERIOUS:
        return None
    message = _text(said, "msg", "message", "event", "text") or line
    inner = next((said[key] for key in ("err", "error", "exception", "exc_info") if said.get(key)), None)
    error = inner if isinstance(inner, dict) else {}
    facts: dict[str, Any] = {}
    for name, key in (("code", "code"), ("errno", "errno"), ("status", "status"), ("status", "statusCode")):
        if isinstance(value := error.get(key, said.get(key)), (str, int)):
            facts[name] = value
    stack = _text(error, "stack", "stacktrace") or _text(said, "stack", "stack_trace", "traceback", "exc_info", "exception")
    text = inner.replace("\x00", "") if isinstance(inner, str) else ""
    if "\n" in text:
        stack, text = stack or text, ""
    named = named_error(text or ("" if "\n" in stack else stack))
    kind = _text(error, "type", "name") or _text(said, "error_type", "exc_type", "exception_class")
    kind = kind or (named.type if named else UNNAMED)
    why = _text(error, "message") or (named.message if named and text else "")
    full = f"{message}: {why}" if why and why not in message else message
    return Finding(kind[:200], full[:_MOST_TEXT], severity, stack=stack[:100_000], facts=facts)


def _text(said: Mapping[str, Any], *names: str) -> str:
    return next((value.replace("\x00", "") for name in names if isinstance(value := said.get(name), str) and value), "")
