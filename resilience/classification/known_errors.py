"""The built-in rules of the classifier: which class of the taxonomy each known structure stands for (§2.3). Pure."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from itertools import pairwise
from typing import Final

from resilience import errors as e
from resilience.classification.evidence import Evidence

_Class = type[e.WinClawError]

_STATUSES: Final[Mapping[int, _Class]] = {
    400: e.ValidationError, 401: e.AuthenticationError, 402: e.PersistentError, 403: e.PermissionDeniedError,
    404: e.NotFoundError, 407: e.AuthenticationError, 408: e.ConnectionTimeoutError, 409: e.ResourceTransientError,
    410: e.NotFoundError, 413: e.InputValidationError, 422: e.SchemaValidationError, 423: e.ResourceTransientError,
    425: e.ServiceTransientError, 429: e.RateLimitError, 451: e.PermissionDeniedError, 500: e.InternalServerError,
    501: e.PersistentError, 502: e.BadGatewayError, 503: e.ServiceUnavailableError, 504: e.GatewayTimeoutError,
    505: e.PersistentError, 529: e.ServiceUnavailableError,
}  # fmt: skip


def class_of_status(status: int) -> _Class | None:
    """The class of an HTTP status; None for one that is no error."""
    if status < 400:
        return None
    return _STATUSES.get(status) or (e.ValidationError if status < 500 else e.ServiceTransientError)


def _by_name(table: Mapping[_Class, str]) -> Mapping[str, _Class]:
    return {name: one for one, names in table.items() for name in names.split()}


# The provider's or library's own code: of language models, AWS, SQLite, TLS (in Python's and in Node's words), Node, gRPC.
_CODES: Final = _by_name(
    {
        e.LLMContextWindowError: "context_length_exceeded string_above_max_length",
        e.LLMContentFilterError: "content_filter content_policy_violation",
        e.LLMError: "insufficient_quota billing_hard_limit_reached",
        e.InvalidCredentialsError: "invalid_api_key",
        e.AuthenticationError: "authentication_error UNAUTHENTICATED",
        e.TokenExpiredError: "token_expired ExpiredToken ExpiredTokenException",
        e.PermissionDeniedError: "permission_error AccessDenied AccessDeniedException PERMISSION_DENIED",
        e.RateLimitError: "rate_limit_exceeded rate_limit_error RESOURCE_EXHAUSTED",
        e.ThrottlingError: "Throttling ThrottlingException ThrottledException TooManyRequestsException RequestLimitExceeded "
        "RequestThrottled ProvisionedThroughputExceededException SlowDown",
        e.ServiceUnavailableError: "overloaded_error UNAVAILABLE",
        e.InternalServerError: "server_error INTERNAL",
        e.NotFoundError: "model_not_found SQLITE_CANTOPEN NOT_FOUND",
        e.ResourceTransientError: "SQLITE_BUSY SQLITE_LOCKED ABORTED",
        e.DiskSpaceError: "SQLITE_FULL",
        e.DiskFailureError: "SQLITE_CORRUPT SQLITE_NOTADB SQLITE_IOERR",
        e.MemoryPressureError: "SQLITE_NOMEM",
        e.OSPermissionError: "SQLITE_READONLY SQLITE_PERM SQLITE_AUTH",
        e.InputValidationError: "SQLITE_CONSTRAINT SQLITE_MISMATCH SQLITE_TOOBIG INVALID_ARGUMENT OUT_OF_RANGE",
        e.PersistentError: "SQLITE_ERROR FAILED_PRECONDITION UNIMPLEMENTED",
        e.TLSHandshakeError: "CERTIFICATE_VERIFY_FAILED CERT_HAS_EXPIRED DEPTH_ZERO_SELF_SIGNED_CERT SELF_SIGNED_CERT_IN_CHAIN "
        "UNABLE_TO_VERIFY_LEAF_SIGNATURE ERR_TLS_CERT_ALTNAME_INVALID",
        e.ConnectionTimeoutError: "UND_ERR_CONNECT_TIMEOUT UND_ERR_HEADERS_TIMEOUT UND_ERR_BODY_TIMEOUT DEADLINE_EXCEEDED",
        e.NetworkTransientError: "UND_ERR_SOCKET",
        e.MissingDependencyError: "MODULE_NOT_FOUND ERR_MODULE_NOT_FOUND",
    }
)
_WHY_BY_CODE: Final[Mapping[str, str]] = {
    "insufficient_quota": "the credit is used up; waiting does not bring it back",
    "billing_hard_limit_reached": "the spending limit is reached; waiting does not lift it",
}
_BAD_CERTIFICATES: Final = frozenset(code for code, one in _CODES.items() if one is e.TLSHandshakeError)
_ERRNOS: Final = _by_name(
    {
        e.NetworkTransientError: "ECONNREFUSED ECONNRESET ECONNABORTED EPIPE EHOSTUNREACH ENETUNREACH ENETDOWN "
        "ENETRESET EHOSTDOWN ENOTCONN ESHUTDOWN EADDRNOTAVAIL",
        e.ConnectionTimeoutError: "ETIMEDOUT ESOCKETTIMEDOUT",
        e.DNSResolutionError: "ENOTFOUND EAI_AGAIN",
        e.DiskSpaceError: "ENOSPC EDQUOT",
        e.DiskFailureError: "EIO",
        e.MemoryPressureError: "ENOMEM",
        e.ResourceExhaustedError: "EMFILE ENFILE ENOBUFS ENOLCK EUSERS",
        e.ResourceTransientError: "EAGAIN EWOULDBLOCK EBUSY EINTR EDEADLK ETXTBSY EADDRINUSE EINPROGRESS "
        "EALREADY",
        e.OSPermissionError: "EACCES EPERM EROFS",
        e.NotFoundError: "ENOENT ENOTDIR ENXIO ENODEV",
        e.ProcessError: "ESRCH ECHILD ENOEXEC",
        e.InputValidationError: "EINVAL EEXIST ENOTEMPTY EISDIR ENAMETOOLONG EFBIG ELOOP",
    }
)  # fmt: skip

# Exceptions by name, qualified where the bare one says too little; of an error's classes the most specific decides.
_NAMES: Final = _by_name(
    {
        e.NetworkTransientError: "ConnectionError APIConnectionError ChunkedEncodingError URLError NewConnectionError "
        "ProtocolError MaxRetryError httpx.TransportError httpcore.NetworkError ConnectError ReadError WriteError "
        "RemoteProtocolError RemoteDisconnected ClientConnectionError ClientPayloadError ClientConnectorError "
        "ClientOSError ServerDisconnectedError IncompleteRead BadStatusLine SMTPServerDisconnected SMTPConnectError "
        "botocore.exceptions.HTTPClientError",
        e.ConnectionTimeoutError: "TimeoutError TimeoutException APITimeoutError requests.exceptions.Timeout "
        "ConnectTimeout ReadTimeout WriteTimeout PoolTimeout ConnectTimeoutError ReadTimeoutError ServerTimeoutError",
        e.DNSResolutionError: "gaierror herror NameResolutionError ClientConnectorDNSError",
        e.TLSHandshakeError: "SSLError SSLCertVerificationError ClientSSLError ClientConnectorSSLError "
        "ClientConnectorCertificateError",
        e.InvalidCredentialsError: "SMTPAuthenticationError NoCredentialsError",
        e.OutputValidationError: "JSONDecodeError UnicodeError EOFError ContentTypeError DecodingError "
        "ContentDecodingError SyntaxError msgspec.DecodeError YAMLError",
        e.SchemaValidationError: "pydantic_core._pydantic_core.ValidationError pydantic.error_wrappers.ValidationError "
        "pydantic.ValidationError jsonschema.exceptions.ValidationError msgspec.ValidationError",
        e.InputValidationError: "ValueError FileExistsError IsADirectoryError InvalidURL UnsupportedProtocol "
        "sqlite3.IntegrityError sqlite3.DataError",
        e.InvalidConfigError: "configparser.Error TOMLDecodeError",
        e.DiskFailureError: "CheckpointDamagedError",
        e.MemoryPressureError: "MemoryError",
        e.OSPermissionError: "PermissionError",
        e.NotFoundError: "FileNotFoundError NotADirectoryError",
        e.ResourceTransientError: "BlockingIOError InterruptedError",
        e.ResourceExhaustedError: "asyncio.queues.QueueFull queue.Full",
        e.ProcessError: "SubprocessError CalledProcessError TimeoutExpired ChildProcessError ProcessLookupError "
        "BrokenExecutor",
        e.MissingDependencyError: "ModuleNotFoundError",
        e.DependencyError: "ImportError",
        e.PersistentError: "LookupError KeyError IndexError TypeError AttributeError NameError AssertionError "
        "ArithmeticError NotImplementedError RecursionError ReferenceError BufferError TooManyRedirects sqlite3.Error",
    }
)  # fmt: skip
_OWN_MISTAKES: Final = frozenset({e.PersistentError, e.InputValidationError})
_CANCELLED: Final = frozenset({"CancelledError", "KeyboardInterrupt", "SystemExit", "GeneratorExit"})
_LLM_PACKAGES: Final = ("openai.", "anthropic.", "litellm.", "ollama.", "mistralai.", "cohere.", "google.genai.")
AS_LLM: Final[Mapping[_Class, _Class]] = {
    e.ConnectionTimeoutError: e.LLMTimeoutError,
    e.RateLimitError: e.LLMRateLimitError,
    e.OutputValidationError: e.LLMOutputParseError,
    e.SchemaValidationError: e.LLMOutputParseError,
}
"""What an error means instead when the service is a language model."""


def diagnose(evidence: Evidence) -> tuple[_Class | None, str, Evidence]:
    """The class that the error shows itself, or that a cause of it shows more precisely.

    Returns:
        The class (None: nothing is known of it), why, and the link of the chain of causes that decided.
    """
    chosen, why = _by_itself(evidence)
    decided, how = evidence, "it was caused by"
    for above, link in pairwise(evidence.chain()):
        # A program's mistake stays one, whatever it tripped over; and nobody knows better than who says it outright.
        if chosen is e.PersistentError or (chosen is not None and _is_said_outright(decided)):
            break
        how = how if above.is_explicit else "it came up while handling"
        below, below_why = (None, "") if is_cancelled(link) else _by_itself(link)
        if below is not None and (chosen is None or (below is not chosen and issubclass(below, chosen))):
            chosen, why, decided = below, f"{how} {_short(link)}: {below_why}", link
    return chosen, why, decided


def is_cancelled(evidence: Evidence) -> bool:
    """Whether somebody wanted it to end: no failure."""
    return not _CANCELLED.isdisjoint(evidence.names)


def is_bad_certificate(evidence: Evidence) -> bool:
    """Whether the other side's certificate was refused: the one handshake that is not worth another try."""
    return any("SSLCertVerificationError" in link.names or link.code in _BAD_CERTIFICATES for link in evidence.chain())


