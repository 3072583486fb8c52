"""``connect()``: an agent's link to WinClaw. It works alone where no tray runs, and delivers later."""

from __future__ import annotations

import atexit
import functools
import inspect
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from resilience import home
from resilience.classification import ErrorClassifier
from resilience.clock import Clock, SystemClock, as_text
from resilience.context import ErrorContext
from resilience.degradation import FEATURES, DegradationLevel
from resilience.evidence import facts
from resilience.gate import SERVICE_FEATURES, FeatureDisabledError, blocking_feature
from resilience.link import Link
from resilience.redaction import Redactor
from resilience.spool import Spool

P = ParamSpec("P")
R = TypeVar("R")
_MAX_CAUSES = 10
_ALONE: Mapping[str, Any] = {"level": "FULL", "cause": "", "features": FEATURES[DegradationLevel.FULL]}


class Agent:
    """An agent's side of WinClaw: reports what fails, and is told what is allowed. Made by ``connect``."""

    def __init__(self, name: str, folder: Path, classifier: ErrorClassifier, redactor: Redactor, clock: Clock) -> None:
        self.name = name
        self._folder, self._classifier, self._redactor, self._clock = folder, classifier, redactor, clock
        self._state: Mapping[str, Any] = _ALONE
        self._gates: Mapping[str, str | None] = SERVICE_FEATURES
        self._listeners: list[Callable[[Mapping[str, Any]], None]] = []
        self._starting = threading.Lock()
        self._start()
        atexit.register(self.close)

    def _start(self) -> None:
        self._pid = os.getpid()
        self._spool = Spool(home.make_private_folder(self._folder / home.SPOOL))
        self._link = Link(self.name, self._folder, self._spool, self._clock, self._heard)
        self._link.start()

    def report(
        self, error: BaseException, component: str, operation: str = "unknown", **metadata: Any
    ) -> ErrorContext:
        """Classifies ``error`` and hands it to WinClaw; never raises, never waits for the tray.

        Args:
            component: what failed, e.g. a service's name. operation: what it was doing.
            metadata: anything that JSON can hold; secrets in it are taken out before it touches the disk.
        """
        context = self._classifier.classify(error, {"component": component, "operation": operation, **metadata})
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
            "metadata": {**context.metadata, **facts(error, self._clock.now()), "exception": _type_name(error)},
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
        for listener in self._listeners:
            listener(self._state)

    def require(self, service: str, *, read_only: bool = False) -> None:
        """Raises if the present level does not allow a call to ``service``.

        Raises:
            FeatureDisabledError: it says which flag is off, at which level, and why.
        """
        state = self._state
        feature = blocking_feature(service, state["features"], self._gates, read_only)
        if feature is not None:
            raise FeatureDisabledError(service, feature, state["level"], state["cause"])

    @contextmanager
    def watch(self, service: str, operation: str = "unknown", *, read_only: bool = False) -> Iterator[None]:
        """A block whose calls to ``service`` are gated by the level and whose failure is reported, then raised.

        Raises:
            FeatureDisabledError: the level does not allow it; the block does not run.
        """
        self.require(service, read_only=read_only)
        try:
            yield
        except Exception as error:
            self.report(error, service, operation)
            raise

    def protect(self, service: str, *, read_only: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """The decorator form of ``watch``, for functions and coroutine functions alike."""

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            operation = getattr(function, "__qualname__", "unknown")
            if inspect.iscoroutinefunction(function):

                @functools.wraps(function)
                async def guarded_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                    with self.watch(service, operation, read_only=read_only):
                        return await function(*args, **kwargs)

                return cast("Callable[P, R]", guarded_async)

            @functools.wraps(function)
            def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
                with self.watch(service, operation, read_only=read_only):
                    return function(*args, **kwargs)

            return guarded

        return decorate

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Waits until everything reported is acknowledged, at most ``timeout_s``; returns whether it is."""
        return self._link.flush(timeout_s)

    def close(self) -> None:
        """Delivers what can be delivered at once and says goodbye; what is left waits on disk."""
        atexit.unregister(self.close)
        if os.getpid() == self._pid:
            self._link.stop()
            self._spool.close()


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
