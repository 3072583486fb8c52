"""Real errors of real libraries, provoked on this machine alone, and what they are taken for."""

from __future__ import annotations

import asyncio
import concurrent.futures
import configparser
import errno
import importlib
import json
import os
import queue
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import openai
import pytest
import requests

from resilience.classification.classifier import ErrorClassifier
from resilience.context import ErrorContext, ErrorSeverity, RecoveryStrategy

FAST_S = 0.2


def classified(provoke: Callable[[], object], component: str = "somewhere") -> ErrorContext:
    """What the error that ``provoke`` raises is taken for."""
    with pytest.raises(Exception) as failure:  # noqa: PT011 -- which one is the question
        provoke()
    return ErrorClassifier().classify(failure.value, {"component": component})


def refused_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as once:
        once.bind(("127.0.0.1", 0))
        return int(once.getsockname()[1])


def by_urllib(url: str) -> None:
    try:
        with urllib.request.urlopen(url, timeout=FAST_S) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        error.close()  # it is the answer, too, and holds the connection
        raise


def by_requests(url: str) -> None:
    requests.get(url, timeout=FAST_S).raise_for_status()


def by_httpx(url: str) -> None:
    httpx.get(url, timeout=FAST_S).raise_for_status()


def by_aiohttp(url: str) -> None:
    async def get() -> None:
        timeout = aiohttp.ClientTimeout(total=FAST_S)
        async with aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session:
            await session.get(url)

    asyncio.run(get())


def by_openai(url: str) -> None:
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=FAST_S) as client:
        client.models.list()


CLIENTS = [by_urllib, by_requests, by_httpx, by_aiohttp]
EVERY_CLIENT = [*CLIENTS, by_openai]


class Peer(BaseHTTPRequestHandler):
    """Answers ``/429`` with that status, ``/slow`` never, ``/code/NAME`` as a language model's provider does."""

    def do_GET(self) -> None:
        what = self.path.strip("/").removesuffix("/models").split("/")
        if what[0] == "slow":
            self.server.released.wait(10)  # type: ignore[attr-defined]
            return
        body = json.dumps({"error": {"code": what[-1], "type": "x", "message": "no"}} if what[0] == "code" else {}).encode()
        self.send_response({"code": 400}.get(what[0]) or int(what[0]))
        if what[0] in ("429", "503"):
            self.send_header("Retry-After", "20")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- its base's name
        pass


