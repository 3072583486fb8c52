"""Whole transactions, of any shape, beside a plain model: exactly the steps that ran are undone, newest first."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilience.testing import immediate_retries
from resilience.transactions.steps import PAUSES_S
from tests.resilience.transactions.transacting import Way, World

STEPS = st.tuples(st.sampled_from(["succeeds", "raises", "raises late"]), st.sampled_from(["undone", "cannot be undone", "needs none"]))
PARTS = st.recursive(STEPS, lambda inner: st.tuples(st.lists(inner, min_size=1, max_size=4), st.booleans()), max_leaves=10)
PROGRAMS = st.tuples(st.lists(PARTS, min_size=1, max_size=5), st.booleans())


class EndsError(Exception):
    """How a block fails here."""


class Model:
    """What is to be called, in order, and what is there and left in the end."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.log: list[str] = []
        self.there: list[int] = []
        self.left: list[int] = []
        self.tries = len(PAUSES_S) + 1

    def block(self, nodes: list[Any], succeeds: bool) -> list[tuple[int, str]]:
        """The steps that are the outer block's when this one is over."""
        mine: list[tuple[int, str]] = []
        for first, second in nodes:
            if isinstance(first, list):
                mine += self.block(first, second)
                continue
            number = next(self.numbers)
            self.log.append(f"add {number}")
            if first == "succeeds":
                self.there.append(number)
                mine.append((number, second))
            elif first == "raises late":
                self.there.append(number)
                self.undo(number, second)
        if succeeds:
            return mine
        for number, undo in reversed(mine):
            self.undo(number, undo)
        return []

    def undo(self, number: int, how: str) -> None:
        if how == "undone":
            self.log.append(f"remove {number}")
            self.there.remove(number)
        elif how == "cannot be undone":
            self.log += [f"remove {number}"] * self.tries
            self.left.append(number)


async def carry_out(way: Way, world: World, tx: Any, nodes: list[Any], numbers: Any) -> None:
    for first, second in nodes:
        if isinstance(first, list):
            try:
                async with tx.nested("part") as part:
                    await carry_out(way, world, part, first, numbers)
                    if not second:
                        raise EndsError
            except EndsError:
                pass
            continue
        number = next(numbers)
        if first != "succeeds":
            world.fails[f"{'add' if first == 'raises' else 'after'} {number}"] = EndsError()
        if second == "cannot be undone":
            world.fails[f"remove {number}"] = ConnectionError()
        chosen = {} if second == "needs none" else {"undo": way.remove, "found": lambda key: found(world, int(key))}
        with contextlib.suppress(EndsError):
            await tx.do(way.add, number, key=str(number), **chosen)


def found(world: World, number: int) -> int:
    if number not in world.there:
        raise LookupError(number)
    return number


@pytest.mark.parametrize("kind", ["sync", "async"])
@settings(max_examples=30)
@given(program=PROGRAMS)
def test_exactly_the_steps_that_ran_are_undone_newest_first(kind: str, program: tuple[list[Any], bool]) -> None:
    nodes, succeeds = program
    model = Model()
    model.block(nodes, succeeds)
    with tempfile.TemporaryDirectory() as folder, immediate_retries():
        world = World(Path(folder))
        way = Way(world, kind)

        async def body(tx: Any) -> None:
            await carry_out(way, world, tx, nodes, itertools.count(1))
            if not succeeds:
                raise EndsError

        if succeeds:
            way.run(body)
        else:
            with pytest.raises(EndsError) as caught:
                way.run(body)
            assert hasattr(caught.value, "__notes__") == bool(model.left)
        assert world.log == model.log
        assert sorted(world.there) == sorted(model.there)
        unfinished = world.manager.unfinished()
        assert [int(left.key) for one in unfinished for left in one.left] == sorted(model.left, reverse=True)
        assert len(world.reported) == len(unfinished) == bool(model.left)
        world.fails.clear()
        world.manager.resume()
        assert sorted(world.there) == sorted(set(model.there) - set(model.left))
        assert world.manager.unfinished() == []
        world.close()
