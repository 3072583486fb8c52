"""Real errors of sockets and HTTP clients, provoked on this machine alone, and what they are taken for."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import aiohttp
import httpx
import openai
import pytest
import requests

from resilience.classification.classifier import ErrorClassifier
from resilience.context import ErrorSeverity, RecoveryStrategy
from tests.resilience.classification.raised import classified


def patience_s(url: str) -> float:
    """How long a client waits: briefly where no answer will come, and where one will, longer than any machine takes."""
    return 0.2 if url.endswith("/slow") else 60


def refused_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as once:
        once.bind(("127.0.0.1", 0))
        return int(once.getsockname()[1])


def by_urllib(url: str) -> None:
    try:
        with urllib.request.urlopen(url, timeout=patience_s(url)) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        error.close()  # it is the answer, too, and holds the connection
        raise


def by_requests(url: str) -> None:
    requests.get(url, timeout=patience_s(url)).raise_for_status()


def by_httpx(url: str) -> None:
    httpx.get(url, timeout=patience_s(url)).raise_for_status()


def by_aiohttp(url: str) -> None:
    async def get() -> None:
        timeout = aiohttp.ClientTimeout(total=patience_s(url))
        async with aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session:
            await session.get(url)

    asyncio.run(get())


def by_openai(url: str) -> None:
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=patience_s(url)) as client:
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
