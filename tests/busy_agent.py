"""An agent that does all that survives its death, without a pause, until it is killed: ``python -m tests.busy_agent FILE URL``.

It reports errors, sends messages to URL through its outbox, saves checkpoints, and notes in FILE, a line each, what it was told
is safe: ``e TEXT`` an error's message, ``m KEY`` a message's key, ``c NUMBER`` what a checkpoint holds. The first line, ``r NUMBER``,
is what it found in the last checkpoint of the one before it.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from pathlib import Path

import resilience
from resilience.outbox.message import Message

PAUSE_S = 0.02
COMPONENT = "busy-agent"


def main() -> None:
    notes, url = Path(sys.argv[1]), sys.argv[2]
    agent = resilience.connect(COMPONENT)

    @agent.outbox.sender("courier")
    def send(message: Message) -> None:
        body = json.dumps({"key": message.key, "payload": message.payload}).encode()
        urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"}), timeout=10).close()

    with notes.open("ab", buffering=0) as file:

        def safe(what: str, which: object) -> None:
            file.write(f"{what} {which}\n".encode())

        before = agent.recovery.checkpoint_manager.get_latest_checkpoint(COMPONENT)
        number = 0 if before is None else int(before.state["number"])
        safe("r", number)
        while True:
            number += 1
            text = f"call {notes.stem}.{number}"
            agent.report(TimeoutError(text), "gpt-5.2", "steady")
            safe("e", text)
            if number % 5 == 0:
                safe("m", agent.outbox.send("courier", {"text": text}, key=f"{notes.stem}.{number}"))
            if number % 7 == 0:
                agent.checkpoint({"number": number}, COMPONENT)
                safe("c", number)
            time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
