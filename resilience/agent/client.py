"""``connect()``: an agent's link to WinClaw. It works alone where no tray runs, and delivers later."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, ParamSpec, TypeVar

from resilience import home
from resilience.agent.fitting import fit
from resilience.agent.link import Link
from resilience.agent.reporting import as_report
from resilience.agent.spool import Spool
from resilience.agent.texts import as_name, checked_name
from resilience.classification.classifier import ErrorClassifier
from resilience.clock import Clock, SystemClock
from resilience.context import ErrorContext
from resilience.degradation.enforcement import Enforcement, what_is_held
from resilience.forking import at_fork
from resilience.listeners import tell
from resilience.redaction import Redactor

if TYPE_CHECKING:
    from resilience.agent.circuits import SharedCircuits
    from resilience.agent.loops import AgentLoop, AgentLoops
    from resilience.agent.orders import AgentOrders
    from resilience.config.settings import Settings
    from resilience.executor import Fallback, Resilience
    from resilience.healing.waiting import EndedHeals
    from resilience.outbox.outbox import Outbox
    from resilience.pipeline import Passage
    from resilience.retrying.strategies import RetryConfig
    from resilience.sandbox.sandbox import ExecutionSandbox

P = ParamSpec("P")
R = TypeVar("R")
_MOST_AUDITED: Final = 200
_log = logging.getLogger("winclaw.agent")


class Agent:
    """An agent's side of WinClaw: reports what fails, and is told what is allowed. Made by ``connect``."""

    def __init__(self, name: str, folder: Path, classifier: ErrorClassifier, redactor: Redactor, clock: Clock) -> None:
        self.name = name
        self._folder, self._classifier, self._redactor, self._clock = folder, classifier, redactor, clock
        self._enforcement = Enforcement(what_is_held(folder))
        self._in_force = self._enforcement.state
        self._listeners: list[Callable[[Mapping[str, Any]], None]] = []
        self._policies: tuple[Resilience, SharedCircuits] | None = None
        self._heals: EndedHeals | None = None
        self._loops: AgentLoops | None = None
        self._outbox: Outbox | None = None
        self._orders: AgentOrders | None = None
        self._sandbox: ExecutionSandbox | None = None
        self._told: Mapping[str, Any] | None = None
        self._settings: Settings | None = None
        self._making = threading.RLock()
        self._is_closed = False
        self._spool = Spool(home.make_private_folder(folder / home.SPOOL))
        self._link = self._new_link()
        self._link.start()
        at_fork(in_child=self._in_child)
        atexit.register(self.close)

    def _new_link(self, *, is_quiet: bool = False) -> Link:
        parts = (self._spool, self._clock, self._heard, self._news, self._untold, self._look)
        return Link(self.name, self._folder, *parts, is_quiet=is_quiet)

    def _in_child(self) -> None:
        """A forked child hears of each level by itself, and leaves to its parent what its parent has to tell."""
        self._making = threading.RLock()
        self._spool.begin_anew()
        self._enforcement.begin_anew()
        for part in (self._loops, self._orders, self._heals, self._policies and self._policies[1]):
            if part is not None:
                part.begin_anew()
        self._link.leave_behind()
        if not self._is_closed:
            self._link = self._new_link(is_quiet=True)
            self._link.start()

    def report(
        self, error: BaseException, component: str, operation: str = "unknown", *, retry_count: int = 0, **metadata: Any
    ) -> ErrorContext:
        """Classifies ``error`` and hands it to WinClaw; never raises, never waits for the tray.

        Args:
            component: what failed, e.g. a service's name. operation: what it was doing.
            retry_count: how often it was tried again before.
            metadata: anything that JSON can hold, of anything else its words; secrets in it are taken out before it
                touches the disk. Of more than 900,000 bytes the largest values are left out.
        """
        asked = {"component": component, "operation": operation, "retry_count": retry_count, **metadata}
        context = self._classifier.classify(error, asked)
        try:
            self._spool.append(fit(self._redactor.value(as_report(error, context, self.name, self._clock.now()))))
        except Exception:  # the caller has an error of its own to see to
            _log.exception("an error could not be reported")
        self._link.wake()
        return context

    @property
    def state(self) -> Mapping[str, Any]:
        """The state that the tray told last, in force in every part; while none has spoken FULL, or what a person has pinned."""
        return self._in_force

    @property
    def context_limit_tokens(self) -> int | None:
        """To how many tokens the present level asks to keep a model's context (§5.1); None: no limit."""
        limit: int | None = self.state.get("context_limit_tokens")
        return limit

    def on_state(self, listener: Callable[[Mapping[str, Any]], None]) -> None:
        """Has ``listener(state)`` called on a thread of ours whenever the tray tells a new state."""
        self._listeners.append(listener)

    def _heard(self, answer: dict[str, Any]) -> None:
        self._enforcement.take(answer["state"], answer["policy"]["gates"])
        with self._making:
            if (told := answer["policy"].get("settings")) is not None:
                self._told, self._settings = told, None
            parts = self._policies, self._loops, self._outbox  # those made from now on begin with what was told
            settings = self._understood(parts)
        self._obey(settings, *parts)  # what listens to a circuit hears of it here, outside of every lock
        self._in_force = self._enforcement.state
        if answer.get("orders"):
            self.orders.take(answer["orders"])
        if self._heals is not None:  # last, so that whoever waited for a heal finds its circuit closed
            self._heals.take(answer["state"].get("healed", ()))
        for listener in self._listeners:
            tell(listener, self.state)

    @property
    def resilience(self) -> Resilience:
        """The policies that this agent's calls pass; made when they are first asked for."""
        with self._making:
            if self._policies is None:
                from resilience.agent.circuits import SharedCircuits  # noqa: PLC0415
                from resilience.executor import Resilience  # noqa: PLC0415 -- who only reports needs none of it
                from resilience.healing.waiting import EndedHeals  # noqa: PLC0415

                shared = SharedCircuits(self.name, lambda: self._link.beat_soon())
                self._heals = EndedHeals(lambda: self._link.is_connected, self._clock)
                made = Resilience(
                    classifier=self._classifier, report=self._failed, gate=self._enforcement.gate, on_circuit=shared.join,
                    heals=self._heals, clock=self._clock,
                )  # fmt: skip
                self._policies = made, shared
                self._obey(self._understood([self._policies]), policies=self._policies)
                self._link.beat_soon()  # with what it can do to heal from now on
            return self._policies[0]

    def _obey(
        self,
        settings: Settings | None,
        policies: tuple[Resilience, SharedCircuits] | None = None,
        loops: AgentLoops | None = None,
        outbox: Outbox | None = None,
    ) -> None:
        """Has the parts given take over what the tray has told last."""
        if policies is not None:
            made, shared = policies
            shared.follow(self._enforcement.state.get("services", ()), made.circuits)
            made.look_again() if settings is None or settings is made.settings else made.configure(settings)
        if loops is not None:
            loops.state_changed() if settings is None else loops.configure(settings.loops)
        if outbox is not None:
            if settings is not None:
                outbox.configure(settings.outbox)
            outbox.wake()

    def _understood(self, parts: Sequence[object]) -> Settings | None:
        """The settings that the tray has told; None where it has told none, is of another version, or no part needs them."""
        if self._settings is None and self._told is not None and any(part is not None for part in parts):
            from resilience.config.settings import understood  # noqa: PLC0415

            try:
                self._settings = understood(self._told)
            except ValueError as error:
                _log.warning("WinClaw's policies are not understood here, so the old ones stay: %s", error)
        return self._settings

    def require(self, service: str, *, read_only: bool = False) -> None:
        """Raises if the present level does not allow a call to ``service``.

        Raises:
            FeatureDisabledError: it says which flag is off, at which level, and why.
        """
        gate = self._enforcement.gate(service, read_only)
        if gate is not None:
            gate("require")

    @property
    def loops(self) -> AgentLoops:
        """The loops of this process; made when they are first asked for."""
        with self._making:
            if self._loops is None:
                from resilience.agent.loops import AgentLoops  # noqa: PLC0415 -- who runs no loop needs none of it

                self._loops = AgentLoops(
                    self._enforcement, self._clock, self.report, lambda: self._link.beat_soon(), lambda: self._link.wake()
                )
                self._obey(self._understood([self._loops]), loops=self._loops)
            return self._loops

    def loop(self, name: str) -> AgentLoop:
        """A loop in which this agent works (§5.1): ``with agent.loop("planning") as loop: loop.beat()``, or a decorator.

        Raises:
            ValueError: the name is empty, longer than 200 characters, or none that UTF-8 can carry.
        """
        return self.loops.loop(name)

    def beat(self) -> None:
        """Beats for the innermost loop that runs here; see ``LoopRun.beat``.

        Raises:
            RuntimeError: none runs here. LoopPausedError: the level does not allow it any more.
        """
        self.loops.beat()

    @property
    def orders(self) -> AgentOrders:
        """What this process can do to heal; made when it is first asked for."""
        with self._making:
            if self._orders is None:
                from resilience.agent.orders import AgentOrders  # noqa: PLC0415 -- who heals nothing needs none of it

                self._orders = AgentOrders(self._scale, lambda: self._link.beat_soon())
            return self._orders

    def healer(self, action: str, component: str = "*") -> Callable[[Callable[[], R]], Callable[[], R]]:
        """Decorates what is to be done when WinClaw heals: ``@agent.healer("clear_cache", "vector_store")``.

        It is called without arguments on a thread of ours; what it gives back is shown in the heal's history, and when it
        raises, the heal goes on with its next action.

        Args:
            action: ``clear_cache``, ``reset_connections``, ``garbage_collect``, ``rollback_version``, ``reload_config`` or
                ``restart_service``. component: what it mends, e.g. a service's name; ``*``: any.

        Raises:
            ValueError: an agent cannot do such an action.
        """

        def decorate(function: Callable[[], R]) -> Callable[[], R]:
            self.orders.register(action, component, function)
            return function

        return decorate

    @property
    def sandbox(self) -> ExecutionSandbox:
        """Runs programs and functions in child processes under limits (§7.2), as far as the level allows.

        ``enable_code_execution`` must be on for anything to run, ``enable_shell`` for a shell, ``allow_network_access`` for a
        network; what runs ends when the level takes its flag away. Needs psutil: ``pip install winclaw[sandbox]``.
        """
        with self._making:
            if self._sandbox is None:
                from resilience.sandbox.sandbox import ExecutionSandbox  # noqa: PLC0415 -- few agents need it

                self._sandbox = ExecutionSandbox(refusal=self._enforcement.sandbox_refusal, clock=self._clock)
            return self._sandbox

    def _scale(self, service: str, scale: float, for_s: float) -> str:
        return self.resilience.scale(service, scale, for_s)

    @property
    def outbox(self) -> Outbox:
        """This agent's outgoing messages (§5.1), on disk until they are sent; made when they are first asked for.

        At LIMITED_EXTERNAL and below they wait, and wherever the policies of their channel, which are those of the
        service of that name, do not let them pass.
        """
        with self._making:
            if self._outbox is None:
                from resilience.outbox.outbox import Outbox  # noqa: PLC0415 -- who sends nothing needs none of it

                self._outbox = Outbox(
                    home.make_private_folder(self._folder / home.OUTBOX), self.name, self._clock,
                    why_wait=self._enforcement.why_wait,
                    protect=lambda channel, send: self.resilience.protect(channel, retry="none")(send), report=self.report,
                    classifier=self._classifier,
                )  # fmt: skip
                self._obey(self._understood([self._outbox]), outbox=self._outbox)
            return self._outbox

    def ollama(self, model: str | None = None, **chosen: Any) -> LocalModel:
        """A local model as a fallback (§5.1), behind the policies of ``ollama``; its context is cut as the level asks.

        ``agent.protect("gpt-5.2", fallback=agent.ollama().ask)`` for functions, ``.ask_async`` for coroutines, ``.stream``
        for asynchronous generators.

        Args:
            model: its name; None: the first that Ollama has. chosen: further arguments of ``Ollama``.
        """
        from resilience.agent.ollama import Ollama  # noqa: PLC0415 -- few agents need it

        chosen.setdefault("context_tokens", lambda: self.context_limit_tokens)
        found, policies = Ollama(model, **chosen), self.protect("ollama", retry="none")
        return LocalModel(policies(found.ask), policies(found.ask_async), policies(found.stream))

    def watch(self, service: str, operation: str = "unknown", *, read_only: bool = False) -> Passage:
        """A block whose calls to ``service`` pass its policies as one try; its failure is reported, then raised.

        ``with agent.watch(…):``, or ``async with`` in coroutines, where waiting for a slot must not stop the loop.

        Raises:
            RefusedError: a policy does not allow it; the block does not run.
        """
        from resilience.pipeline import Passage  # noqa: PLC0415 -- who only reports needs none of it

        return Passage(self.resilience.pipeline(service, read_only=read_only), operation)

    def protect(
        self,
        service: str,
        *,
        retry: str | RetryConfig | None = None,
        fallback: Fallback | Sequence[Fallback] = (),
        timeout_s: float | None = None,
        attempt_timeout_s: float | None = None,
        hedge_after_s: float | None = None,
        wait_for_healing_s: float | None = None,
        read_only: bool = False,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Puts a function behind the policies of ``service``, and reports it when it fails in the end.

        The arguments are those of ``Resilience.protect``; what is not given is what the configuration says.

        Raises:
            ValueError: the name is empty, longer than 200 characters, or none that UTF-8 can carry; or an argument is unfit.
        """
        checked_name("a service's", service)
        return self.resilience.protect(
            service, retry=retry, fallback=fallback, timeout_s=timeout_s, attempt_timeout_s=attempt_timeout_s,
            hedge_after_s=hedge_after_s, wait_for_healing_s=wait_for_healing_s, read_only=read_only,
        )  # fmt: skip

    def _failed(self, error: Exception, service: str, operation: str, retries: int) -> ErrorContext:
        return self.report(error, service, operation, retry_count=retries)

    def _news(self) -> dict[str, Any]:
        """What there is to tell with a heartbeat."""
        policies = self._policies
        news = {
            "circuits": [] if policies is None else policies[1].reports(policies[0].circuits),
            "loops": [] if self._loops is None else self._loops.reports(),
            "audit": self._take_audit(),
            "healers": self.orders.reports() if self._orders is not None or policies is not None else [],
            "orders": [] if self._orders is None else self._orders.take_answers(),
        }
        return {name: said for name, said in news.items() if said}

    def _take_audit(self) -> list[dict[str, Any]]:
        """What was tried in Safe Mode, under names that WinClaw takes, and as many as it takes at once."""
        audit = self._enforcement.take_audit()
        self._enforcement.give_back(audit[_MOST_AUDITED:])
        return [
            {**one, "service": as_name(one["service"]), "operation": as_name(one["operation"])} for one in audit[:_MOST_AUDITED]
        ]

    def _look(self) -> float | None:
        soon = [self._loops.look() if self._loops is not None else None]
        soon.append(self._policies[0].look_at_scales() if self._policies is not None else None)
        return min((one for one in soon if one is not None), default=None)

    def _untold(self, news: dict[str, Any]) -> None:
        self._enforcement.give_back(news.get("audit", []))
        if self._orders is not None:
            self._orders.give_back(news.get("orders", []))

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Waits until everything reported is acknowledged, at most ``timeout_s``; returns whether it is."""
        return self._link.flush(timeout_s)

    def close(self) -> None:
        """Delivers what can be delivered at once and says goodbye; what is left waits on disk."""
        atexit.unregister(self.close)
        if self._outbox is not None:
            self._outbox.close()
        self._is_closed = True
        self._link.stop()
        self._spool.close()


class LocalModel(NamedTuple):
    """What ``Agent.ollama`` gives: the three ways to ask, each for one kind of function; see ``Ollama``."""

    ask: Callable[..., str]
    ask_async: Callable[..., Coroutine[Any, Any, str]]
    stream: Callable[..., AsyncIterator[str]]


def connect(name: str, *, folder: Path | str | None = None, clock: Clock | None = None) -> Agent:
    """Links this process to WinClaw under ``name``; finds the tray through ``endpoint.json`` in WINCLAW_HOME.

    Where no tray runs everything works all the same: reports wait on disk, and every call is allowed.

    Args:
        folder: another WINCLAW_HOME than the usual one.

    Raises:
        ValueError: the name is empty, longer than 200 characters, or none that UTF-8 can carry.
        OSError: WINCLAW_HOME cannot be made.
    """
    checked_name("an agent's", name)
    chosen_clock = clock or SystemClock()
    chosen_folder = home.make_private_folder(Path(folder) if folder else home.find())
    return Agent(name, chosen_folder, ErrorClassifier(clock=chosen_clock), Redactor(), chosen_clock)
