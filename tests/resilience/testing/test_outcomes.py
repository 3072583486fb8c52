"""The errors that faults raise: new ones, with the same contents."""

from __future__ import annotations

import traceback

import httpx
import openai
import pytest

from resilience.errors import RateLimitError
from resilience.testing import Faults
from tests.resilience.testing.called import CodeError, greet


def refused() -> openai.RateLimitError:
    response = httpx.Response(429, request=httpx.Request("POST", "https://localhost"))
    return openai.RateLimitError("slow down", response=response, body=None)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("gone"), FileNotFoundError(2, "missing", "a.txt"), KeyError("key"), CodeError(111, host="here"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), ImportError("no", name="module"), RateLimitError("wait", retry_after_s=3),
        ExceptionGroup("both", [KeyError(1), OSError(2)]), refused(),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_each_call_raises_a_new_object_with_the_same_contents(error: Exception) -> None:
    error.__cause__ = OSError("below")
    error.add_note("noted")
    faults, depths, raised = Faults(), set(), []
    faults.fail(error)
    call = faults(greet)
    for _ in range(3):
        with pytest.raises(type(error)) as caught:
            call()
        caught.value.add_note("noted by who caught it")
        depths.add(len(traceback.extract_tb(caught.value.__traceback__)))
        raised.append(caught.value)
    assert len({id(one) for one in (error, *raised)}) == 4
    assert len(depths) == 1
    for one in raised:
        assert (str(one), one.args, one.__cause__) == (str(error), error.args, error.__cause__)
        assert one.__notes__ == ["noted", "noted by who caught it"]
        for name in ("errno", "filename", "host", "reason", "name", "retry_after_s", "exceptions", "response"):
            assert getattr(one, name, None) == getattr(error, name, None)
    assert error.__traceback__ is None


def test_a_function_makes_the_error_when_it_is_due_and_not_before() -> None:
    made: list[OSError] = []

    def make() -> OSError:
        made.append(OSError(len(made)))
        return made[-1]

    faults = Faults()
    faults.fail(make)
    assert made == []
    for number in range(2):
        with pytest.raises(OSError, match=str(number)) as caught:
            faults(greet)()
        assert caught.value is made[number]


def test_a_function_that_makes_no_exception_is_told() -> None:
    faults = Faults()
    faults.fail(lambda: "oops")  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match="made 'oops', which is no exception"):
        faults(greet)()
