"""The fallback to a local model, against a real local server that speaks Ollama's API."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from resilience import LLMContextWindowError, LLMError, LLMOutputParseError, LLMTimeoutError
from resilience.agent.ollama import Ollama, OllamaUnavailableError, address
from resilience.executor import Resilience
from tests.stand_ins import OllamaStandIn


@pytest.fixture
def server() -> Iterator[OllamaStandIn]:
    with OllamaStandIn("llama3.2:latest", "qwen3:8b") as one:
        yield one


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    for thread in threading.enumerate():
        if thread.name == "winclaw-ollama":
            thread.join(10)
            assert not thread.is_alive()


def asked(server: OllamaStandIn) -> dict[str, Any]:
    return next(body for path, body in reversed(server.requests) if path == "/api/chat")


def test_it_asks_the_first_model_that_there_is_and_joins_the_pieces(server: OllamaStandIn) -> None:
    ollama = Ollama(url=server.url)
    assert ollama.ask("Why?") == "A local answer."
    assert asked(server) == {
        "model": "llama3.2:latest", "messages": [{"role": "user", "content": "Why?"}], "stream": True, "options": {},
    }  # fmt: skip
    ollama.ask("Again")
    assert [path for path, _ in server.requests] == ["/api/tags", "/api/chat", "/api/chat"]


def test_it_takes_the_arguments_of_a_call_to_openai(server: OllamaStandIn) -> None:
    ollama = Ollama("qwen3:8b", url=server.url, context_tokens=lambda: 4096, system="Be brief.", options={"num_gpu": 1})
    messages = [
        {"role": "developer", "content": "You are kind."},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "x"}}]},
    ]
    assert ollama.ask(model="gpt-5.2", messages=messages, temperature=0.2, max_tokens=50, tools=[], user="me") == "A local answer."
    body = asked(server)
    assert body["model"] == "qwen3:8b"
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."}, {"role": "system", "content": "You are kind."},
        {"role": "user", "content": "What is this?\n"},
    ]  # fmt: skip
    assert body["options"] == {"num_ctx": 4096, "temperature": 0.2, "num_predict": 50, "num_gpu": 1}


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [(("Why?",), {}), ((), {"prompt": "Why?"}), ((object(), "Why?"), {}), ((), {"messages": [{"content": "Why?"}]})],
)
def test_it_finds_the_question_among_the_arguments(server: OllamaStandIn, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    Ollama(url=server.url).ask(*args, **kwargs)
    assert asked(server)["messages"] == [{"role": "user", "content": "Why?"}]


def test_unusual_arguments_are_made_a_question_by_a_function(server: OllamaStandIn) -> None:
    Ollama(url=server.url, arguments=lambda ticket, **_: f"Summarise ticket {ticket}").ask(7, urgent=True)
    assert asked(server)["messages"][0]["content"] == "Summarise ticket 7"


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((7,), {"x": 1}), (([],), {})])
def test_nothing_to_ask_is_said_so(server: OllamaStandIn, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="there is nothing to ask"):
        Ollama(url=server.url).ask(*args, **kwargs)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_its_absence_is_said_clearly() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(OllamaUnavailableError) as absent:
        Ollama(url=url).ask("Why?")
    said = str(absent.value)
    assert said.startswith(f"No Ollama answers at {url} (")
    assert said.endswith("Start it (`ollama serve`, or its app), or say where it is in OLLAMA_HOST.")
    assert (absent.value.kind, absent.value.is_transient) == ("transient.service.unavailable", True)


def test_a_model_that_is_missing_is_said_clearly(server: OllamaStandIn) -> None:
    with pytest.raises(OllamaUnavailableError, match=r"no model 'mistral'\. Get it with: ollama pull mistral \(it has: llama3\.2"):
        Ollama("mistral", url=server.url).ask("Why?")
    server.models.clear()
    with pytest.raises(OllamaUnavailableError, match=r"has no model yet\. Get one with: ollama pull"):
        Ollama(url=server.url).ask("Why?")


def test_a_first_model_that_was_removed_is_looked_up_again(server: OllamaStandIn) -> None:
    ollama = Ollama(url=server.url)
    ollama.ask("Why?")
    del server.models[0]
    with pytest.raises(OllamaUnavailableError):
        ollama.ask("Why?")
    assert ollama.ask("Why?") == "A local answer."
    assert ollama.models() == ["qwen3:8b"]


@pytest.mark.parametrize(
    ("mode", "error", "said"),
    [
        ("html", OllamaUnavailableError, r"is no Ollama \(HTTP status 200, no JSON: b'<html>"),
        ("not-http", OllamaUnavailableError, "is no Ollama"),
        ("error", LLMError, "cannot answer: llama runner process has terminated"),
        ("error-inside", LLMContextWindowError, "gave up in the middle of its answer: .* exceeds the context length"),
        ("cut", LLMError, "stopped in the middle of its answer, after 8 characters"),
        ("long-line", LLMError, "broke in the middle of its answer: a line of more than 1,000,000 bytes"),
        ("endless", LLMOutputParseError, "said more than 10,000,000 characters"),
    ],
)
def test_what_goes_wrong_has_a_fitting_error_and_no_half_answer_is_taken_for_one(
    server: OllamaStandIn, mode: str, error: type[Exception], said: str
) -> None:
    server.mode = mode
    for ask in (Ollama(url=server.url).ask, lambda prompt: asyncio.run(Ollama(url=server.url).ask_async(prompt))):
        with pytest.raises(error, match=said):
            ask("Why?")


@pytest.mark.parametrize("mode", ["silent", "hangs"])
def test_one_that_falls_silent_is_not_waited_for_for_ever(server: OllamaStandIn, mode: str) -> None:
    server.mode = mode
    with pytest.raises(LLMTimeoutError, match=r"said nothing for 0\.2 s"):
        Ollama("qwen3:8b", url=server.url, silence_s=0.2).ask("Why?")


def test_a_stream_gives_each_piece_as_it_comes(server: OllamaStandIn) -> None:
    server.mode = "hangs"

    async def listen() -> list[str]:
        pieces = []
        async for piece in Ollama("qwen3:8b", url=server.url).stream("Why?"):
            pieces.append(piece)
            server.let_go.set()  # only now the server says the second
        return pieces

    assert asyncio.run(listen()) == ["A local ", "answer."]


def test_who_is_cancelled_ends_the_models_work(server: OllamaStandIn) -> None:
    server.mode = "endless"

    async def cancel() -> None:
        task = asyncio.create_task(anext(aiter(Ollama("qwen3:8b", url=server.url).stream("Why?"))))  # type: ignore[arg-type]
        await task
        whole = asyncio.create_task(Ollama("qwen3:8b", url=server.url).ask_async("Why?"))
        await asyncio.to_thread(server.wait_for, 2)
        whole.cancel()
        with pytest.raises(asyncio.CancelledError):
            await whole

    asyncio.run(cancel())
    assert server.gone.wait(10)


def test_the_event_loop_goes_on_while_the_model_thinks(server: OllamaStandIn) -> None:
    server.mode = "hangs"

    async def both() -> str:
        asking = asyncio.create_task(Ollama("qwen3:8b", url=server.url).ask_async("Why?"))
        await asyncio.to_thread(server.wait_for, 1)
        server.let_go.set()
        return await asking

    assert asyncio.run(both()) == "A local answer."


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("  ", "http://127.0.0.1:11434"),
        ("gpu-box", "http://gpu-box:11434"),
        ("10.0.0.7:1234", "http://10.0.0.7:1234"),
        ("0.0.0.0", "http://127.0.0.1:11434"),  # noqa: S104
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("[::]:8080", "http://[::1]:8080"),
        ("::1", "http://[::1]:11434"),
        ("http://gpu-box", "http://gpu-box:80"),
        ("https://gpu-box", "https://gpu-box:443"),
        ("https://gpu-box:8443/ollama/", "https://gpu-box:8443/ollama"),
        ('"gpu-box:1"', "http://gpu-box:1"),
        (":1234", "http://127.0.0.1:1234"),
    ],
)
def test_the_address_is_what_ollama_host_means(host: str, url: str) -> None:
    assert address(host) == url


@pytest.mark.parametrize("host", ["ftp://box", "box:port", "http://me:secret@box"])
def test_an_address_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match=r"OLLAMA_HOST|[Pp]ort"):
        Ollama(url=host)


def test_the_environment_says_where_it_is(server: OllamaStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", server.url.removeprefix("http://"))
    assert Ollama().ask("Why?") == "A local answer."


def test_it_stands_in_for_functions_coroutines_and_streams(server: OllamaStandIn) -> None:
    ollama, policies = Ollama(url=server.url), Resilience()

    def fail(prompt: str) -> str:
        raise ConnectionRefusedError(prompt)

    async def fail_later(prompt: str) -> str:
        return fail(prompt)

    async def fail_streaming(prompt: str) -> AsyncIterator[str]:
        yield fail(prompt)

    async def collect() -> list[str]:
        protected = policies.protect("gpt-5.2", retry="none", fallback=ollama.stream)(fail_streaming)
        return [piece async for piece in protected("Why?")]

    assert policies.protect("gpt-5.2", retry="none", fallback=ollama.ask)(fail)("Why?") == "A local answer."
    assert asyncio.run(policies.protect("gpt-5.2", retry="none", fallback=ollama.ask_async)(fail_later)("Why?")) == "A local answer."  # type: ignore[arg-type]
    assert asyncio.run(collect()) == ["A local ", "answer."]


def test_certificates_are_checked_whatever_the_process_has_made_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[ssl.VerifyMode] = []

    def connect(connection: Any) -> None:
        checks.append(connection._context.verify_mode)
        raise ConnectionRefusedError

    monkeypatch.setattr(ssl, "_create_default_https_context", ssl._create_unverified_context)
    monkeypatch.setattr(http.client.HTTPSConnection, "connect", connect)
    with pytest.raises(OllamaUnavailableError):
        Ollama(url="https://127.0.0.1:1").ask("Why?")
    assert set(checks) == {ssl.CERT_REQUIRED}
