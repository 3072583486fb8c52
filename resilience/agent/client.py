"""``connect()``: an agent's link to WinClaw. It works alone where no tray runs, and delivers later."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, ParamSpec, TypeVar

from resilience import home
from resilience.agent.circuits import SharedCircuits
from resilience.agent.fitting import fit
from resilience.agent.link import Link
from resilience.agent.reporting import as_report
from resilience.agent.spool import Spool
from resilience.agent.texts import as_name, checked_name
from resilience.classification.classifier import ErrorClassifier
from resilience.clock import Clock, SystemClock
from resilience.context import ErrorContext
from resilience.degradation.enforcement import Enforcement, standing_alone
from resilience.forking import at_fork
from resilience.healing.waiting import EndedHeals
from resilience.listeners import tell
from resilience.redaction import Redactor

if TYPE_CHECKING:
    from resilience.agent.loops import AgentLoop, AgentLoops
    from resilience.agent.orders import AgentOrders
    from resilience.agent.recovering import AgentRecovery
    from resilience.config.settings import Settings
    from resilience.executor import Fallback, Resilience
    from resilience.outbox.outbox import Outbox
    from resilience.pipeline import Passage
    from resilience.recovery.checkpoint import Checkpoint
    from resilience.recovery.policy import CheckpointLevel
    from resilience.retrying.strategies import RetryConfig
    from resilience.sandbox.sandbox import ExecutionSandbox
    from resilience.transactions.manager import TransactionManager
    from resilience.transactions.transaction import TransactionBlock

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
F = TypeVar("F", bound=Callable[..., Any])
_MOST_AUDITED: Final = 200
_log = logging.getLogger("winclaw.agent")


class Agent:
    """An agent's side of WinClaw: reports what fails, and is told what is allowed. Made by ``connect``."""

    def __init__(self, name: str, folder: Path, clock: Clock) -> None:
        self.name = name
        self._folder, self._clock = folder, clock
        self._classifier, self._redactor = ErrorClassifier(clock=clock), Redactor()
        self._enforcement = Enforcement(standing_alone(home.read_json(folder / home.HELD)))
        self._in_force = self._enforcement.state
        self._listeners: list[Callable[[Mapping[str, Any]], None]] = []
        self._circuits = SharedCircuits(name, self._news_to_tell)
        self._circuits.follow(self._in_force["services"])
        self._heals = EndedHeals(lambda: self._link.is_connected, clock)
        self._resilience: Resilience | None = None
        self._loops: AgentLoops | None = None
        self._outbox: Outbox | None = None
        self._orders: AgentOrders | None = None
        self._recovery: AgentRecovery | None = None
        self._sandbox: ExecutionSandbox | None = None
        self._transactions: TransactionManager | None = None
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
        told = self._heard, self._news, self._untold, self._look
        return Link(self.name, self._folder, self._spool, self._clock, *told, is_quiet=is_quiet)

    def _news_to_tell(self) -> None:
        self._link.beat_soon()

    def _in_child(self) -> None:
        """A forked child hears of each level by itself, and leaves to its parent what its parent has to tell."""
        self._making = threading.RLock()
        self._spool.begin_anew()
        self._enforcement.begin_anew()
        for part in (self._circuits, self._heals, self._loops, self._orders, self._recovery):
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
        if (told := answer["policy"].get("settings")) is not None:
            with self._making:  # parts that are made from now on begin with what was told
                self._told = told
        self._obey()
        self._in_force = self._enforcement.state
        if answer.get("orders"):
            self.orders.take(answer["orders"])
        self._heals.take(answer["state"].get("healed", ()))  # last, so that whoever waited for a heal finds its circuit closed
        for listener in self._listeners:
            tell(listener, self.state)

    @property
    def resilience(self) -> Resilience:
        """The policies that this agent's calls pass; made when they are first asked for."""
        with self._making:
            if self._resilience is None:
                from resilience.executor import Resilience  # noqa: PLC0415 -- who only reports needs none of it

                self._resilience = Resilience(
                    self._settings_to_begin_with(), classifier=self._classifier, gate=self._enforcement.gate,
                    report=lambda error, service, operation, retries: self.report(error, service, operation, retry_count=retries),
                    on_circuit=self._circuits.join, heals=self._heals, recovery=lambda: self.recovery, clock=self._clock,
                )  # fmt: skip
                self._link.beat_soon()  # with what it can do to heal from now on
            return self._resilience

    def _obey(self) -> None:
        """Has the parts that there are take over what the tray has told last.

        No lock is held while they do; whoever listens to a circuit is called from here.
        """
        self._circuits.follow(self._enforcement.state.get("services", ()))
        resilience, loops, outbox, recovery = self._resilience, self._loops, self._outbox, self._recovery
        if resilience is None and loops is None and outbox is None and recovery is None:
            return
        settings = self._settings_told()
        if recovery is not None and settings is not None:
            recovery.configure(settings.checkpoint)
        if resilience is not None:
            resilience.look_again() if settings is None or settings is resilience.settings else resilience.configure(settings)
        if loops is not None:
            loops.look_again() if settings is None else loops.configure(settings.loops)
        if outbox is not None:
            if settings is not None:
                outbox.configure(settings.outbox)
            outbox.wake()

    def _settings_to_begin_with(self) -> Settings:
        """For a part that is made now: what the tray told last; the defaults where it has told nothing."""
        from resilience.config.settings import Settings  # noqa: PLC0415 -- who only reports needs none of it

        return self._settings_told() or Settings()

    def _settings_told(self) -> Settings | None:
        """The settings that the tray told last, as far as they are understood here; None where it has told none."""
        from resilience.config.settings import understood  # noqa: PLC0415 -- who only reports needs none of it

        with self._making:
            told, self._told = self._told, None
            try:
                if told is not None:
                    self._settings = understood(told)
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

                known = self._settings_to_begin_with().loops
                self._loops = AgentLoops(
                    known, self._enforcement, self._clock, self.report, self._news_to_tell, lambda: self._link.wake()
                )
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

                self._orders = AgentOrders(
                    lambda *asked: self.resilience.scale(*asked), self._news_to_tell, lambda: self._recovery
                )
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
    def recovery(self) -> AgentRecovery:
        """What saves and restores this process's states (§9.2); made when it is first asked for."""
        with self._making:
            if self._recovery is None:
                from resilience.agent.recovering import AgentRecovery  # noqa: PLC0415 -- who saves nothing needs none of it
                from resilience.recovery.checkpoints import CheckpointManager  # noqa: PLC0415

                saved = CheckpointManager(
                    self._folder / home.CHECKPOINTS, self._settings_to_begin_with().checkpoint, self._clock
                )
                self._recovery = AgentRecovery(saved, self._clock, self.report, self._news_to_tell)
            return self._recovery

    def checkpoint(
        self,
        state: Any,
        component: str | None = None,
        level: CheckpointLevel = "component",
        *,
        metadata: Mapping[str, Any] | None = None,
    ) -> Checkpoint | None:
        """Saves ``state``; it is on disk when this returns. None: checkpoints are turned off (``checkpoint.enabled``).

        Args:
            state, metadata: what JSON can hold exactly. component: what it is of; by default this agent as a whole.
            level: ``operation``, ``session``, ``component``, ``system`` or ``memory`` (§9.1).

        Raises:
            ValueError: JSON cannot hold it, it is too large, or a name is unfit; it says which.
            CheckpointError: the disk takes nothing.
        """
        return self.recovery.save(state, self.name if component is None else component, level, metadata=metadata)

    def restorer(
        self, component: str, *, check: Callable[[], object] | None = None
    ) -> Callable[[Callable[[S], R]], Callable[[S], R]]:
        """Decorates what restores a component: ``@agent.restorer("memory")`` above ``def restore(state): …``.

        It is called on a thread of ours when WinClaw recovers that component, or with ``agent.recovery.restore``. The
        component counts as restored only if that does not raise, does not return False, and the check passes.

        Args:
            component: its name; one that ends with ``*`` stands for all that begin so.
            check: asked afterwards, gives something true where all is well. Without it, and with a snapshotter, the state
                must be what was restored.

        Raises:
            ValueError: the name is unfit. TypeError: one of the functions is a coroutine function.
        """
        checked_name("a component's", component, 150)

        def decorate(function: Callable[[S], R]) -> Callable[[S], R]:
            self.recovery.register_recovery_handler(component, function, check)
            return function

        return decorate

    def snapshotter(
        self, component: str | None = None, level: CheckpointLevel = "component"
    ) -> Callable[[Callable[[], R]], Callable[[], R]]:
        """Decorates what gives the state of a component: ``@agent.snapshotter("memory", "memory")``.

        It is asked every ``checkpoint.auto_checkpoint_interval`` on a thread of ours, and before critical operations; a
        state that has not changed is not saved again.

        Raises:
            ValueError: the name is unfit. TypeError: it is a coroutine function.
        """
        chosen = self.name if component is None else component
        checked_name("a component's", chosen, 150)

        def decorate(function: Callable[[], R]) -> Callable[[], R]:
            self.recovery.register_snapshotter(chosen, function, level)
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
                    limits=self._settings_to_begin_with().outbox, why_wait=self._enforcement.why_wait,
                    protect=lambda channel, send: self.resilience.protect(channel, retry="none")(send), report=self.report,
                    classifier=self._classifier,
                )  # fmt: skip
            return self._outbox

    @property
    def transactions(self) -> TransactionManager:
        """This agent's transactions (§9.2); made when first asked for. From then on what dead processes left is undone."""
        with self._making:
            if self._transactions is None:
                from resilience.transactions.manager import TransactionManager  # noqa: PLC0415 -- few agents need it

                folder = self._folder / home.TRANSACTIONS
                self._transactions = TransactionManager(folder, self._clock, agent=self.name, report=self.report)
            return self._transactions

    def transaction(self, name: str, key: str | None = None) -> TransactionBlock:
        """Steps that are undone if they do not all succeed: ``with agent.transaction("send-report") as tx: tx.do(…, undo=…)``.

        For the arguments, and for what a block raises, see ``TransactionManager.transaction``.
        """
        return self.transactions.transaction(name, key)

    def compensation(self, name: str, *, found: Callable[[str], Any] | None = None) -> Callable[[F], F]:
        """Registers the decorated function as what undoes steps, also of processes that died; see ``TransactionManager``."""
        return self.transactions.compensation(name, found=found)

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
        critical: bool | str | Collection[str] = False,
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
            critical=critical,
        )  # fmt: skip

    def _news(self) -> dict[str, Any]:
        """What there is to tell with a heartbeat."""
        news = {
            "circuits": self._circuits.reports(),
            "loops": [] if self._loops is None else self._loops.reports(),
            "audit": self._take_audit(),
            "healers": self.orders.reports() if self._heals_something else [],
            "orders": [] if self._orders is None else self._orders.take_answers(),
        }
        return {name: said for name, said in news.items() if said}

    @property
    def _heals_something(self) -> bool:
        return any(part is not None for part in (self._orders, self._resilience, self._recovery))

    def _take_audit(self) -> list[dict[str, Any]]:
        """What was tried in Safe Mode, under names that WinClaw takes, and as many as it takes at once."""
        audit = self._enforcement.take_audit()
        self._enforcement.give_back(audit[_MOST_AUDITED:])
        return [
            {**one, "service": as_name(one["service"]), "operation": as_name(one["operation"])} for one in audit[:_MOST_AUDITED]
        ]

    def _look(self) -> float | None:
        soon = [self._loops.look() if self._loops is not None else None]
        soon.append(self._resilience.look_at_scales() if self._resilience is not None else None)
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
        if self._transactions is not None:
            self._transactions.close()
        if self._recovery is not None:
            self._recovery.close()
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
    return Agent(name, home.make_private_folder(Path(folder) if folder else home.find()), clock or SystemClock())
