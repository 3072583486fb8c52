"""A ready-made fallback: a language model on this machine, asked over Ollama's HTTP API (§5.1). Standard library only."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from resilience.agent.ollama_wire import Answer, Exchange, UnfitAnswerError
from resilience.errors import LLMContextWindowError, LLMError, LLMOutputParseError, LLMTimeoutError, ServiceUnavailableError

_USUAL_ADDRESS: Final = "http://127.0.0.1:11434"
_MAX_ANSWER: Final = 10_000_000
_SUGGESTED: Final = "llama3.2"
_ROLES: Final = {"developer": "system", "function": "tool"}
_TRANSLATED: Final = {
    "temperature": "temperature", "top_p": "top_p", "seed": "seed", "stop": "stop", "max_tokens": "num_predict",
    "max_completion_tokens": "num_predict", "frequency_penalty": "frequency_penalty", "presence_penalty": "presence_penalty",
}  # fmt: skip
Question = str | Sequence[Mapping[str, Any]]


class OllamaUnavailableError(ServiceUnavailableError):
    """No Ollama answers, or it does not have the model; the message says how to mend that."""


class Ollama:
    """A local language model. Its methods fit as fallbacks: they take the arguments of the call that failed.

    ``ask`` is for functions, ``ask_async`` for coroutines, ``stream`` for asynchronous generators. Of the arguments they
    use a prompt, or messages as chats have them, and what there is of ``temperature``, ``max_tokens`` and their like.

    Args:
        model: its name; None: the first that Ollama has. url: where it is; by default where ``OLLAMA_HOST`` says, or the
            usual address.
        context_tokens: how many tokens the model is to take in; a function is asked at each call. None: as Ollama likes.
        connect_timeout_s: for reaching it. silence_s: how long it may say nothing, loading the model included.
        system: what the model is told before all else. options: of Ollama's own, e.g. ``{"num_gpu": 1}``.
        arguments: makes a prompt or messages of the call's arguments, where they are neither.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        url: str | None = None,
        context_tokens: int | Callable[[], int | None] | None = None,
        connect_timeout_s: float = 2.0,
        silence_s: float = 120.0,
        system: str | None = None,
        options: Mapping[str, Any] | None = None,
        arguments: Callable[..., Question] | None = None,
    ) -> None:
        self.model, self.url = model, address(url or os.environ.get("OLLAMA_HOST", ""))
        self._context_tokens, self._system = context_tokens, system
        self._connect_timeout_s, self._silence_s = connect_timeout_s, silence_s
        self._options, self._arguments = dict(options or {}), arguments
        self._found: str | None = None

    def ask(self, *args: Any, **kwargs: Any) -> str:
        """The model's whole answer.

        Raises:
            OllamaUnavailableError: nobody answers, or there is no such model. LLMTimeoutError: it fell silent.
            LLMError: it could not answer, or not to the end. TypeError: there is nothing to ask among the arguments.
        """
        with contextlib.closing(self._exchange()) as exchange:
            return "".join(self._pieces(exchange, args, kwargs))

    async def ask_async(self, *args: Any, **kwargs: Any) -> str:
        """``ask``, for coroutines; who cancels it ends the connection, and with it the model's work."""
        return "".join([piece async for piece in self.stream(*args, **kwargs)])

    async def stream(self, *args: Any, **kwargs: Any) -> AsyncIterator[str]:
        """The answer as it comes. Raises as ``ask`` does."""
        exchange = self._exchange()
        async for piece in exchange.in_thread(lambda: self._pieces(exchange, args, kwargs)):
            yield piece

    def models(self) -> list[str]:
        """The models that Ollama has.

        Raises:
            OllamaUnavailableError: nobody answers.
        """
        with contextlib.closing(self._exchange()) as exchange:
            return self._models(exchange)

    def _exchange(self) -> Exchange:
        return Exchange(self.url, self._connect_timeout_s, self._silence_s)

    def _models(self, exchange: Exchange) -> list[str]:
        answer = self._sent(exchange, "GET", "/api/tags", None)
        found = self._one(answer).get("models")
        if answer.status != 200 or not isinstance(found, list):
            raise self._foreign(f"HTTP status {answer.status}")
        return [str(one.get("name")) for one in found if isinstance(one, dict)]

    def _pieces(self, exchange: Exchange, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[str]:
        messages = self._messages(args, kwargs)
        model = self.model or self._found or self._first(exchange)
        body: dict[str, Any] = {"model": model, "messages": messages, "stream": True, "options": self._chosen(kwargs)}
        answer = self._sent(exchange, "POST", "/api/chat", body)
        if answer.status != 200:
            self._refused(exchange, answer, model)
        said, is_done = 0, False
        try:
            for line in answer.lines():
                if (error := line.get("error")) is not None:
                    raise _failure(str(error), f"{model} gave up in the middle of its answer: ")
                message = line.get("message")
                piece = message.get("content") if isinstance(message, dict) else None
                said += len(piece or "")
                if said > _MAX_ANSWER:
                    raise LLMOutputParseError(f"{model} said more than {_MAX_ANSWER:,} characters; nobody listens any more")
                is_done = bool(line.get("done"))
                if piece:
                    yield str(piece)
                if is_done:
                    break
        except TimeoutError as error:
            raise self._silent(model) from error
        except (OSError, UnfitAnswerError) as error:
            raise LLMError(f"the connection to {model} broke in the middle of its answer: {error}") from error
        if not is_done:
            raise LLMError(f"{model} stopped in the middle of its answer, after {said} characters")

    def _sent(self, exchange: Exchange, method: str, path: str, body: dict[str, Any] | None) -> Answer:
        try:
            return exchange.send(method, path, None if body is None else json.dumps(body).encode())
        except TimeoutError as error:
            if exchange.is_connected:
                raise self._silent(self.model or "Ollama") from error
            raise self._absent("no answer in time") from error
        except UnfitAnswerError as error:
            raise self._foreign(str(error)) from error
        except OSError as error:
            raise self._absent(error.strerror or str(error)) from error

    def _one(self, answer: Answer) -> dict[str, Any]:
        try:
            return answer.one()
        except (OSError, UnfitAnswerError) as error:
            raise self._foreign(f"HTTP status {answer.status}, {error}") from error

    def _foreign(self, what: str) -> OllamaUnavailableError:
        return OllamaUnavailableError(f"What answers at {self.url} is no Ollama ({what}).")

    def _absent(self, why: str) -> OllamaUnavailableError:
        return OllamaUnavailableError(
            f"No Ollama answers at {self.url} ({why.lower()}). Start it (`ollama serve`, or its app), "
            "or say where it is in OLLAMA_HOST."
        )

    def _silent(self, model: str) -> LLMTimeoutError:
        return LLMTimeoutError(f"{model} at {self.url} said nothing for {self._silence_s:g} s")

    def _first(self, exchange: Exchange) -> str:
        models = self._models(exchange)
        if not models:
            raise OllamaUnavailableError(
                f"The Ollama at {self.url} has no model yet. Get one with: ollama pull {_SUGGESTED}"
            )
        self._found = models[0]
        return models[0]

    def _refused(self, exchange: Exchange, answer: Answer, model: str) -> None:
        said = str(self._one(answer).get("error", ""))
        if answer.status == 404 and "model" in said:
            self._found = None
            there = ", ".join(self._models(exchange)[:10]) or "none"
            raise OllamaUnavailableError(
                f"The Ollama at {self.url} has no model {model!r}. Get it with: ollama pull {model} (it has: {there})"
            )
        raise _failure(said or f"HTTP status {answer.status}", f"{model} cannot answer: ")

    def _chosen(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        tokens = self._context_tokens() if callable(self._context_tokens) else self._context_tokens
        asked = {_TRANSLATED[name]: value for name, value in kwargs.items() if name in _TRANSLATED and value is not None}
        return {**({"num_ctx": tokens} if tokens else {}), **asked, **self._options}

    def _messages(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[dict[str, Any]]:
        question = self._arguments(*args, **kwargs) if self._arguments else _question(args, kwargs)
        asked = [{"content": question}] if isinstance(question, str) else question
        messages = [_message(one) for one in asked]
        if not messages:
            raise TypeError("there is nothing to ask: the list of messages is empty")
        return [{"role": "system", "content": self._system}, *messages] if self._system else messages


def address(host: str) -> str:
    """The address that ``OLLAMA_HOST`` means, by Ollama's own habits: scheme, host and port may be left out.

    Raises:
        ValueError: it is none.
    """
    text = host.strip().strip("\"'")
    if not text:
        return _USUAL_ADDRESS
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
        if rest.count(":") > 1 and "[" not in rest:
            rest = f"[{rest}]"  # an address of IPv6
    parts = urlsplit(f"//{rest}")
    name, port = parts.hostname or "127.0.0.1", parts.port
    if scheme not in ("http", "https") or parts.username is not None:
        raise ValueError(f"OLLAMA_HOST is no address that can be asked: {host!r}; write host:port, for example 127.0.0.1:11434")
    if name in ("0.0.0.0", "::"):  # noqa: S104 -- where a server listens everywhere, a client asks this machine
        name = "127.0.0.1" if name == "0.0.0.0" else "::1"  # noqa: S104
    port = port or ((443 if scheme == "https" else 80) if separator else 11434)
    return f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}{parts.path.rstrip('/')}"


def _question(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Question:
    for found in (*(kwargs.get(name) for name in ("messages", "prompt", "input", "question")), *args):
        if isinstance(found, str) or (isinstance(found, Sequence) and all(isinstance(one, Mapping) for one in found)):
            return found
    raise TypeError(
        "there is nothing to ask: no argument is a text or a list of messages; give Ollama(arguments=…), "
        "which makes one of the call's arguments"
    )


def _message(one: Mapping[str, Any]) -> dict[str, Any]:
    content = one.get("content") or ""
    if not isinstance(content, str):
        content = "\n".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    role = str(one.get("role", "user"))
    return {"role": _ROLES.get(role, role), "content": content}


def _failure(said: str, before: str) -> LLMError:
    if "context" in said and ("length" in said or "exceed" in said or "window" in said):
        return LLMContextWindowError(before + said)
    return LLMError(before + said)
