"""What of a process's settings goes together, and the order in which processes start."""

from __future__ import annotations

from typing import Any

import pytest

from resilience.detection.policy import Probe
from resilience.processes.policy import Process, not_startable, start_order


def program(**chosen: Any) -> Process:
    return Process(**{"command": ("agent",), **chosen})


@pytest.mark.parametrize(
    ("chosen", "wrong"),
    [
        ({}, []),
        ({"command": ()}, [("command", "names no program")]),
        ({"command": ("", "x")}, [("command", "names no program")]),
        ({"environment": {"PATH": "/bin", "KEY": "env:KEY", "LITERAL": "env", "SHORT": "env:K", "EMPTY": "", "MY_WINCLAW_NAME": "x"}}, []),
        ({"environment": {"A=B": "x"}}, [("environment.A=B", "cannot be the name of a variable")]),
        ({"environment": {"WINCLAW_HOME": "x"}}, [("environment.WINCLAW_HOME", "is WinClaw's own")]),
        ({"environment": {"winclaw_home": "env:"}}, [("environment.winclaw_home", "is WinClaw's own")]),
        ({"environment": {"WINCLAW_=": "x"}}, [("environment.WINCLAW_=", "cannot be the name of a variable")]),
        ({"environment": {"KEY": "env:", "OTHER": "env:"}},
         [("environment.KEY", "names no variable behind env:"), ("environment.OTHER", "names no variable behind env:")]),
    ],
)  # fmt: skip
def test_what_no_system_could_start_is_refused(chosen: dict[str, Any], wrong: list[tuple[str, str]]) -> None:
    assert list(program(**chosen).contradictions()) == wrong


def test_it_is_asked_by_its_own_probe_else_at_its_port_else_not_at_all() -> None:
    probe = Probe(http="http://127.0.0.1:9/health")
    assert program(probe=probe, port=8).asked is probe
    assert program(port=8).asked == Probe(tcp="localhost:8")
    assert program().asked is None


@pytest.mark.parametrize("name", ["con", "NUL", "com1", "lpt9", "aux.log", "Gateway"])
def test_names_that_windows_cannot_keep_apart_are_refused(name: str) -> None:
    """Each process has a folder of its name: devices are none, not even with an ending, and case does not count."""
    processes = {"gateway": program(), name: program(), "console": program(), "com": program()}
    assert list(not_startable(processes)) == [
        (f"processes.{name}", "Windows cannot tell this name from another one; choose another")
    ]


def test_what_a_process_needs_must_be_there() -> None:
    processes = {"a": program(depends_on=("b", "c")), "b": program(depends_on=("d",))}
    assert list(not_startable(processes)) == [
        ("processes.a.depends_on", "there is no process 'c'"), ("processes.b.depends_on", "there is no process 'd'"),
    ]  # fmt: skip


def test_processes_that_wait_for_each_other_are_refused_with_their_circle() -> None:
    processes = {name: program(depends_on=needs) for name, needs in (("a", ("b",)), ("b", ("c",)), ("c", ("b",)))}
    assert list(not_startable(processes)) == [("processes", "they wait for each other for ever: b → c → b")]


@pytest.mark.parametrize(
    ("needs", "order"),
    [
        ({}, []),
        ({"a": (), "b": ()}, ["a", "b"]),
        ({"a": ("b",), "b": ()}, ["b", "a"]),
        ({"a": ("b", "c"), "b": ("d",), "c": ("d",), "d": ()}, ["d", "b", "c", "a"]),
        ({"a": ("elsewhere", "b"), "b": ()}, ["b", "a"]),
    ],
)
def test_each_stands_behind_what_it_needs_and_once(needs: dict[str, tuple[str, ...]], order: list[str]) -> None:
    assert start_order(needs) == order


def test_a_process_that_needs_itself_is_a_circle() -> None:
    with pytest.raises(ValueError, match=r"^a → a$"):
        start_order({"a": ("a",)})
