"""Having agents do something: an order goes out with the state, and the answers come in with heartbeats."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from resilience.clock import Clock
from resilience.core.core import Core, CoreBusyError
from resilience.core.inputs import OrderGiven
from resilience.core.orders import Order
from resilience.core.presence import AgentKey
from resilience.events import OrderAnswer
from resilience.journal.journal import JournalError

_ANSWER_S: Final = 20.0
_COMMIT_S: Final = 10.0
_PAUSES_S: Final = (0.25, 0.5, 1.0, 2.0)
_NO_ANSWER: Final = f"no answer within {_ANSWER_S:g} s"
_log = logging.getLogger("winclaw.core")


def ask_agents(
    core: Core, clock: Clock, action: str, component: str, agents: Sequence[str], parameters: Mapping[str, float | str]
) -> dict[str, tuple[bool, str]]:
    """Orders ``agents`` to do ``action`` for ``component``, and waits for their answers.

    Returns:
        Of each agent, whether it has done it, and what it said; one that does not answer within 20 s has not.

    Raises:
        CoreBusyError, JournalError, TimeoutError: the core takes no order just now.
    """
    order = Order(id=secrets.token_hex(8), action=action, component=component, parameters=parameters, agents=tuple(agents))
    answers = _answers(core, clock, order, lambda: False)
    return {name: _said(answers.get(name), _NO_ANSWER) for name in agents}


def ask_processes(
    core: Core,
    clock: Clock,
    action: str,
    component: str,
    processes: Sequence[AgentKey],
    parameters: Mapping[str, float | str],
    is_over: Callable[[], bool] = lambda: False,
) -> dict[AgentKey, tuple[bool | None, str]]:
    """The same of certain processes of agents, each of which answers for itself; one that ends is not waited for.

    Args:
        is_over: whether nobody wants their answers any more.

    Returns:
        As above; None where the process has gone without an answer.
    """
    names = tuple(sorted({name for name, _ in processes}))
    order = Order(
        id=secrets.token_hex(8), action=action, component=component, parameters=parameters, agents=names,
        processes=tuple(processes),
    )  # fmt: skip
    answers = _answers(core, clock, order, is_over)
    there = {key for key, one in core.state.agents.items() if one.alive}
    gone = {key: (None, "it has gone without an answer") for key in processes if key not in there and key not in answers}
    return {key: gone.get(key) or _said(answers.get(key), _NO_ANSWER) for key in processes}


def _answers(
    core: Core, clock: Clock, order: Order, is_over: Callable[[], bool]
) -> Mapping[str | AgentKey, OrderAnswer]:
    core.tell(OrderGiven(order.id, order)).result(_COMMIT_S)
    end_s = clock.monotonic() + _ANSWER_S
    state = core.state
    while (left_s := end_s - clock.monotonic()) > 0 and not is_over():
        waits = state.orders[order.id]
        alive = any((one := state.agents.get(key)) is not None and one.alive for key in waits.processes)
        if not alive and (order.processes or not waits.agents):
            break
        state = core.wait_for_change(state.version, min(left_s, 1.0))
    answers = core.state.orders[order.id].answers
    _withdraw(core, clock, order.id)
    return answers


def _withdraw(core: Core, clock: Clock, key: str) -> None:
    """Takes an order back; what was done by it is done, whether the core takes anything just now or not."""
    for pause_s in _PAUSES_S:
        try:
            core.tell(OrderGiven(key, None)).result(_COMMIT_S)
        except (CoreBusyError, JournalError):
            clock.sleep(pause_s)
        else:
            return
    _log.warning("the order %s could not be taken back; it stays until WinClaw ends", key)


def _said(answer: OrderAnswer | None, otherwise: str) -> tuple[bool, str]:
    return (False, otherwise) if answer is None else (answer.done, answer.what)
