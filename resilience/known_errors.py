"""The tables of the classifier: which class of the taxonomy each known structure stands for (§2.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from resilience import errors as e

Class = type[e.WinClawError]

STATUSES: Final[Mapping[int, Class]] = {
    400: e.ValidationError, 401: e.AuthenticationError, 402: e.PersistentError, 403: e.PermissionDeniedError,
    404: e.NotFoundError, 407: e.AuthenticationError, 408: e.ConnectionTimeoutError, 409: e.ResourceTransientError,
    410: e.NotFoundError, 413: e.InputValidationError, 422: e.SchemaValidationError, 423: e.ResourceTransientError,
    425: e.ServiceTransientError, 429: e.RateLimitError, 451: e.PermissionDeniedError, 500: e.InternalServerError,
    501: e.PersistentError, 502: e.BadGatewayError, 503: e.ServiceUnavailableError, 504: e.GatewayTimeoutError,
    505: e.PersistentError, 529: e.ServiceUnavailableError,
}  # fmt: skip


def class_of_status(status: int) -> Class | None:
    """The class of an HTTP status; None for one that is no error."""
    if status in STATUSES:
        return STATUSES[status]
    return e.ValidationError if 400 <= status < 500 else e.ServiceTransientError if status >= 500 else None


# The provider's or library's own code.
CODES: Final[Mapping[str, Class]] = {
    "context_length_exceeded": e.LLMContextWindowError,
    "string_above_max_length": e.LLMContextWindowError,
    "content_filter": e.LLMContentFilterError,
    "content_policy_violation": e.LLMContentFilterError,
    "insufficient_quota": e.LLMError,  # somebody has to pay; waiting does not help
    "billing_hard_limit_reached": e.LLMError,
    "invalid_api_key": e.InvalidCredentialsError,
    "authentication_error": e.AuthenticationError,
    "permission_error": e.PermissionDeniedError,
    "token_expired": e.TokenExpiredError,
    "ExpiredToken": e.TokenExpiredError,
    "ExpiredTokenException": e.TokenExpiredError,
    "AccessDenied": e.PermissionDeniedError,
    "AccessDeniedException": e.PermissionDeniedError,
    "rate_limit_exceeded": e.RateLimitError,
    "rate_limit_error": e.RateLimitError,
    "overloaded_error": e.ServiceUnavailableError,
    "server_error": e.InternalServerError,
    "model_not_found": e.NotFoundError,
    "Throttling": e.ThrottlingError,
    "ThrottlingException": e.ThrottlingError,
    "ThrottledException": e.ThrottlingError,
    "TooManyRequestsException": e.ThrottlingError,
    "RequestLimitExceeded": e.ThrottlingError,
    "RequestThrottled": e.ThrottlingError,
    "SlowDown": e.ThrottlingError,
    "SQLITE_BUSY": e.ResourceTransientError,
    "SQLITE_LOCKED": e.ResourceTransientError,
    "SQLITE_FULL": e.DiskSpaceError,
    "SQLITE_CORRUPT": e.DiskFailureError,
    "SQLITE_NOTADB": e.DiskFailureError,
    "SQLITE_IOERR": e.DiskFailureError,
    "SQLITE_NOMEM": e.MemoryPressureError,
    "SQLITE_READONLY": e.OSPermissionError,
    "SQLITE_PERM": e.OSPermissionError,
    "SQLITE_AUTH": e.OSPermissionError,
    "SQLITE_CANTOPEN": e.NotFoundError,
    "SQLITE_CONSTRAINT": e.InputValidationError,
    "SQLITE_MISMATCH": e.InputValidationError,
    "SQLITE_TOOBIG": e.InputValidationError,
    "SQLITE_ERROR": e.PersistentError,
    "CERTIFICATE_VERIFY_FAILED": e.TLSHandshakeError,
    "CERT_HAS_EXPIRED": e.TLSHandshakeError,
    "DEPTH_ZERO_SELF_SIGNED_CERT": e.TLSHandshakeError,
    "SELF_SIGNED_CERT_IN_CHAIN": e.TLSHandshakeError,
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE": e.TLSHandshakeError,
    "ERR_TLS_CERT_ALTNAME_INVALID": e.TLSHandshakeError,
}
BAD_CERTIFICATES: Final = frozenset(code for code, one in CODES.items() if one is e.TLSHandshakeError)
"""A certificate that is not accepted stays so until somebody mends it: the one handshake not worth repeating."""

ERRNOS: Final[Mapping[str, Class]] = {
    name: one
    for one, names in {
        e.NetworkTransientError: "ECONNREFUSED ECONNRESET ECONNABORTED EPIPE EHOSTUNREACH ENETUNREACH ENETDOWN ENETRESET "
        "EHOSTDOWN ENOTCONN ESHUTDOWN EADDRNOTAVAIL",
        e.ConnectionTimeoutError: "ETIMEDOUT ESOCKETTIMEDOUT",
        e.DNSResolutionError: "ENOTFOUND EAI_AGAIN",
        e.DiskSpaceError: "ENOSPC EDQUOT",
        e.DiskFailureError: "EIO",
        e.MemoryPressureError: "ENOMEM",
        e.ResourceExhaustedError: "EMFILE ENFILE ENOBUFS ENOLCK EUSERS",
        e.ResourceTransientError: "EAGAIN EBUSY EINTR EDEADLK ETXTBSY EADDRINUSE EINPROGRESS EALREADY",
        e.OSPermissionError: "EACCES EPERM EROFS",
        e.NotFoundError: "ENOENT ENOTDIR ENXIO ENODEV",
        e.ProcessError: "ESRCH ECHILD ENOEXEC",
        e.InputValidationError: "EINVAL EEXIST ENOTEMPTY EISDIR ENAMETOOLONG EFBIG ELOOP",
    }.items()
    for name in names.split()
}  # fmt: skip

_TIMEOUTS: Final = (
    "TimeoutError asyncio.exceptions.TimeoutError concurrent.futures._base.TimeoutError socket.timeout "
    "requests.exceptions.Timeout urllib3.exceptions.TimeoutError httpx.TimeoutException httpcore.TimeoutException "
    "aiohttp.client_exceptions.ServerTimeoutError openai.APITimeoutError anthropic.APITimeoutError APITimeoutError "
    "ConnectTimeout ReadTimeout WriteTimeout PoolTimeout ConnectTimeoutError ReadTimeoutError ServerTimeoutError"
)
_NETWORK: Final = (
    "ConnectionError requests.exceptions.ConnectionError requests.exceptions.ChunkedEncodingError urllib.error.URLError "
    "urllib3.exceptions.NewConnectionError urllib3.exceptions.ProtocolError urllib3.exceptions.MaxRetryError "
    "httpx.TransportError httpcore.NetworkError httpcore.ProtocolError aiohttp.client_exceptions.ClientConnectionError "
    "aiohttp.client_exceptions.ClientPayloadError http.client.IncompleteRead http.client.BadStatusLine "
    "openai.APIConnectionError anthropic.APIConnectionError APIConnectionError ConnectError ReadError WriteError "
    "NewConnectionError ProtocolError MaxRetryError RemoteProtocolError RemoteDisconnected ServerDisconnectedError "
    "ClientConnectorError ClientConnectionError ClientOSError URLError"
)
# Exceptions by name, qualified where a bare one would be ambiguous; the most specific class of an error decides.
NAMES: Final[Mapping[str, Class]] = {
    name: one
    for one, names in {
        e.NetworkTransientError: _NETWORK,
        e.ConnectionTimeoutError: _TIMEOUTS,
        e.DNSResolutionError: "NameResolutionError ClientConnectorDNSError gaierror herror urllib3.exceptions.NameResolutionError "
        "aiohttp.client_exceptions.ClientConnectorDNSError",
        e.TLSHandshakeError: "ssl.SSLError SSLError ClientConnectorSSLError SSLCertVerificationError requests.exceptions.SSLError urllib3.exceptions.SSLError "
        "aiohttp.client_exceptions.ClientSSLError aiohttp.client_exceptions.ClientConnectorSSLError",
        e.OutputValidationError: "JSONDecodeError UnicodeError EOFError aiohttp.client_exceptions.ContentTypeError "
        "httpx.DecodingError requests.exceptions.ContentDecodingError SyntaxError msgspec.DecodeError yaml.error.YAMLError",
        e.SchemaValidationError: "pydantic_core._pydantic_core.ValidationError pydantic.error_wrappers.ValidationError "
        "pydantic.ValidationError jsonschema.exceptions.ValidationError msgspec.ValidationError",
        e.InputValidationError: "ValueError TypeError FileExistsError IsADirectoryError requests.exceptions.InvalidURL "
        "requests.exceptions.MissingSchema requests.exceptions.InvalidSchema httpx.InvalidURL httpx.UnsupportedProtocol "
        "aiohttp.client_exceptions.InvalidURL sqlite3.IntegrityError sqlite3.DataError",
        e.InvalidConfigError: "configparser.Error tomllib.TOMLDecodeError",
        e.MemoryPressureError: "MemoryError",
        e.OSPermissionError: "PermissionError",
        e.NotFoundError: "FileNotFoundError NotADirectoryError",
        e.ResourceTransientError: "BlockingIOError InterruptedError",
        e.ResourceExhaustedError: "asyncio.queues.QueueFull queue.Full",
        e.ProcessError: "subprocess.SubprocessError ChildProcessError ProcessLookupError concurrent.futures._base.BrokenExecutor "
        "CalledProcessError TimeoutExpired",
        e.MissingDependencyError: "ModuleNotFoundError",
        e.DependencyError: "ImportError",
        e.PersistentError: "LookupError AttributeError NameError AssertionError NotImplementedError ArithmeticError "
        "RecursionError KeyError IndexError ReferenceError BufferError requests.exceptions.TooManyRedirects "
        "httpx.TooManyRedirects sqlite3.Error",
    }.items()
    for name in names.split()
}  # fmt: skip

OWN_MISTAKES: Final = frozenset({e.PersistentError, e.InputValidationError})
"""Classes under which a program's own mistakes fall: the same call would fail the same way."""

LLM_PACKAGES: Final = ("openai.", "anthropic.", "litellm.", "ollama.", "mistralai.", "cohere.", "google.genai.")
AS_LLM: Final[Mapping[Class, Class]] = {
    e.ConnectionTimeoutError: e.LLMTimeoutError,
    e.RateLimitError: e.LLMRateLimitError,
    e.OutputValidationError: e.LLMOutputParseError,
    e.SchemaValidationError: e.LLMOutputParseError,
}
"""What an error means instead when the service is a language model."""

NO_FAILURES: Final = frozenset({"asyncio.exceptions.CancelledError", "CancelledError", "KeyboardInterrupt", "SystemExit", "GeneratorExit"})
