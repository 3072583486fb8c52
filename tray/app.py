"""The composition root: every object is made here, given what it needs, started in order and stopped in reverse."""

from __future__ import annotations

import logging
import os
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from filelock import FileLock, Timeout

from dashboard.machine import machine_numbers
from dashboard.server import DashboardServer, bind
from resilience import __version__, home
from resilience.alerting.alerts import AlertChannel
from resilience.alerting.delivery import AlertDelivery
from resilience.alerting.ping import DeadMansSwitch
from resilience.alerting.senders import senders
from resilience.alerting.sending import Sender
from resilience.classification.classifier import ErrorClassifier
from resilience.clock import Clock, SystemClock
from resilience.config.settings import Settings
from resilience.context import ErrorSeverity
from resilience.core.collector import Collector
from resilience.core.core import Core, CoreBusyError
from resilience.core.last_word import LastWord
from resilience.core.sign_of_life import SignOfLife
from resilience.degradation.levels import DegradationLevel
from resilience.detection.anomaly_watch import AnomalyWatch
from resilience.detection.prober import Prober
from resilience.detection.sampler import Sampler
from resilience.detection.service_probes import ServiceProbes
from resilience.events import EventType, Report
from resilience.exporting import placing
from resilience.healing.actions import Actions
from resilience.healing.engine import SelfHealingEngine
from resilience.journal.care import JournalCare
from resilience.journal.history import History
from resilience.journal.journal import Journal
from resilience.log import LOG, EventLog
from resilience.processes.following import OutputWatch
from resilience.processes.meter import Meter
from resilience.processes.supervisor import Supervisor
from resilience.recovery.checkpoint import CheckpointDamagedError
from resilience.recovery.checkpoints import CheckpointManager
from resilience.recovery.engine import RecoveryEngine
from resilience.redaction import Redactor
from resilience.repeating import Repeating
from tray.black_box import BlackBox, say_end
from tray.config_watch import ConfigWatch
from tray.desktop import why_not
from tray.endpoint import Endpoint
from tray.signals import on_signals
from tray.startup import settings_at_start

if TYPE_CHECKING:  # it takes as long to load as all else; see running()
    from dashboard.access import Access

_ANSWERS_WITHIN_S: Final = 10.0
_KEEP_EVERY_S: Final = 5.0
_log = logging.getLogger("winclaw.app")


class AlreadyRunningError(Exception):
    """Another WinClaw of this user is running on the same WINCLAW_HOME."""


class _Part(Protocol):
    """What is started, and stopped in reverse order."""

    def start(self) -> object: ...
    def stop(self) -> object: ...


@dataclass(frozen=True, slots=True)
class Running:
    """A WinClaw that runs: the core, the dashboard's address, the way in, and what is measured."""

    core: Core
    access: Access
    settings: Settings
    url: str
    sampler: Sampler
    offer: Callable[[str, Sender], Callable[[], None]]
    """Adds a channel of alerts that only this WinClaw has; what comes back takes it away."""
    end_at_once: Callable[[], None]
    """Says goodbye and has all on disk, where the system leaves no time for more."""
    fall: Callable[[Exception], NoReturn]
    """Ends this process by an exception that nobody expected, as a crash: whoever starts WinClaw again has to see one."""