@pytest.fixture(scope="module")
def peer() -> Iterator[str]:
    """The URL of a real HTTP server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Peer) as server:
        server.released = threading.Event()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.released.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def untrusted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real HTTPS server whose certificate nobody has signed."""
    folder = tmp_path_factory.mktemp("certificate")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    openssl = shutil.which("openssl")
    assert openssl, "these tests make a certificate with the openssl command; install it"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class Secured(ThreadingHTTPServer):
        def finish_request(self, request: Any, client_address: Any) -> None:
            try:  # in the connection's own thread, which a refusing client ends
                with context.wrap_socket(request, server_side=True) as secured:
                    Peer(secured, client_address, self)
            except OSError:
                pass

    with Secured(("127.0.0.1", 0), Peer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


# The network.


@pytest.mark.parametrize("get", EVERY_CLIENT)
def test_a_refused_connection_is_transient_by_whatever_client(get: Callable[[str], None]) -> None:
    found = classified(lambda: get(f"http://127.0.0.1:{refused_port()}"))
    assert (found.error_type, found.is_transient) == ("NetworkTransientError", True)
    assert found.recovery_strategy is RecoveryStrategy.RETRY_WITH_BACKOFF
    assert found.severity is ErrorSeverity.WARNING


def test_a_refused_connection_of_a_plain_socket_says_why() -> None:
    found = classified(lambda: socket.create_connection(("127.0.0.1", refused_port())))
    assert (found.error_type, found.reason) == ("NetworkTransientError", "the system says ECONNREFUSED")


@pytest.mark.parametrize("get", CLIENTS)
def test_a_silent_server_is_a_timeout_by_whatever_client(get: Callable[[str], None], peer: str) -> None:
    assert classified(lambda: get(f"{peer}/slow")).error_type == "ConnectionTimeoutError"


def test_a_silent_language_model_is_a_timeout_of_its_own(peer: str) -> None:
    assert classified(lambda: by_openai(f"{peer}/slow")).error_type == "LLMTimeoutError"
    assert classified(lambda: by_httpx(f"{peer}/slow"), "ollama").error_type == "LLMTimeoutError"


def test_a_name_without_address_is_dns() -> None:
    """Asked in a way that never leaves this machine."""
    found = classified(lambda: socket.getaddrinfo("not-a-number", 80, flags=socket.AI_NUMERICHOST))
    assert (found.error_type, found.is_transient) == ("DNSResolutionError", True)


def test_dns_is_seen_through_a_client_that_wraps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    for get in (by_urllib, by_requests, by_httpx):
        assert classified(lambda get=get: get("http://nowhere.invalid")).error_type == "DNSResolutionError"  # type: ignore[misc]


@pytest.mark.parametrize(
    "error", [ConnectionResetError(), ConnectionAbortedError(), BrokenPipeError(), ConnectionError()], ids=repr
)
def test_a_lost_connection_is_transient(error: Exception) -> None:
    assert ErrorClassifier().classify(error).error_type == "NetworkTransientError"


@pytest.mark.parametrize("get", EVERY_CLIENT)
def test_a_refused_certificate_is_not_worth_another_try(get: Callable[[str], None], untrusted: str) -> None:
    found = classified(lambda: get(f"{untrusted}/200"))
    assert (found.error_type, found.is_transient) == ("TLSHandshakeError", False)
    assert found.recovery_strategy is RecoveryStrategy.ESCALATE_TO_HUMAN
    assert found.reason.endswith("a certificate that is refused stays so until it is mended")


@pytest.mark.parametrize("get", EVERY_CLIENT)
def test_a_failed_handshake_is_worth_another_try(get: Callable[[str], None], peer: str) -> None:
    """A server in the middle of a restart, or a proxy, may answer in plain text."""
    found = classified(lambda: get(peer.replace("http:", "https:")))
    assert (found.error_type, found.is_transient) == ("TLSHandshakeError", True)


# HTTP.


@pytest.mark.parametrize("get", CLIENTS)
@pytest.mark.parametrize(
    ("status", "expected", "is_transient"),
    [
        (400, "ValidationError", False),
        (401, "AuthenticationError", False),
        (403, "PermissionDeniedError", False),
        (404, "NotFoundError", False),
        (408, "ConnectionTimeoutError", True),
        (409, "ResourceTransientError", True),
        (413, "InputValidationError", False),
        (418, "ValidationError", False),
        (422, "SchemaValidationError", False),
        (425, "ServiceTransientError", True),
        (429, "RateLimitError", True),
        (500, "InternalServerError", True),
        (502, "BadGatewayError", True),
        (503, "ServiceUnavailableError", True),
        (504, "GatewayTimeoutError", True),
        (599, "ServiceTransientError", True),
    ],
)
def test_one_table_turns_a_status_into_a_class(
    get: Callable[[str], None], status: int, expected: str, is_transient: bool, peer: str
) -> None:
    """503 on ``error.response`` had the right type and was "not transient"; 403 differed by the road it came."""
    found = classified(lambda: get(f"{peer}/{status}"))
    assert (found.error_type, found.is_transient) == (expected, is_transient)
    assert found.reason == f"it has the HTTP status {status}"


@pytest.mark.parametrize("get", EVERY_CLIENT)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_heard_by_whatever_client(get: Callable[[str], None], status: int, peer: str) -> None:
    assert classified(lambda: get(f"{peer}/{status}")).retry_after_s == 20.0


def test_too_many_requests_have_their_own_class_at_a_language_model(peer: str) -> None:
    assert classified(lambda: by_httpx(f"{peer}/429")).error_type == "RateLimitError"
    assert classified(lambda: by_httpx(f"{peer}/429"), "gpt-5.2").error_type == "LLMRateLimitError"
    assert classified(lambda: by_openai(f"{peer}/429")).error_type == "LLMRateLimitError"


# Codes of providers.


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("context_length_exceeded", "LLMContextWindowError"),
        ("content_filter", "LLMContentFilterError"),
        ("content_policy_violation", "LLMContentFilterError"),
        ("invalid_api_key", "InvalidCredentialsError"),
        ("rate_limit_exceeded", "LLMRateLimitError"),
        ("insufficient_quota", "LLMError"),
        ("something_new", "ValidationError"),  # then the status decides
    ],
)
def test_a_providers_code_says_more_than_the_status(code: str, expected: str, peer: str) -> None:
    assert classified(lambda: by_openai(f"{peer}/code/{code}")).error_type == expected


