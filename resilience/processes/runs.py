"""The runs of supervised processes: begun, waited for, asked, ended, and written down for the next WinClaw."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from resilience import home
from resilience.detection.policy import Probe
from resilience.detection.prober import Prober
from resilience.detection.status import ProbeStatus
from resilience.processes import records
from resilience.processes.policy import Process
from resilience.processes.records import ProcessRecord
from resilience.processes.spawning import Running, start
from resilience.processes.supervision import Ended, Happening, ProcessState, Ready, Silent, Supervised

_PROBE_EVERY_S: Final = 1.0
_log = logging.getLogger("winclaw.processes")


class Runs:
    """The present run of each process, by its name. One thread changes it, any may ask for a name; it never waits.

    Args:
        folder: WINCLAW_HOME. owner: what the tokens of its processes begin with.
        tell: given what happens to a run, on other threads.
    """

    def __init__(self, folder: Path, owner: str, prober: Prober, tell: Callable[[str, Happening], None]) -> None:
        self._home, self._folder, self._owner = folder, folder / home.PROCESSES, owner
        self._prober, self._tell = prober, tell
        self._running: dict[str, Running] = {}

    def start(self, name: str, policy: Process) -> Running:
        """Starts a program in its own folder.

        Raises:
            Exception: it could not be started, for whatever reason.
        """
        return start(policy, self._folder / name, self._home, records.token_for(self._owner, name))

    def watch(self, name: str, run: int, running: Running) -> None:
        """Has the end of a run told, by a thread of its own, which then looks for what has got away from it."""

        def wait() -> None:
            self._tell(name, Ended(run, running.wait()))
            running.sweep()

        self._running[name] = running
        threading.Thread(target=wait, name=f"wait-{name}", daemon=True).start()

    def ask(self, name: str, run: int, probe: Probe | None) -> bool:
        """Has a run asked from now on whether it answers; False where it cannot be asked."""
        if probe is None:
            self._prober.forget(_probe_name(name))
            return False
        well = False

        def heard(status: ProbeStatus) -> None:  # on the thread that looked
            nonlocal well
            if status.well is True and not well:
                self._tell(name, Ready(run))
            elif status.well is False and well:
                self._tell(name, Silent(run, status.what, status.failing_s or 0.0))
            well = status.well is True

        self._prober.watch(_probe_name(name), probe, heard, interval_s=_PROBE_EVERY_S)
        return True

    def over(self, name: str) -> None:
        """The present run has ended."""
        self._running.pop(name, None)
        self._prober.forget(_probe_name(name))

    def ask_to_stop(self, name: str, signal_name: str) -> None:
        """Asks the present run to end."""
        self._running[name].ask_to_stop(signal_name)

    def kill(self, name: str) -> None:
        """Ends the present run with all that it has started, on a thread of its own."""
        threading.Thread(target=self._running[name].kill, name=f"kill-{name}", daemon=True).start()

    def keep(self, name: str, one: Supervised) -> None:
        """Writes down where a process stands."""
        running = self._running.get(name)
        record = ProcessRecord(
            identity=running.identity if running is not None else None, run=one.run,
            stopped=one.state is ProcessState.STOPPED or (one.state is ProcessState.STOPPING and one.then == "stay"),
            failed=one.why if one.state is ProcessState.FAILED else "",
        )  # fmt: skip
        try:
            records.write(self._folder / name / records.RECORD, record)
        except OSError:  # it goes on running; the next WinClaw finds it by its token
            _log.exception("what is known of the process %s could not be written down", name)


def _probe_name(name: str) -> str:
    return f"process:{name}"
