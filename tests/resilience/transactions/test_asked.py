"""What can be a step: whose argument is whose, and which functions can be waited for."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from resilience.transactions.asked import Asked, asked_for, step_name


def with_key(what: int, *, key: str = "") -> str:
    return key


def plain(what: int) -> int:
    return what


def undo(_: object) -> None:
    """Nothing."""


def ask(function: Any, **chosen: Any) -> Asked:
    given: dict[str, Any] = {"undo": None, "keep": None, "key": None, "found": None} | chosen
    return asked_for(function, (1,), {"a": 2}, given["undo"], given["keep"], given["key"], given["found"])


def test_a_step_is_as_it_was_asked_for() -> None:
    assert ask(plain, undo=undo, keep=str, key="k", found=undo) == Asked(plain, (1,), {"a": 2}, undo, str, "k", undo)
    assert ask(with_key, undo=undo) == Asked(with_key, (1,), {"a": 2}, undo, None, None, None)


@pytest.mark.parametrize(("name", "value"), [("undo", undo), ("keep", str), ("key", "k"), ("found", undo)])
def test_an_argument_that_both_have_is_refused_unless_it_was_bound_before(name: str, value: Any) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def own({name}=None): ...\ndef own_only(*, {name}): ...\ndef any_of(**{name}): ...\ndef first({name}, /): ...", namespace)  # noqa: S102 -- four functions that differ by a name
    for function in (namespace["own"], namespace["own_only"]):
        said = f"^{function.__name__} has a parameter {name} of its own, and so has do; hand over functools.partial\\({function.__name__}, {name}=…\\)$"
        with pytest.raises(TypeError, match=said):
            ask(function, **{name: value})
        assert ask(function).function is function
        assert ask(functools.partial(function), **{name: value}) is not None
    assert ask(namespace["any_of"], **{name: value}) is not None
    assert ask(namespace["first"], **{name: value}) is not None


def test_a_function_that_does_not_say_its_parameters_has_none_of_ours() -> None:
    assert ask(dict.fromkeys, undo=undo) is not None
    assert ask(int, undo=undo) is not None
    assert ask(type, undo=undo) is not None


def generator(*_: object) -> Iterator[None]:
    yield


async def stream(*_: object) -> AsyncIterator[None]:
    yield


async def later(_: object) -> None:
    """Nothing."""


@pytest.mark.parametrize("function", [generator, stream])
def test_what_works_after_the_call_can_be_no_step_and_undoes_none(function: Any) -> None:
    for chosen in ({"function": function}, {"function": plain, "undo": function}, {"function": plain, "found": function, "undo": undo}):
        with pytest.raises(TypeError, match="generator"):
            ask(**chosen)


def test_what_is_kept_is_taken_at_once() -> None:
    with pytest.raises(TypeError, match=r"^keep=later is a coroutine function; what is kept is taken from the result at once$"):
        ask(plain, keep=later)


def test_the_key_is_a_key() -> None:
    with pytest.raises(ValueError, match=r"^a step's key has 1 to 200 characters"):
        ask(plain, key="")


class AnObject:
    def __call__(self) -> None:
        """Nothing."""


def test_a_step_is_called_as_its_function() -> None:
    assert step_name(plain) == "plain"
    assert step_name(functools.partial(functools.partial(plain, 1))) == "plain"
    assert step_name(AnObject()) == "AnObject"
    long = functools.partial(plain)

    def other() -> None:
        """Nothing."""

    other.__qualname__ = "x" * 300
    assert step_name(other) == "x" * 200
    assert step_name(long) == "plain"
