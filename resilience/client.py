"""``connect()``: an agent's link to WinClaw. It works alone where no tray runs, and delivers later."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from resilience import home
from resilience.classification import ErrorClassifier
from resilience.clock import Clock, SystemClock, as_text
from resilience.context import ErrorContext
from resilience.degradation import FEATURES, DegradationLevel
from resilience.evidence import facts
from resilience.gate import SERVICE_FEATURES, FeatureDisabledError, blocking_feature
from resilience.link import Link
from resilience.redaction import Redactor
from resilience.refusals import RefusedError
from resilience.spool import Spool

if TYPE_CHECKING:
    from resilience.executor import Fallback, Resilience
    from resilience.retrying import RetryConfig
    from resilience.shared_circuits import SharedCircuits

P = ParamSpec("P")
R = TypeVar("R")
_MAX_CAUSES = 10
_log = logging.getLogger("winclaw.agent")
_ALONE: Mapping[str, Any] = {"level": "FULL", "cause": "", "features": FEATURES[DegradationLevel.FULL]}


class Agent:
    """An agent's side of WinClaw: reports what fails, and is told what is allowed. Made by ``connect``."""

    def __init__(self, name: str, folder: Path, classifier: ErrorClassifier, redactor: Redactor, clock: Clock) -> None:
        self.name = name
        self._folder, self._classifier, self._redactor, self._clock = folder, classifier, redactor, clock
        self._state: Mapping[str, Any] = _ALONE
        self._gates: Mapping[str, str | None] = SERVICE_FEATURES
        self._listeners: list[Callable[[Mapping[str, Any]], None]] = []
        self._policies: tuple[Resilience, SharedCircuits] | None = None
        self._told: Mapping[str, Any] | None = None
        self._making = threading.RLock()
        self._starting = threading.Lock()
        self._start()
        atexit.register(self.close)

    def _start(self) -> None:
        self._pid = os.getpid()
        self._spool = Spool(home.make_private_folder(self._folder / home.SPOOL))
        self._link = Link(self.name, self._folder, self._spool, self._clock, self._heard, self._circuits)
        self._link.start()

    def report(
        self, error: BaseException, component: str, operation: str = "unknown", *, retry_count: int = 0, **metadata: Any
    ) -> ErrorContext:
        """Classifies ``error`` and hands it to WinClaw; never raises, never waits for the tray.

        Args:
            component: what failed, e.g. a service's name. operation: what it was doing.
            retry_count: how often it was tried again before.
            metadata: anything that JSON can hold; secrets in it are taken out before it touches the disk.
        """
        asked = {"component": component, "operation": operation, "retry_count": retry_count, **metadata}
        context = self._classifier.classify(error, asked)
        if os.getpid() != self._pid:  # forked: threads and locks stayed with the parent
            with self._starting:
                if os.getpid() != self._pid:
                    self._start()
        self._spool.append(self._as_report(error, context))
        self._link.wake()
        return context

    def _as_report(self, error: BaseException, context: ErrorContext) -> dict[str, Any]:
        report = {
            "type": context.error_type,
            "message": _cut(context.message, 10_000),
            "component": _cut(context.component, 200) or "unknown",
            "operation": _cut(context.operation, 200) or "unknown",
            "agent": _cut(self.name, 200),
            "severity": context.severity.name,
            "at": as_text(context.timestamp),
            "key": uuid.uuid4().hex,
            "stack": _cut(context.stack_trace, 110_000),
            "reason": _cut(context.reason, 10_000),
            "metadata": {
                **context.metadata, **_retries(context), **facts(error, self._clock.now()), "exception": _type_name(error),
            },
        }
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is not None:
            report["cause"] = _as_cause(cause, 0)
        clean: dict[str, Any] = self._redactor.value(report)
        return clean

    @property
    def state(self) -> Mapping[str, Any]:
        """The state that the tray told last; FULL as long as none has spoken."""
        return self._state

    def on_state(self, listener: Callable[[Mapping[str, Any]], None]) -> None:
        """Has ``listener(state)`` called on a thread of ours whenever the tray tells a new state."""
        self._listeners.append(listener)

    def _heard(self, answer: dict[str, Any]) -> None:
        self._gates = answer["policy"]["gates"]
        self._state = answer["state"]
        with self._making:
            self._told = answer["policy"].get("settings") or self._told
            if self._policies is not None:
                self._obey(*self._policies)
        for listener in self._listeners:
            listener(self._state)

    @property
    def resilience(self) -> Resilience:
        """The policies that this agent's calls pass; made when they are first asked for."""
        with self._making:
            if self._policies is None:
                from resilience.executor import Resilience  # noqa: PLC0415 -- who only reports needs none of it
                from resilience.shared_circuits import SharedCircuits  # noqa: PLC0415

                shared = SharedCircuits(self.name, lambda: self._link.beat_soon())
                made = Resilience(
                    classifier=self._classifier, report=self._failed, refuses=self._refuses, on_circuit=shared.join,
                    clock=self._clock,
                )  # fmt: skip
                self._policies = made, shared
                self._obey(made, shared)
            return self._policies[0]

    def _obey(self, policies: Resilience, shared: SharedCircuits) -> None:
        """Takes over what the tray has told last."""
        shared.follow(self._state.get("services", ()), policies.circuits)
        if self._told is None:
            policies.look_again()
            return
        from resilience.settings import understood  # noqa: PLC0415

        try:
            policies.configure(understood(self._told))
        except ValueError as error:  # of another version of WinClaw
            _log.warning("WinClaw's policies are not understood here, so the old ones stay: %s", error)
            policies.look_again()

    def require(self, service: str, *, read_only: bool = False) -> None:
        """Raises if the present level does not allow a call to ``service``.

        Raises:
            FeatureDisabledError: it says which flag is off, at which level, and why.
        """
        refusal = self._refuses(service, read_only)
        if refusal is not None:
            raise refusal()

    def _refuses(self, service: str, read_only: bool) -> Callable[[], FeatureDisabledError] | None:
        state = self._state
        feature = blocking_feature(service, state["features"], self._gates, read_only)
        if feature is None:
            return None
        return lambda: FeatureDisabledError(service, feature, state["level"], state["cause"])

    def watch(self, service: str, operation: str = "unknown", *, read_only: bool = False) -> Watch:
        """A block whose calls to ``service`` pass its policies as one try; its failure is reported, then raised.

        ``with agent.watch(…):``, or ``async with`` in coroutines, where waiting for a slot must not stop the loop.

        Raises:
            RefusedError: a policy does not allow it; the block does not run.
        """
        return Watch(self, service, operation, read_only=read_only)

    def protect(
        self,
        service: str,
        *,
        retry: str | RetryConfig | None = None,
        fallback: Fallback | Sequence[Fallback] = (),
        timeout_s: float | None = None,
        attempt_timeout_s: float | None = None,
        hedge_after_s: float | None = None,
        read_only: bool = False,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Puts a function behind the policies of ``service``, and reports it when it fails in the end.

        The arguments are those of ``Resilience.protect``; what is not given is what the configuration says.
        """
        return self.resilience.protect(
            service, retry=retry, fallback=fallback, timeout_s=timeout_s, attempt_timeout_s=attempt_timeout_s,
            hedge_after_s=hedge_after_s, read_only=read_only,
        )  # fmt: skip

    def _failed(self, error: Exception, service: str, operation: str, retries: int) -> ErrorContext:
        return self.report(error, service, operation, retry_count=retries)

    def _circuits(self) -> list[dict[str, Any]]:
        policies = self._policies
        return [] if policies is None else policies[1].reports(policies[0].circuits)

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Waits until everything reported is acknowledged, at most ``timeout_s``; returns whether it is."""
        return self._link.flush(timeout_s)

    def close(self) -> None:
        """Delivers what can be delivered at once and says goodbye; what is left waits on disk."""
        atexit.unregister(self.close)
        if os.getpid() == self._pid:
            self._link.stop()
            self._spool.close()


class Watch:
    """What ``Agent.watch`` gives: one block, entered once."""

    def __init__(self, agent: Agent, service: str, operation: str, *, read_only: bool) -> None:
        self._agent, self._service, self._operation = agent, service, operation
        self._pipeline = agent.resilience.pipeline(service, read_only=read_only)
        self._passage: Any = None

    def __enter__(self) -> None:
        self._passage = self._pipeline.passage()
        self._passage.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._passage.__exit__(kind, error, trace)
        finally:
            self._ended(error)

    async def __aenter__(self) -> None:
        self._passage = self._pipeline.passage_async()
        await self._passage.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._passage.__aexit__(kind, error, trace)
        finally:
            self._ended(error)

    def _ended(self, error: BaseException | None) -> None:
        if isinstance(error, Exception) and not isinstance(error, RefusedError):
            self._agent.report(error, self._service, self._operation)


def connect(name: str, *, folder: Path | str | None = None, clock: Clock | None = None) -> Agent:
    """Links this process to WinClaw under ``name``; finds the tray through ``endpoint.json`` in WINCLAW_HOME.

    Where no tray runs everything works all the same: reports wait on disk, and every call is allowed.

    Args:
        folder: another WINCLAW_HOME than the usual one.

    Raises:
        ValueError: the name is empty or longer than 200 characters.
        OSError: WINCLAW_HOME cannot be made.
    """
    if not 0 < len(name) <= 200:
        raise ValueError("an agent's name has between 1 and 200 characters")
    chosen_clock = clock or SystemClock()
    chosen_folder = home.make_private_folder(Path(folder) if folder else home.find())
    return Agent(name, chosen_folder, ErrorClassifier(clock=chosen_clock), Redactor(), chosen_clock)


def _retries(context: ErrorContext) -> dict[str, Any]:
    return {"retry_count": context.retry_count} if context.retry_count else {}


def _as_cause(error: BaseException, depth: int) -> dict[str, Any]:
    said: dict[str, Any] = {"type": _type_name(error), "message": _cut(_message(error), 10_000), "metadata": facts(error)}
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and depth < _MAX_CAUSES:
        said["cause"] = _as_cause(cause, depth + 1)
    return said


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as fault:
        return f"(its message cannot be read: {type(fault).__name__})"


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else _cut(f"{kind.__module__}.{kind.__qualname__}", 200)


def _cut(text: str, limit: int) -> str:
    """``text`` as UTF-8 can carry it, at most ``limit`` characters long."""
    clean = text.encode("utf-8", "replace").decode().replace("\0", "\N{SYMBOL FOR NULL}")
    return clean if len(clean) <= limit else f"{clean[: limit - 30]}… ({len(clean)} characters)"
