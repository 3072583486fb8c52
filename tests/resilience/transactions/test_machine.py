"""Transactions beside a plain model, through failures, failing compensations, parts, deaths, and replays, in any order."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from resilience.testing import FakeClock
from resilience.transactions.manager import TransactionManager
from resilience.transactions.steps import CompensationFailedError
from tests.resilience.transactions.transacting import NoThread

KEYS = st.sampled_from([None, "a", "b"])


class Done(NamedTuple):
    """A step of the model that has happened."""

    what: int
    undo: str


class StepFailedError(Exception):
    """What a step raises here."""


class TransactionMachine(RuleBasedStateMachine):
    """One agent, one transaction at a time, its process now and then dying; ``there`` is what the world has of its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.folder, self.clock = Path(tempfile.mkdtemp()), FakeClock()
        self.there: list[int] = []  # the real world
        self.undone: list[int] = []
        self.expected: list[int] = []  # the model's
        self.left: dict[int, list[Done]] = {}  # of transactions that ended badly, by number
        self.committed: dict[str, list[int]] = {}
        self.broken = False
        self.count = self.transactions = 0
        self.key: str | None = None
        self.blocks: list[Any] = []
        self.scopes: list[list[Done]] = []
        self.results: list[int] = []
        self.keys: dict[int, str | None] = {}
        self.begin_process()

    def begin_process(self) -> None:
        self.manager: TransactionManager = NoThread(self.folder, self.clock, agent="clerk")
        self.manager.compensation("remove", found=self.found)(self.remove)

    def add(self, what: int, outcome: str) -> int:
        if outcome == "raises":
            raise StepFailedError
        self.there.append(what)
        if outcome == "raises late":
            raise StepFailedError
        return what

    def found(self, key: str) -> int:
        what = int(key)
        if what not in self.there:
            raise LookupError(key)
        return what

    def remove(self, what: int) -> None:
        if self.broken:
            raise ConnectionError
        self.there.remove(what)
        self.undone.append(what)

    def remove_privately(self, what: int) -> None:
        self.remove(what)

    # What the model says

    def undo(self, number: int, steps: list[Done]) -> None:
        """Newest first, all that can be undone; the rest is left."""
        for step in sorted(steps, reverse=True):
            if step.undo == "none":
                continue
            if self.broken or step.undo == "lost":
                self.left.setdefault(number, []).append(step)
            else:
                self.expected.remove(step.what)

    @property
    def runs(self) -> bool:
        return bool(self.blocks)

    # What happens

    @precondition(lambda self: not self.runs)
    @rule(key=KEYS)
    def begin(self, key: str | None) -> None:
        block = self.manager.transaction("t", key)
        if key in self.committed:
            with block as tx:
                assert tx.is_replay
                assert [tx.do(self.add, 0, "raises") for _ in self.committed[key]] == self.committed[key]
            return
        of_key = [number for number in self.left if self.keys[number] == key and key is not None]
        try:
            self.blocks = [block.__enter__()]
        except CompensationFailedError:
            self.try_again(of_key)
            assert of_key[0] in self.left
            return
        self.try_again(of_key)
        assert not [number for number in of_key if number in self.left]
        self.transactions += 1
        self.keys[self.transactions] = key
        self.key, self.scopes, self.results = key, [[]], []

    @precondition(lambda self: self.runs)
    @rule(undos=st.lists(st.sampled_from(["registered", "private", "none"]), min_size=1, max_size=4))
    def steps(self, undos: list[str]) -> None:
        for undo in undos:
            self.count += 1
            chosen = {"registered": self.remove, "private": self.remove_privately, "none": None}[undo]
            assert self.blocks[-1].do(self.add, self.count, "succeeds", undo=chosen, key=str(self.count)) == self.count
            self.expected.append(self.count)
            self.scopes[-1].append(Done(self.count, undo))
            self.results.append(self.count)

    @precondition(lambda self: self.runs and self.key is None)
    @rule(late=st.booleans())
    def step_that_fails(self, late: bool) -> None:
        self.count += 1
        with suppress(StepFailedError):
            self.blocks[-1].do(self.add, self.count, "raises late" if late else "raises", undo=self.remove, key=str(self.count))
        if late:
            self.expected.append(self.count)
            self.undo(self.transactions, [Done(self.count, "registered")])

    @precondition(lambda self: self.runs and len(self.blocks) < 4)
    @rule()
    def enter_part(self) -> None:
        self.blocks.append(self.blocks[-1].nested("part").__enter__())
        self.scopes.append([])

    @precondition(lambda self: len(self.blocks) > 1)
    @rule()
    def part_succeeds(self) -> None:
        self.blocks.pop().__exit__(None, None, None)
        steps = self.scopes.pop()
        self.scopes[-1] += steps

    @precondition(lambda self: len(self.blocks) > 1 and self.key is None)
    @rule()
    def part_fails(self) -> None:
        error = StepFailedError()
        self.blocks.pop().__exit__(StepFailedError, error, None)
        self.undo(self.transactions, self.scopes.pop())

    @precondition(lambda self: len(self.blocks) == 1 and self.count)
    @rule()
    def succeeds(self) -> None:
        self.blocks.pop().__exit__(None, None, None)
        if self.key is not None:
            self.committed[self.key] = self.results

    @precondition(lambda self: self.runs)
    @rule()
    def fails(self) -> None:
        before = len(self.undone)
        error = StepFailedError()
        while self.blocks:
            self.blocks.pop().__exit__(StepFailedError, error, None)
            self.undo(self.transactions, self.scopes.pop())
        assert self.undone[before:] == sorted(self.undone[before:], reverse=True)
        assert hasattr(error, "__notes__") == (self.transactions in self.left)

    @precondition(lambda self: self.runs or self.left)
    @rule()
    def dies(self) -> None:
        """Its lock goes; the next process of the agent undoes what it can."""
        steps = [step for scope in self.scopes for step in scope] if self.runs else []
        unwritten = [*self.left.get(self.transactions, []), *steps] if self.runs else None
        self.blocks, self.scopes = [], []
        held = self.manager._ground.owners._held
        if held is not None:
            held.close()
        self.manager._ground.file.close()
        for number, lefts in self.left.items():
            self.left[number] = [self.lost(step) for step in lefts]
        self.begin_process()
        before = len(self.undone)
        self.manager.look()
        if unwritten is not None:
            self.left.pop(self.transactions, None)
            self.undo(self.transactions, [self.lost(step) for step in unwritten])
        others = [number for number in self.left if number != self.transactions or unwritten is None]
        self.try_again(others)
        if len(others) == 0:
            assert self.undone[before:] == sorted(self.undone[before:], reverse=True)

    @staticmethod
    def lost(step: Done) -> Done:
        return Done(step.what, "lost" if step.undo == "private" else step.undo)

    @precondition(lambda self: not self.runs and self.left)
    @rule()
    def resume(self) -> None:
        self.manager.resume()
        self.try_again(list(self.left))

    @precondition(lambda self: self.runs or self.left)
    @rule()
    def breaks_or_mends(self) -> None:
        self.broken = not self.broken

    def try_again(self, numbers: list[int]) -> None:
        for number in numbers:
            self.undo(number, self.left.pop(number))

    @invariant()
    def exactly_what_the_model_says_is_there(self) -> None:
        assert sorted(self.there) == sorted(self.expected)

    @invariant()
    def what_is_left_stands_in_the_file(self) -> None:
        if not self.runs:
            found = [[(left.number, left.key) for left in one.left] for one in self.manager.unfinished()]
            keys = sorted(sorted((int(key) for _, key in one), reverse=True) for one in found)
            assert keys == sorted(sorted((step.what for step in steps), reverse=True) for steps in self.left.values())

    def teardown(self) -> None:
        if self.runs:
            self.fails()
        self.manager.close()
        shutil.rmtree(self.folder)


TransactionMachine.TestCase.settings = settings(max_examples=20, stateful_step_count=40, deadline=None)
TestTransactions = TransactionMachine.TestCase
