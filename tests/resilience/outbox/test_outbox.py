"""The outbox: what it takes, what it refuses with a reason, and its thread."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resilience import locked
from resilience.clock import SystemClock
from resilience.outbox.file import OutboxError, OutboxFullError
from resilience.outbox.message import Message, UnfitMessageError
from resilience.outbox.outbox import Outbox
from resilience.policies import OutboxLimits
from tests.resilience.outbox.conftest import FAST, ROOT, Desk

# Accepting


def test_what_is_sent_reaches_its_sender_as_it_was(desk: Desk) -> None:
    payload = {"to": "ä\ud800\x00", "n": [1, 2.5, -0.0, None, True, 10**400], "": {}}
    key = desk.outbox.send("mail", payload)
    assert desk.outbox.waiting() == {"mail": 1}
    at = desk.clock.now()
    desk.register("mail")
    desk.run()
    assert desk.sent == [Message(channel="mail", key=key, payload=payload, at=at, attempt=1, in_doubt=False)]
    assert desk.outbox.waiting() == {}


def test_what_was_accepted_is_there_for_the_next_process(tmp_path: Path) -> None:
    first = Desk(tmp_path)
    keys = [first.outbox.send("mail", number) for number in range(3)]
    first.outbox.close()
    second = Desk(tmp_path)
    second.register("mail")
    second.run(10)
    assert second.keys == keys
    second.outbox.close()


def test_a_key_is_taken_once_for_each_channel(desk: Desk) -> None:
    assert desk.outbox.send("mail", 1, key="a") == desk.outbox.send("mail", 2, key="a") == "a"
    desk.outbox.send("chat", 3, key="a")
    desk.register("mail", "chat")
    desk.run(10)
    desk.outbox.send("mail", 4, key="a")
    desk.run(10)
    assert [(message.channel, message.payload) for message in desk.sent] == [("mail", 1), ("chat", 3)]


def test_a_key_is_forgotten_when_its_time_is_over(desk: Desk) -> None:
    desk.register("mail")
    for days, sent in ((0, 1), (29, 1), (1.1, 2)):
        desk.clock.advance(days * 86_400)
        desk.run()
        desk.outbox.send("mail", None, key="a")
        desk.run()
        assert len(desk.sent) == sent


@pytest.mark.parametrize(
    ("payload", "place"),
    [
        (float("nan"), r"payload is nan"),
        ({"a": [1, float("inf")]}, r"payload\['a'\]\[1\] is inf"),
        ({"a": {1, 2}}, r"payload\['a'\] is a builtins.set"),
        ([object()], r"payload\[0\] is a builtins.object"),
        ({"a": {1: 2}}, r"payload\['a'\] has the key 1, a int"),
        ((1, 2), r"payload is a builtins.tuple"),
        (b"x", r"payload is a builtins.bytes"),
        (10**5000, "cannot be written as JSON"),
        ("x" * 256_000, r"256\.0 kB as JSON, and 256 kB is the limit \(max_payload_kb\)"),
    ],
    ids="nan infinity set object int-key tuple bytes huge-int large".split(),
)
def test_what_json_cannot_hold_exactly_is_refused_with_its_place(desk: Desk, payload: object, place: str) -> None:
    with pytest.raises(UnfitMessageError, match=place):
        desk.outbox.send("mail", payload)
    assert desk.outbox.waiting() == {}


def test_a_payload_that_holds_itself_is_refused(desk: Desk) -> None:
    payload: list[Any] = []
    payload.append(payload)
    with pytest.raises(UnfitMessageError, match="holds itself"):
        desk.outbox.send("mail", payload)


@pytest.mark.parametrize("name", ["", "x" * 201, 7, None, "\ud800"])
def test_a_channel_or_key_that_is_no_name_is_refused(desk: Desk, name: Any) -> None:
    with pytest.raises(UnfitMessageError, match="channel"):
        desk.outbox.send(name, 1)
    if name is not None:
        with pytest.raises(UnfitMessageError, match="key"):
            desk.outbox.send("mail", 1, key=name)


@pytest.mark.parametrize("lifetime_s", [0, -1, float("nan"), float("inf"), 1e12, "1"])
def test_an_impossible_lifetime_is_refused(desk: Desk, lifetime_s: Any) -> None:
    with pytest.raises(UnfitMessageError, match="expires_in_s"):
        desk.outbox.send("mail", 1, expires_in_s=lifetime_s)


def test_a_full_outbox_says_so_and_takes_known_keys_and_later_ones(desk: Desk) -> None:
    desk.outbox.configure(OutboxLimits(max_messages=2))
    for key in "ab":
        desk.outbox.send("mail", 1, key=key)
    with pytest.raises(OutboxFullError, match=r"2 messages wait in .*max_messages"):
        desk.outbox.send("chat", 1)
    assert desk.outbox.send("mail", 1, key="a") == "a"
    desk.register("mail")
    desk.run()
    desk.outbox.send("chat", 1)


def test_impossible_limits_are_refused_and_the_old_ones_stay(desk: Desk) -> None:
    with pytest.raises(ValueError, match="drain_per_s"):
        desk.outbox.configure(OutboxLimits(drain_per_s=0.0))
    desk.outbox.send("mail", 1)


def test_a_closed_outbox_refuses(desk: Desk) -> None:
    desk.outbox.close()
    with pytest.raises(OutboxError, match="closed"):
        desk.outbox.send("mail", 1)
    assert desk.outbox.step() is None


def test_a_generator_is_no_sender(desk: Desk) -> None:
    with pytest.raises(TypeError, match="generator"):

        @desk.outbox.sender("mail")
        def post(message: Message) -> Iterator[None]:
            yield


# The thread


@pytest.fixture
def threaded(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path, "mailer", SystemClock(), limits=FAST)
    yield outbox
    outbox.close()


def test_the_thread_delivers_and_a_defect_does_not_end_it(threaded: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    sent = []

    @threaded.sender("mail")
    def post(message: Message) -> None:
        sent.append(message.key)
        if len(sent) == 1:
            raise SystemExit

    threaded.send("mail", 1, key="a")
    threaded.send("mail", 1, key="b")
    assert threaded.flush(60)
    assert sent == ["a", "a", "b"]
    assert "an unexpected fault in the outbox" in caplog.text
    assert "winclaw-outbox" in {thread.name for thread in threading.enumerate()}


def test_closing_waits_for_the_message_in_hand(threaded: Outbox) -> None:
    began, go_on = threading.Event(), threading.Event()

    @threaded.sender("mail")
    def post(message: Message) -> None:
        began.set()
        go_on.wait(60)

    threaded.send("mail", 1)
    assert began.wait(60)
    closing = threading.Thread(target=threaded.close)
    closing.start()
    go_on.set()
    closing.join(60)
    assert threaded.waiting() == {}
    lock = locked.take(threaded.path.with_suffix(".lock"))
    assert lock is not None
    lock.close()
    threaded._store.close()


def test_flush_says_when_something_still_waits(threaded: Outbox) -> None:
    threaded.send("mail", 1)
    assert threaded.flush(0.01) is False


def test_a_sender_may_send(threaded: Outbox) -> None:
    threaded.sender("mail")(lambda message: threaded.send("log", message.key))
    logged: list[str] = []
    threaded.sender("log")(lambda message: logged.append(message.payload))
    threaded.send("mail", 1, key="a")
    assert threaded.flush(60)
    assert logged == ["a"]


# The documentation


def test_the_examples_in_the_documentation_run(tmp_path: Path) -> None:
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "outbox.md").read_text("utf-8"), re.MULTILINE | re.DOTALL))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "WINCLAW_HOME": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_every_limit_is_documented_with_its_default() -> None:
    text = (ROOT / "docs" / "outbox.md").read_text("utf-8")
    for name in OutboxLimits.__struct_fields__:
        assert f"| `{name}` | {getattr(OutboxLimits(), name):g} |" in text
