"""What goes wrong in a sandbox, as the errors that say so."""

from __future__ import annotations

import pickle

from resilience.sandbox.limits import ResourceLimitExceeded, SandboxError


def test_a_limit_that_was_hit_says_which_and_how_far_and_keeps_what_was_written() -> None:
    error = ResourceLimitExceeded("max_memory_mb", 512, 600.5, b"out", b"err")
    assert str(error) == "max_memory_mb: 600.5 is more than the 512 that are allowed"
    assert (error.limit, error.allowed, error.used, error.stdout, error.stderr) == ("max_memory_mb", 512, 600.5, b"out", b"err")
    assert str(ResourceLimitExceeded("max_processes", 8, 8)) == "max_processes: all of the 8 was used"
    bare = ResourceLimitExceeded("max_processes", 1, 2)
    assert (bare.stdout, bare.stderr) == (b"", b"")


def test_a_function_that_failed_says_with_what() -> None:
    error = SandboxError("ValueError", "no x", "Traceback …")
    assert str(error) == "ValueError: no x"
    assert (error.error_type, error.message, error.traceback) == ("ValueError", "no x", "Traceback …")
    assert SandboxError("ValueError", "no x").traceback == ""


def test_both_go_from_process_to_process() -> None:
    for error in (ResourceLimitExceeded("max_memory_mb", 512, 600.5, b"out", b"err"), SandboxError("ValueError", "no x", "Traceback …")):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
