"""An agent that does all that survives its death, without a pause, until it is killed: ``python -m tests.busy_agent FILE URL``.

It reports errors, sends messages to URL through its outbox, saves checkpoints, does transactions, and notes in FILE, a line each,
what it was told is safe: ``e TEXT`` an error's message, ``m KEY`` a message's key, ``c NUMBER`` what a checkpoint holds, ``t NAME`` a
transaction that was committed. The first line, ``r NUMBER``, is what it found in the last checkpoint of the one before it.

A transaction books two parts in the file ``ledger`` beside FILE; some of them fail on purpose. ``booked`` reads that file.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path

import resilience
from resilience.outbox.message import Message

PAUSE_S = 0.02
COMPONENT = "busy-agent"


def booked(ledger: Path) -> Counter[str]:
    """How often each thing in it is booked now, by the first word of its line; a line that was cut off is none."""
    found: Counter[str] = Counter()
    for line in ledger.read_text().splitlines(keepends=True) if ledger.exists() else []:
        if line.endswith("\n"):
            found[line[2:-1]] += 1 if line[0] == "+" else -1
    return found


def main() -> None:
    notes, url = Path(sys.argv[1]), sys.argv[2]
    agent = resilience.connect(COMPONENT)
    ledger = notes.with_name("ledger")

    def book(what: str) -> str:
        with ledger.open("ab", buffering=0) as file:
            file.write(f"+ {what}\n".encode())
        return what

    def find(key: str) -> str:
        if not booked(ledger)[key]:
            raise LookupError(key)
        return key

    @agent.compensation("cancel", found=find)
    def cancel(key: str) -> None:
        if booked(ledger)[key]:  # it may be asked twice, where it was killed in between
            with ledger.open("ab", buffering=0) as file:
                file.write(f"- {key}\n".encode())

    def trade(name: str, fails: bool) -> None:
        with agent.transaction("trade") as tx:
            for part in ("buy", "sell"):
                tx.do(book, f"{name}/{part}", undo=cancel, key=f"{name}/{part}")
            if fails:
                raise KeyError(name)

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
            if number % 4 == 0:
                name = f"{notes.stem}.{number}"
                with contextlib.suppress(KeyError):
                    trade(name, fails=number % 3 == 0)
                    safe("t", name)
            time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
