"""One outbox that threads, processes and forked children use at the same time."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

import pytest

from resilience.outbox.outbox import LOOK_AGAIN_S
from tests.resilience.outbox.conftest import Desk


def test_one_of_several_delivers_and_another_takes_over(tmp_path: Path) -> None:
    one, other = Desk(tmp_path), Desk(tmp_path)
    one.register("mail")
    other.register("mail")
    one.outbox.step()
    other.outbox.send("mail", 1, key="a")
    assert other.outbox.step() == LOOK_AGAIN_S
    one.run()
    assert (one.keys, other.keys) == (["a"], [])
    one.outbox.close()
    other.outbox.send("mail", 2, key="b")
    other.run(5)
    assert other.keys == ["b"]
    other.outbox.close()


def test_many_threads_may_send(desk: Desk) -> None:
    def send(thread: int) -> None:
        for number in range(20):
            desk.outbox.send("mail", [thread, number])
            desk.outbox.send("mail", "shared", key=f"shared-{number}")

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    desk.register("mail")
    desk.run(100)
    payloads = [message.payload for message in desk.sent]
    assert payloads.count("shared") == 20
    for thread_number in range(4):
        assert [one for one in payloads if one[0] == thread_number] == [[thread_number, number] for number in range(20)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_sends_and_its_parent_delivers(desk: Desk) -> None:
    desk.register("mail")
    desk.outbox.send("mail", 1, key="parent-1")
    desk.run()
    file = desk.outbox._store._file
    child = os.fork()
    assert file._conn is None
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            desk.outbox.send("mail", 2, key="child")
            code = 0 if desk.outbox.step() == LOOK_AGAIN_S else 2
            desk.outbox.close()
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    desk.outbox.send("mail", 3, key="parent-2")
    desk.run(10)
    assert desk.keys == ["parent-1", "child", "parent-2"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_does_not_keep_its_parents_lock(tmp_path: Path) -> None:
    parent, other = Desk(tmp_path), Desk(tmp_path)
    parent.register("mail")
    other.register("mail")
    parent.run()
    wait, go_on = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go_on)
        os.read(wait, 1)
        os._exit(0)
    parent.outbox.close()
    other.outbox.send("mail", 1, key="a")
    other.run()
    assert other.keys == ["a"]
    os.close(go_on)
    os.close(wait)
    os.waitpid(child, 0)
    other.outbox.close()