@contextmanager
def running(
    folder: Path, *, port: int | None = None, because: str = "", desktop: bool = False, whole: bool = False
) -> Iterator[Running]:
    """WinClaw without a tray: the core and the dashboard, from start to stop.

    Args:
        folder: WINCLAW_HOME, made if need be. port: instead of the configured one.
        because: why the WinClaw before this one ended, if that is known.
        desktop: whether toasts will be offered, so that those of the start wait for that.
        whole: whether this process is WinClaw and nothing else, so that whatever it dies of is written down.

    Raises:
        AlreadyRunningError: there is one on this folder. OSError: the folder or no port can be had.
        JournalError: the journal belongs to a newer version, or may not be read.
    """
    clock = SystemClock()
    home.make_private_folder(folder)
    with ExitStack() as stack:
        lock = FileLock(folder / "winclaw.lock", mode=0o600)
        try:
            stack.enter_context(lock.acquire(timeout=0))
        except Timeout as error:
            raise AlreadyRunningError(str(folder)) from error
        placing.finish(folder, clock.now())
        box = BlackBox(folder, folder / home.LOGS / LOG, clock.now()).begin_in(stack, whole=whole)
        startup = settings_at_start(folder)
        settings = startup.settings
        redactor = Redactor(settings.redaction.names)
        log = stack.enter_context(EventLog(folder / home.LOGS, redactor, settings.logging.max_file_mb, settings.logging.files))
        stack.push(say_end)
        log.begins(box.life.name)
        journal = Journal(folder / home.JOURNAL, clock.now())
        history = History(journal.path)
        stack.callback(history.close)
        notices = [startup.notice] if startup.notice is not None else []
        core = Core(journal, history, _classifier(settings, clock), redactor, clock, settings=settings, notices=notices)
        stack.callback(core.stop)
        core.start()
        core.subscribe(lambda events, _: log.events(events))
        last_word = LastWord(folder)
        last_word.write(core.state)
        core.subscribe(lambda _, state: last_word.write(state))
        listener = bind(settings.dashboard.port if port is None else port)
        life = SignOfLife(folder / home.ALIVE, clock, partial(core.answers, _ANSWERS_WITHIN_S), box.sign)
        config = ConfigWatch(folder, startup, core)
        config.begin(crashed=core.crashed_before or bool(box.deaths), away_s=life.away_s())
        prober = Prober(clock)
        stack.callback(prober.stop)
        supervisor = Supervisor(folder, core, prober, redactor, clock)
        output = OutputWatch(folder, core)

        def begin(*parts: _Part) -> None:
            for part in parts:
                part.start()
                stack.callback(part.stop)

        begin(supervisor, output)  # first, so that what an earlier WinClaw has left is taken over at once
        from dashboard.access import Access  # noqa: PLC0415 -- these two take as long to load as all else
        from dashboard.app import create_app  # noqa: PLC0415

        recovery = RecoveryEngine(core, supervisor, _checkpoints(folder, core), config.reload, clock)
        access = Access(folder, listener.getsockname()[1], clock, settings.dashboard.session_hours * 3600)
        unusual = AnomalyWatch(lambda: supervisor.uses, core)
        sampler = Sampler(core, lambda: unusual.values)
        app, stream = create_app(
            core, access, supervisor, recovery=recovery, config=config, folder=folder, policy=config.policy,
            machine=partial(machine_numbers, journal.path), lately=lambda: sampler.lately,
        )  # fmt: skip
        spools, outboxes = (home.make_private_folder(folder / name) for name in (home.SPOOL, home.OUTBOX))
        actions = Actions(folder, core, supervisor, clock, reload=config.reload, roll_back=config.heal)
        healing = SelfHealingEngine(core, actions, lambda: unusual.values, clock)
        delivery = AlertDelivery(core, partial(senders, clock), clock)
        deaths = box.tell(core, because, life.away_s())  # before anybody is answered: how it began is known to whoever asks
        core.announce(
            EventType.APP_STARTED, "winclaw", version=__version__, pid=os.getpid(), away_s=life.away_s(),
            crashed=core.crashed_before or bool(deaths), because=because, error=deaths[-1] if deaths else None,
        ).result(10)  # fmt: skip
        endpoint = Endpoint(folder, access)
        stack.callback(endpoint.withdraw)
        endpoint.publish()  # before anybody is answered: the token of the WinClaw before this one would be refused
        access.on_rotation(endpoint.publish)
        life.start()  # after the endpoint: the guardian takes an app without one for quit
        stack.callback(life.stop)

        def keep() -> None:  # what a full disk has refused
            endpoint.keep()
            last_word.write(core.state)

        begin(
            stream, DashboardServer(listener, app), config, Collector(spools, outboxes, core), Meter(supervisor, core), unusual,
            sampler, healing, ServiceProbes(core, prober, clock), delivery, DeadMansSwitch(core, clock),
            recovery, JournalCare(journal.path, folder / home.BACKUPS, core, clock), Repeating("keeping", _KEEP_EVERY_S, keep),
        )  # fmt: skip
        if desktop and settings.tray.toasts:
            delivery.expect(AlertChannel.TOAST)
        if startup.refused is not None:
            core.announce(EventType.CONFIG_REFUSED, "config", problems=startup.problems, instead=startup.instead)
        stack.callback(life.stop)  # first of all, so that an end that hangs shows

        def end_at_once() -> None:
            endpoint.withdraw()
            core.stop()
            box.goodbye()

        yield Running(core, access, settings, access.url, sampler, delivery.offer, end_at_once, partial(box.fall, log.close))
        healing.stop()  # before what it would take for trouble
        supervisor.stop()  # early, so that its last words come before ours
        output.stop()
        core.announce(EventType.APP_STOPPED, "winclaw", version=__version__).result(10)


