"""Lives of a WinClaw that are there to be killed: ``python -m tests.resilience.alerting.life JOURNAL URL``, told on its input.

Where processes can fork, each line is a life, and ``ended`` is said after it; elsewhere there is one.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from resilience.alerting.alerts import Alert, Telling
from resilience.alerting.channels import Channel, Channels, WebhookChannel
from resilience.alerting.delivery import AlertDelivery
from resilience.alerting.policy import Alerting
from resilience.alerting.senders import senders
from resilience.alerting.sending import Sender
from resilience.clock import Clock, SystemClock
from resilience.config.settings import Settings
from resilience.core.core import Core
from resilience.events import Report
from resilience.journal.journal import Journal
from tests.resilience.core.cores import core_on, end

FORKS: Final = hasattr(os, "fork")
OFF: Final = Channel(enabled=False)


def say(word: object) -> None:
    os.write(1, f"{word}\n".encode())


def up_to_the_claim(component: str, clock: Clock, channels: Channels) -> Iterator[tuple[str, Sender]]:
    """The real senders, but what is told of ``component`` is claimed and gets no further."""
    for name, send in senders(clock, channels):

        def sends(alert: Alert, telling: Telling, send: Sender = send) -> str:
            if alert.cause.component == component:
                say("claimed")
                threading.Event().wait()
            return send(alert, telling)

        yield name, sends


def until_all_is_told(core: Core) -> None:
    while any(any(alert.open_tellings) for alert in core.state.alerts.values()):
        core.wait_for_change(core.state.version, 10)


def live(journal: Path, url: str, how: str, component: str) -> None:
    """Says its number; ``finishes`` what is left to tell, or reports an error of ``component`` and waits for its end."""
    clock = SystemClock()
    channels = Channels(webhook=WebhookChannel(enabled=True, url=url), log=OFF, dashboard=OFF)
    core = core_on(Journal(journal, clock.now()), clock, Settings(alerting=Alerting(channels=channels)))
    ways = partial(up_to_the_claim, component, clock) if how == "claimed" else partial(senders, clock)
    delivery = AlertDelivery(core, ways, clock)
    if how != "decided":
        delivery.start()
    if how == "answered":  # the kill may come when the next message is under way, which would be in doubt, too; there is none
        until_all_is_told(core)
    say(os.getpid())
    if how == "finishes":
        until_all_is_told(core)
    elif sys.stdin.readline():  # the test knows the number now
        error = Report(type="MemoryError", message="it burns", component=component, operation="cook", severity="FATAL")
        core.report([error]).result(30)
        say("reported")
        sys.stdin.readline()  # never comes, unless the test is gone
    delivery.stop()
    end([core])


def main(journal: str, url: str) -> None:
    for line in iter(sys.stdin.readline, ""):
        if FORKS and (child := os.fork()):
            os.waitpid(child, 0)
            say("ended")
        else:
            live(Path(journal), url, *line.split())
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