def test_used_up_credit_is_not_waited_for(peer: str) -> None:
    found = classified(lambda: by_openai(f"{peer}/code/insufficient_quota"))
    assert (found.is_transient, found.recovery_strategy) == (False, RecoveryStrategy.ESCALATE_TO_HUMAN)
    assert "waiting does not bring it back" in found.reason


@pytest.mark.parametrize("code", ["Throttling", "ThrottlingException", "SlowDown"])
def test_throttling_is_what_the_provider_calls_so(code: str) -> None:
    """In the shape of botocore's ``ClientError``."""
    error = type("ClientError", (Exception,), {"response": {"Error": {"Code": code}}})()
    assert ErrorClassifier().classify(error).error_type == "ThrottlingError"


# Databases.


def test_a_locked_database_is_waited_for(tmp_path: Path) -> None:
    one, other = (sqlite3.connect(tmp_path / "a.db", isolation_level=None, timeout=0) for _ in range(2))
    with closing(one), closing(other):
        one.execute("begin exclusive")
        found = classified(lambda: other.execute("create table t (a)"))
    assert (found.error_type, found.is_transient) == ("ResourceTransientError", True)


def test_a_damaged_database_is_a_failure_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"no database, but long enough to be one" * 100)
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        found = classified(lambda: connection.execute("select * from sqlite_master"))
    assert (found.error_type, found.severity) == ("DiskFailureError", ErrorSeverity.CRITICAL)


def test_a_full_database_is_a_lack_of_space() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("pragma max_page_count = 1")
        found = classified(lambda: connection.execute("create table t (a)"))
    assert (found.error_type, found.recovery_strategy) == ("DiskSpaceError", RecoveryStrategy.HEAL_THEN_RETRY)


def test_what_a_table_forbids_is_a_validation() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("create table t (a unique)")
        connection.execute("insert into t values (1)")
        found = classified(lambda: connection.execute("insert into t values (1)"))
        mistake = classified(lambda: connection.execute("select from where"))
    assert (found.error_type, found.is_transient) == ("InputValidationError", False)
    assert mistake.error_type == "PersistentError"


# What comes back.


@pytest.mark.parametrize(
    "parse", [lambda: json.loads("{"), lambda: b"\xff".decode(), lambda: httpx.Response(200, text="{").json()]
)
def test_an_answer_that_cannot_be_read_is_a_fault_of_the_output(parse: Callable[[], object]) -> None:
    assert classified(parse).error_type == "OutputValidationError"
    assert classified(parse, "gpt-5.2").error_type == "LLMOutputParseError"


@pytest.mark.parametrize("read", [lambda: tomllib.loads("="), lambda: configparser.ConfigParser().read_string("x")])
def test_a_configuration_that_cannot_be_read_is_invalid(read: Callable[[], object]) -> None:
    found = classified(read)
    assert (found.error_type, found.recovery_strategy) == ("InvalidConfigError", RecoveryStrategy.RELOAD_CONFIG)


# The system.


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ENOSPC", "DiskSpaceError"), ("EACCES", "OSPermissionError"), ("EPERM", "OSPermissionError"),
        ("ENOENT", "NotFoundError"), ("EMFILE", "ResourceExhaustedError"), ("EIO", "DiskFailureError"),
        ("ENOMEM", "MemoryPressureError"), ("ETIMEDOUT", "ConnectionTimeoutError"), ("EHOSTUNREACH", "NetworkTransientError"),
        ("EADDRINUSE", "ResourceTransientError"), ("EXDEV", "SystemCallError"),
    ],
)  # fmt: skip
def test_the_systems_own_number_decides(name: str, expected: str) -> None:
    assert ErrorClassifier().classify(OSError(getattr(errno, name), "as the system says")).error_type == expected


