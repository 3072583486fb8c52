"""An agent's report is taken whatever lies in its metadata: it is cleaned and bounded, never lost."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from resilience.agent.client import Agent, connect
from resilience.agent.spool import Spool
from resilience.events import Report


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Unreadable(Mapping[str, Any]):
    def __getitem__(self, name: str) -> Any:
        raise KeyError(name)

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no names")


def endless() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found["a"] = found["b"] = found
    return found


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    one = connect("fits", folder=tmp_path)
    one._link.stop()
    yield one
    one.close()


def told(agent: Agent) -> Report:
    """The one report that waits, as WinClaw decodes it."""
    (line,) = agent._spool.peek()
    assert len(line) < 1_000_000
    return msgspec.json.decode(line, type=Report)


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (Mute(), "(a Mute whose words cannot be read: RuntimeError)"),
        (Unreadable(), "(a Unreadable that cannot be read: RuntimeError)"),
        ({Mute(): 1}, {"(a Mute whose words cannot be read: RuntimeError)": 1}),
        (float("nan"), "nan"),
        ([float("-inf"), 0.5], ["-inf", 0.5]),
        ("a\ud800", "a?"),
        ({"\ud800": {"": 1}}, {"?": {"unknown": 1}}),
        (2**70, str(2**70)),
        (Path("ghp_abcdefghijklmnopqrstuvwxyz"), "[redacted]"),
    ],
)
def test_whatever_a_value_is_the_report_is_taken(agent: Agent, value: object, seen: object) -> None:
    """Such a report raised, or WinClaw refused it whole; and a secret in an object's words reached the disk."""
    agent.report(ValueError("x"), "c", odd=value, tries=3)
    metadata = told(agent).metadata
    assert (metadata["odd"], metadata["tries"]) == (seen, 3)


@pytest.mark.parametrize("name", ["", "k" * 201, "\ud800", "a\0b", "token=abc " * 20])
def test_whatever_a_value_is_called_the_report_is_taken(agent: Agent, name: str) -> None:
    agent.report(ValueError("x"), "c", **{name: 1, "tries": 3})
    assert len(told(agent).metadata) == 3


def test_what_holds_itself_comes_to_an_end(agent: Agent) -> None:
    agent.report(ValueError("x"), "c", odd=endless())
    assert told(agent).message == "x"


def test_of_too_much_the_largest_is_left_out_and_named(agent: Agent) -> None:
    agent.report(ValueError("x"), "c", prompt="word " * 300_000, answer="y" * 500_000, tries=3)
    metadata = told(agent).metadata
    assert (metadata["prompt"], len(metadata["answer"]), metadata["tries"]) == ("(left out: 1,500,002 bytes)", 500_000, 3)


def test_texts_that_json_makes_six_times_as_long_are_bounded_too(agent: Agent) -> None:
    error = ValueError("\N{SNOWMAN}" * 20_000)
    for _ in range(20):
        outer = ValueError("\N{SNOWMAN}" * 20_000)
        outer.__cause__ = error
        error = outer
    agent.report(error, "c", **{f"{n}" + "k" * 190: n for n in range(5_000)})
    assert told(agent).metadata["left_out"] == "5001 values, and causes"


def test_a_text_that_grows_when_its_secrets_go_is_cut_again(agent: Agent) -> None:
    agent.report(ValueError("token=abc " * 1_000), "c")
    assert told(agent).message.startswith("token=[redacted] ")


def test_a_report_that_fails_for_any_reason_raises_nothing(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(agent._spool, "append", fail)
    assert agent.report(ValueError("x"), "c").component == "c"
    assert "an error could not be reported" in caplog.text


def test_a_run_of_dropped_reports_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(tmp_path, max_mb=0.0001)
    with caplog.at_level(logging.WARNING, "winclaw.agent"):
        for _ in range(2):
            for _ in range(5):
                spool.append({"text": "x" * 20})
            while lines := spool.peek():
                assert json.loads(lines[0])
                spool.acknowledge(lines)
    spool.close()
    assert caplog.messages == ["reports are dropped from now on, until there is room again: 0.0001 MB wait for WinClaw already"] * 2
