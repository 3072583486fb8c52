"""What healing asks of agents, who can do it, and when an order is answered."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from resilience.core.orders import Order, Orders, can, heard
from resilience.events import Heartbeat, OrderAnswer

ORDERS: Orders = MappingProxyType(
    {
        "o1": Order(id="o1", action="clear_cache", component="llm", parameters={"share": 0.5}, agents=("a", "b")),
        "o2": Order(id="o2", action="reconnect", component="db", agents=("b",)),
    }
)


def beat(agent: str, *answers: OrderAnswer) -> Heartbeat:
    return Heartbeat(agent=agent, orders=answers)


def test_an_answer_is_kept_with_its_agent_and_that_agent_is_not_waited_for_any_more() -> None:
    no, yes = OrderAnswer(id="o1", done=False, what="it is locked"), OrderAnswer(id="o1", done=True)
    after = heard(heard(ORDERS, beat("a", no)), beat("b", yes))
    assert after["o1"].agents == ()
    assert after["o1"].answers == {"a": no, "b": yes}
    assert after["o2"] == ORDERS["o2"], "the other order waits as before"


def test_one_heartbeat_may_answer_several_orders() -> None:
    one, two = OrderAnswer(id="o1", done=True), OrderAnswer(id="o2", done=True)
    after = heard(ORDERS, beat("b", one, two))
    assert [order.agents for order in after.values()] == [("a",), ()]
    assert after["o1"].answers == {"b": one}
    assert after["o2"].answers == {"b": two}


@pytest.mark.parametrize(
    "said",
    [
        beat("a"),
        beat("a", OrderAnswer(id="never given", done=True)),
        beat("stranger", OrderAnswer(id="o1", done=True)),
    ],
    ids=["says nothing", "unknown order", "was not asked"],
)
def test_what_answers_no_order_leaves_the_very_same(said: Heartbeat) -> None:
    """So nobody stores or publishes it again."""
    assert heard(ORDERS, said) is ORDERS


def test_the_first_answer_of_an_agent_counts() -> None:
    once = heard(ORDERS, beat("a", OrderAnswer(id="o1", done=False)))
    assert heard(once, beat("a", OrderAnswer(id="o1", done=True))) is once


def test_an_unknown_order_does_not_hide_the_answers_after_it() -> None:
    after = heard(ORDERS, beat("a", OrderAnswer(id="never given", done=True), OrderAnswer(id="o1", done=True)))
    assert after["o1"].agents == ("b",)


def test_an_agent_gets_of_an_order_what_it_needs_to_do_it() -> None:
    assert ORDERS["o1"].view() == {"id": "o1", "action": "clear_cache", "component": "llm", "parameters": {"share": 0.5}}


@pytest.mark.parametrize(
    ("healers", "component", "able"),
    [
        (("clear_cache:llm",), "llm", True),
        (("clear_cache:llm",), "db", False),
        (("clear_cache:*",), "db", True),
        (("reconnect:llm", "clear_cache:llm"), "llm", True),
        (("reconnect:llm",), "llm", False),
        ((), "llm", False),
        # Asked for all that it has, one thing is enough.
        (("reconnect:db", "clear_cache:llm"), "*", True),
        (("clear_cache:api:v2",), "*", True),
        (("reconnect:llm",), "*", False),
        (("clear_cache_and_more:llm",), "*", False),
        ((), "*", False),
    ],
)
def test_who_can_do_an_order(healers: tuple[str, ...], component: str, able: bool) -> None:
    assert can(healers, "clear_cache", component) is able


TO_PROCESSES: Orders = MappingProxyType(
    {"r": Order(id="r", action="restore", component="m", agents=("bot",), processes=(("bot", 7), ("bot", 8)))}
)


def test_of_an_order_for_certain_processes_each_answers_for_itself() -> None:
    """Processes may share a name; what one has done, another has not."""
    no, yes = OrderAnswer(id="r", done=False, what="its check did not pass"), OrderAnswer(id="r", done=True)
    once = heard(TO_PROCESSES, Heartbeat(agent="bot", pid=8, orders=(no,)))
    assert (once["r"].agents, once["r"].processes) == (("bot",), (("bot", 7),))
    assert once["r"].view()["pids"] == [7]
    after = heard(once, Heartbeat(agent="bot", pid=7, orders=(yes,)))
    assert (after["r"].agents, after["r"].processes) == ((), ())
    assert after["r"].answers == {("bot", 8): no, ("bot", 7): yes}


@pytest.mark.parametrize("beat", [Heartbeat(agent="bot", pid=9), Heartbeat(agent="bot"), Heartbeat(agent="other", pid=7)])
def test_a_process_that_was_not_asked_answers_no_order_of_its_name(beat: Heartbeat) -> None:
    told = Heartbeat(agent=beat.agent, pid=beat.pid, orders=(OrderAnswer(id="r", done=False, what="nothing here can restore m"),))
    assert heard(TO_PROCESSES, told) is TO_PROCESSES


def test_an_order_for_certain_processes_says_which() -> None:
    assert TO_PROCESSES["r"].view() == {"id": "r", "action": "restore", "component": "m", "parameters": {}, "pids": [7, 8]}
