"""Transactions (§9): steps with compensations, journalled before each step, undone if they do not all succeed.

The steps that ran are undone newest first: where the block raises or is cancelled at once, and where its process dies by
the next process of the agent, as soon as that has registered the compensations.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from resilience import home
from resilience.clock import Clock, SystemClock
from resilience.forking import at_fork
from resilience.transactions.file import Resumption, TransactionError, Unfinished
from resilience.transactions.ground import Ground
from resilience.transactions.prepared import Transaction
from resilience.transactions.running import Run
from resilience.transactions.steps import checked_text
from resilience.transactions.transaction import TransactionBlock
from resilience.transactions.undoing import Compensation
from resilience.wrapping import refuse_generators

LOOK_EVERY_S: Final = 5.0
_CLOSE_S: Final = 5.0
_F = TypeVar("_F", bound=Callable[..., Any])
_log = logging.getLogger("winclaw.transactions")


class TransactionManager:
    """An agent's transactions, also without ``connect`` (§9). Any thread may call; nothing is opened before it is needed.

    Args:
        folder: where the files of all agents lie; by default in WINCLAW_HOME. agent: whose they are; all processes of that
            name share them, and undo what one of them leaves when it dies.
        keep_days: how long the keys of committed transactions are known.
        report: told (error, component, operation) of steps that are left undone, and of a damaged file.

    Attributes:
        active_transactions: those of ``begin_transaction`` that are neither committed nor rolled back, by name (§9.2).

    Raises:
        ValueError: a name or the number of days is not possible.
    """

    def __init__(
        self,
        folder: Path | str | None = None,
        clock: Clock | None = None,
        *,
        agent: str = "alone",
        keep_days: float = 30.0,
        report: Callable[[Exception, str, str], Any] = lambda _error, _component, _operation: None,
    ) -> None:
        if not 0 < keep_days <= 3650:
            raise ValueError(f"keep_days={keep_days!r} is not possible: more than 0, and at most 3650")
        place = Path(folder) if folder is not None else home.find() / home.TRANSACTIONS
        self._ground = Ground(place, checked_text("an agent's name", agent), clock or SystemClock(), report, keep_days)
        self.active_transactions: dict[str, Transaction] = {}
        self._thread: threading.Thread | None = None
        self._looking = threading.RLock()
        self._news = threading.Condition()
        self._has_news = False
        at_fork(in_child=self._in_child)

    @property
    def path(self) -> Path:
        """The file in which the transactions are journalled."""
        return self._ground.path

    def transaction(self, name: str, key: str | None = None) -> TransactionBlock:
        """A transaction: ``with …transaction("send-report") as tx: tx.do(create, title, undo=delete)``, or ``async with``.

        Args:
            name: what it does. key: what makes it the same one. Once committed under a key, it calls nothing any more:
                each step gives what was kept of it, for ``keep_days``.

        Raises:
            ValueError: the name or the key has not 1 to 200 characters. Where the block begins:
            TransactionError: it cannot be written down. TransactionBusyError: one of this key is under way.
            CompensationFailedError: what was left of one of this key cannot be undone; see to it, then ``dismiss`` it.
        """
        block = TransactionBlock(Run(self._ground, name, key))
        self._start()
        return block

    def compensation(self, name: str, *, found: Callable[[str], Any] | None = None) -> Callable[[_F], _F]:
        """Registers the decorated function, plain or coroutine, as what undoes steps, in this process and the next ones.

        Args:
            name: under which it stands in the file; the last one registered counts.
            found: called with the key of a step of which nobody knows whether it happened, because its process died in
                it: gives what was kept of it, or raises ``LookupError`` if it has not happened.

        Raises:
            ValueError: the name has not 1 to 200 characters. TypeError: a generator undoes nothing.
        """
        checked_text("a compensation's name", name)

        def register(function: _F) -> _F:
            refuse_generators(function)
            self._ground.registered[name] = Compensation(name, function, found)
            self._start()
            self._wake()
            return function

        return register

    def is_registered(self, function: Callable[..., Any]) -> bool:
        """Whether ``function`` is a registered compensation."""
        return self._ground.known_as(function) is not None

    def resume(self) -> list[Resumption]:
        """Undoes at once what was left in the middle, also what has failed before; returns what became of each.

        A transaction whose compensations are not all registered here is not touched; it says so in ``left``.

        Raises:
            TransactionError: the file cannot be used now.
        """
        with self._looking:
            return self._ground.resume()

    def look(self) -> None:
        """One pass of the thread ``winclaw-transactions``: undoes what dead processes have left, as far as that is possible.

        Raises:
            TransactionError: the file cannot be used now.
        """
        with self._looking:
            if not self._ground.closed:
                self._ground.look()

    def unfinished(self) -> list[Unfinished]:
        """The transactions of this agent that are under way, or of which something is left undone, oldest first.

        Raises:
            TransactionError: the file cannot be used now.
        """
        return self._ground.unfinished()

    def dismiss(self, id_: str) -> bool:
        """Says that a person has seen to what is left of a transaction; False if nothing is.

        Raises:
            ValueError: it is under way. TransactionError: the file cannot be used now.
        """
        return self._ground.dismiss(id_)

    def close(self) -> None:
        """Ends the thread and lets go of the file; a step that is being undone has 5 seconds to end."""
        with self._news:
            self._ground.closed = True
            self._news.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_CLOSE_S)
        self._ground.close()

    # The document's own way (§9.2)

    def begin_transaction(self, name: str) -> Transaction:
        """A transaction whose steps are added first and then executed together, by ``commit``.

        Raises:
            ValueError: the name has not 1 to 200 characters, or one of that name is active.
        """
        active = self.active_transactions.get(name)
        if active is not None and not active.is_over:
            raise ValueError(f"a transaction {name!r} is active already; commit it or roll it back first, or take another name")
        transaction = Transaction(name, self, clock=self._ground.clock)
        self.active_transactions[name] = transaction
        return transaction

    async def commit(self, name: str) -> bool:
        """Executes the transaction of that name; False if it failed and is undone, its ``error`` says why.

        Raises:
            ValueError: none of that name is active. Whatever is no ``Exception``, such as a cancellation.
        """
        transaction = self.active_transactions.get(name)
        if transaction is None:
            raise ValueError(f"Transaction {name} not found")
        try:
            return await transaction.execute()
        finally:
            self._over(name, transaction)

    async def rollback(self, name: str) -> None:
        """Gives the transaction of that name up; nothing where none is active."""
        transaction = self.active_transactions.get(name)
        if transaction is not None:
            try:
                await transaction.rollback()
            finally:
                self._over(name, transaction)

    def _over(self, name: str, transaction: Transaction) -> None:
        if transaction.is_over and self.active_transactions.get(name) is transaction:
            del self.active_transactions[name]

    def _start(self) -> None:
        with self._news:
            if self._thread is None and not self._ground.closed:
                self._thread = threading.Thread(target=self._work, name="winclaw-transactions", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # the interpreter is ending; the next process undoes what is left
                    self._thread = None

    def _wake(self) -> None:
        with self._news:
            self._has_news = True
            self._news.notify_all()

    def _work(self) -> None:
        while not self._ground.closed:
            try:
                self.look()
            except TransactionError as error:
                _log.warning("%s", error)
            except BaseException:  # neither a defect nor a compensation that exits ends the thread
                _log.exception("an unexpected fault in the transactions")
            with self._news:
                self._news.wait_for(lambda: self._ground.closed or self._has_news, LOOK_EVERY_S)
                self._has_news = False

    def _in_child(self) -> None:
        """A forked child is another process: what its parent has begun, its parent ends."""
        self._looking, self._news = threading.RLock(), threading.Condition()
        self._thread, self._has_news = None, False
        self._ground.begin_anew()


__all__ = ["Resumption", "TransactionManager", "Unfinished"]
