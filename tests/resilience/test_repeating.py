from __future__ import annotations

import threading

from resilience.repeating import Repeating


def test_a_fault_does_not_end_it_and_more_is_done_without_a_pause() -> None:
    calls, done = [], threading.Event()

    def look() -> bool:
        calls.append(len(calls))
        if len(calls) == 1:
            raise RuntimeError("broken")
        if len(calls) == 5:
            done.set()
        return 1 < len(calls) < 5

    one = Repeating("it", 0.01, look)
    one.start()
    assert done.wait(10)
    one.stop()
    assert calls[:5] == [0, 1, 2, 3, 4]


def test_it_ends_while_it_waits() -> None:
    looked = threading.Event()
    one = Repeating("it", 3600, looked.set)
    one.start()
    assert looked.wait(10)
    one.stop()
    assert not one._thread.is_alive()


def test_one_that_never_began_can_be_ended() -> None:
    Repeating("it", 1, lambda: None).stop()


def test_how_long_it_rests_is_asked_each_time() -> None:
    rests, calls, done = iter([0.0, 0.01, 3600.0]), [], threading.Event()

    def look() -> None:
        calls.append(None)
        if len(calls) == 3:
            done.set()

    one = Repeating("it", lambda: next(rests), look)
    one.start()
    assert done.wait(10)
    one.stop()
    assert len(calls) == 3