def is_from_llm_package(evidence: Evidence) -> bool:
    """Whether the error is one of a language model's client library."""
    return any(name.startswith(_LLM_PACKAGES) for link in evidence.chain() for name in link.names)


def _is_said_outright(evidence: Evidence) -> bool:
    """Whether it was raised, or reported, as a class of the taxonomy: nobody knows better."""
    names = evidence.names
    return names[0] in e.TAXONOMY or names[0] in e.KINDS or any(name.startswith("resilience.errors.") for name in names)


def _by_itself(evidence: Evidence) -> tuple[_Class | None, str]:
    names = evidence.names
    for name in names:
        if name.startswith("resilience.errors.") and (own := e.TAXONOMY.get(name.removeprefix("resilience.errors."))):
            return own if own is not e.WinClawError else None, f"it was raised as {own.__name__}"
    if told := e.TAXONOMY.get(names[0]) or e.KINDS.get(names[0]):  # a bare name comes from a report
        return told, f"it was reported as {told.__name__}"
    code = evidence.code
    if code is not None:
        if (chosen := _CODES.get(code) or _CODES.get("_".join(code.split("_")[:2]))) is not None:
            more = f": {_WHY_BY_CODE[code]}" if code in _WHY_BY_CODE else ""
            return chosen, f"its code is {code}{more}"
        if (chosen := _ERRNOS.get(code)) is not None:
            return chosen, f"the system says {code}"
    if evidence.status is not None and (chosen := class_of_status(evidence.status)) is not None:
        return chosen, f"it has the HTTP status {evidence.status}"
    errno = evidence.errno
    if errno is not None and (chosen := _ERRNOS.get(errno)) is not None:
        return chosen, f"the system says {errno}"
    for name in names:
        if (chosen := _NAMES.get(name)) is not None:
            return chosen, _why_by_name(name, chosen, evidence)
    if errno is not None:
        return e.SystemCallError, f"the system says {errno}"
    if evidence.exit is not None:
        return e.ProcessError, f"a process ended with {_ending(evidence.exit)}"
    for name in names:
        if (own := e.TAXONOMY.get(name)) is not None:
            return own, f"its class is called {name}"
    return None, ""


def _why_by_name(name: str, chosen: _Class, evidence: Evidence) -> str:
    first = _short(evidence)
    why = f"its class is {first}" if f".{first}".endswith(f".{name}") else f"its class is {first}, below {name}"
    if evidence.exit is not None:
        why += f", and the process ended with {_ending(evidence.exit)}"
    return f"{why}; the same call would fail the same way" if chosen in _OWN_MISTAKES else why


def _short(evidence: Evidence) -> str:
    return evidence.names[0].removeprefix("builtins.")


def _ending(exit_status: int) -> str:
    """How a process ended: ``SIGKILL``, ``status 1``, or Windows' own number, ``status 0xC0000005``."""
    if exit_status >= 0:
        return f"status {exit_status}" if exit_status < 0x8000_0000 else f"status 0x{exit_status:X}"
    try:
        return signal.Signals(-exit_status).name
    except ValueError:
        return f"signal {-exit_status}"
