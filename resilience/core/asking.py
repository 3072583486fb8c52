"""Having agents do something: an order goes out with the state, and the answers come in with heartbeats."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from resilience.clock import Clock
from resilience.core.core import Core
from resilience.core.inputs import OrderGiven
from resilience.core.orders import Order

_ANSWER_S: Final = 20.0
_COMMIT_S: Final = 10.0


def ask_agents(
    core: Core, clock: Clock, action: str, component: str, agents: Sequence[str], parameters: Mapping[str, float | str]
) -> dict[str, tuple[bool, str]]:
    """Orders ``agents`` to do ``action`` for ``component``, and waits for their answers.

    Returns:
        Of each agent, whether it has done it, and what it said; one that does not answer within 20 s has not.

    Raises:
        CoreBusyError, JournalError, TimeoutError: the core takes no order just now.
    """
    key = secrets.token_hex(8)
    order = Order(id=key, action=action, component=component, parameters=parameters, agents=tuple(agents))
    core.tell(OrderGiven(key, order)).result(_COMMIT_S)
    end_s = clock.monotonic() + _ANSWER_S
    state = core.state
    while (left_s := end_s - clock.monotonic()) > 0 and state.orders[key].agents:
        state = core.wait_for_change(state.version, min(left_s, 1.0))
    answers = state.orders[key].answers
    core.tell(OrderGiven(key, None)).result(_COMMIT_S)
    said = {name: (one.done, one.what) for name, one in answers.items()}
    return {name: said.get(name, (False, f"no answer within {_ANSWER_S:g} s")) for name in agents}