@pytest.mark.parametrize("where", ["type", "code", "errno"])
def test_the_systems_error_is_known_from_a_report_of_any_language(where: str) -> None:
    """Node puts it into ``code``; a log line has nothing else."""
    report = {"type": "ECONNREFUSED"} if where == "type" else {"type": "Error", "metadata": {where: "ECONNREFUSED"}}
    assert ErrorClassifier().classify_report(report).error_class.__name__ == "NetworkTransientError"


def test_a_file_that_windows_holds_open_is_waited_for() -> None:
    error = PermissionError(13, "in use")
    error.winerror = 32  # type: ignore[attr-defined, unused-ignore]
    assert ErrorClassifier().classify(error).error_type == "ResourceTransientError"


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    assert classified((tmp_path / "nowhere").read_text).error_type == "NotFoundError"


def test_a_full_queue_is_exhaustion() -> None:
    one: queue.Queue[int] = queue.Queue(1)
    one.put(1)
    assert classified(lambda: one.put_nowait(2)).error_type == "ResourceExhaustedError"


def test_a_missing_package_is_a_missing_dependency() -> None:
    assert classified(lambda: importlib.import_module("no_such_package_xyz")).error_type == "MissingDependencyError"


def test_memory_that_has_run_out_is_pressure() -> None:
    found = ErrorClassifier().classify(MemoryError())
    assert (found.error_type, found.recovery_strategy) == ("MemoryPressureError", RecoveryStrategy.HEAL_THEN_RETRY)


# Processes.


def test_a_command_that_fails_is_a_process_error() -> None:
    found = classified(lambda: subprocess.run([sys.executable, "-c", "raise SystemExit(3)"], check=True))
    assert found.error_type == "ProcessError"
    assert "ended with status 3" in found.reason


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
def test_a_killed_command_names_the_signal() -> None:
    script = f"import os; os.kill(os.getpid(), {int(signal.SIGTERM)})"
    found = classified(lambda: subprocess.run([sys.executable, "-c", script], check=True))
    assert found.error_type == "ProcessError"
    assert "ended with SIGTERM" in found.reason


def test_a_crash_of_windows_is_shown_in_its_own_numbers() -> None:
    found = ErrorClassifier().classify(subprocess.CalledProcessError(0xC0000005, "tool.exe"))
    assert "ended with status 0xC0000005" in found.reason
    assert "ended with signal 200" in ErrorClassifier().classify(subprocess.CalledProcessError(-200, "tool")).reason


def test_a_command_that_takes_too_long_is_a_process_error() -> None:
    script = "import time; time.sleep(60)"
    found = classified(lambda: subprocess.run([sys.executable, "-c", script], timeout=0.1))
    assert (found.error_type, found.is_transient) == ("ProcessError", False)


def test_a_pool_whose_worker_died_is_a_process_error() -> None:
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        found = classified(pool.submit(os._exit, 1).result)
    assert found.error_type == "ProcessError"


# Time and cancelling.


def test_a_timeout_of_asyncio_or_a_future_is_a_timeout() -> None:
    async def waits() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    assert classified(lambda: asyncio.run(waits())).error_type == "ConnectionTimeoutError"
    future: concurrent.futures.Future[None] = concurrent.futures.Future()
    assert classified(lambda: future.result(0)).error_type == "ConnectionTimeoutError"


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError(), concurrent.futures.CancelledError(), KeyboardInterrupt(), SystemExit(404)], ids=repr
)
def test_cancelling_is_no_failure(error: BaseException) -> None:
    found = ErrorClassifier().classify(error)
    assert (found.severity, found.is_transient) == (ErrorSeverity.INFO, False)
    assert found.reason == "it was cancelled, which is no failure"


# A program's own mistakes.


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KeyError("a"), "PersistentError"),
        (TypeError("a"), "PersistentError"),
        (AttributeError("a"), "PersistentError"),
        (ZeroDivisionError("a"), "PersistentError"),
        (RecursionError("a"), "PersistentError"),
        (ValueError("a"), "InputValidationError"),
    ],
    ids=repr,
)
def test_a_programs_own_mistake_would_come_again(error: Exception, expected: str) -> None:
    found = ErrorClassifier().classify(error)
    assert (found.error_type, found.is_transient) == (expected, False)
    assert found.reason.endswith("the same call would fail the same way")