def run(
    folder: Path,
    *,
    headless: bool,
    port: int | None,
    browser: bool,
    say: Callable[[str], None],
    because: str = "",
    guarded: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> int:
    """Runs WinClaw until its user quits; returns the exit status.

    Args:
        headless: without a tray icon. browser: whether the dashboard is opened at start.
        say: how to tell the person at the command line something, e.g. ``click.echo``.
        because: as for ``running``. guarded: what sees to it, while WinClaw runs, that somebody starts it again.

    Raises:
        As ``running``.
    """
    stopping = threading.Event()
    on_signals(stopping.set)
    reason = "it was asked for" if headless else why_not()
    with running(folder, port=port, because=because, desktop=reason is None, whole=True) as winclaw, guarded():
        try:
            say(f"WinClaw {__version__} watches over your agents. Dashboard: {winclaw.url}")
            for notice in winclaw.core.state.needs_you:
                say(f"! {notice.what} {notice.cause} {notice.action}")
            if browser:
                webbrowser.open(winclaw.access.login_link())
            if reason is not None:
                say(f"No tray icon ({reason}); the way in is: winclaw open. Stop with Ctrl-C.")
                while not stopping.wait(1.0):  # in steps, so that Windows delivers Ctrl-C
                    pass
            else:
                _with_tray(winclaw, stopping)
        except Exception as error:  # if it were tidied up, all would look as if a person had quit
            winclaw.fall(error)
    return 0


def _with_tray(winclaw: Running, stopping: threading.Event) -> None:
    """Shows the icon, until the user quits from its menu or ``stopping`` is set; the message loop is this thread's."""
    from tray.icon import TrayIcon  # noqa: PLC0415 -- fails to import where there is no desktop
    from tray.presenters import presenters  # noqa: PLC0415
    from tray.toasts import Toasts  # noqa: PLC0415

    core = winclaw.core

    def choose(level: DegradationLevel | None) -> None:
        core.set_level(level, actor="tray", origin="this machine").result(10)

    def open_dashboard(path: str) -> None:
        webbrowser.open(winclaw.access.login_link(path))

    icon = TrayIcon(state=lambda: core.state, choose=choose, open_dashboard=open_dashboard, on_session_end=winclaw.end_at_once)
    toasts = Toasts(presenters(icon.notify), open_dashboard)
    with ExitStack() as stack:
        stack.callback(core.subscribe(lambda *_: icon.changed()))
        if winclaw.settings.tray.toasts:
            stack.callback(winclaw.offer(AlertChannel.TOAST, toasts.show))
            stack.callback(toasts.stop)
        on_signals(icon.stop)
        if not stopping.is_set():  # by a signal, before there was an icon to stop
            icon.run()


def _classifier(settings: Settings, clock: Clock) -> ErrorClassifier:
    chosen = settings.classification
    return ErrorClassifier(
        default_severity=ErrorSeverity[chosen.default_severity],
        http_severity={status: ErrorSeverity[name] for status, name in chosen.http_status_mapping.items()},
        critical_components=frozenset(chosen.critical_components),
        llm_services=settings.llm_services,
        rules=chosen.rules,
        clock=clock,
    )


def _checkpoints(folder: Path, core: Core) -> CheckpointManager:
    """The checkpoints of this machine's agents; of one that proves damaged an error is reported."""

    def damaged(error: CheckpointDamagedError) -> None:
        report = Report(type=type(error).__name__, message=str(error), component="checkpoints", operation="load")
        try:
            core.report([report])
        except CoreBusyError:
            _log.warning("%s", error)

    return CheckpointManager(folder / home.CHECKPOINTS, core.state.settings.checkpoint, core.clock, damaged)
