"""An incident in one paragraph."""

from __future__ import annotations

from typing import Any

import pytest

from resilience.alerting.alerts import AlertState, Telling, TellingState
from resilience.alerting.digest import digest
from tests.resilience.alerting.stories import MOMENT, NOON, alert, at, event, one_of, told


def test_the_digest_of_an_incident_from_its_first_error_to_its_end() -> None:
    sent = [
        Telling(key=f"{number}", channel=channel, what="raised", text="x", at=NOON, state=state)
        for number, (channel, state) in enumerate([
            ("email", TellingState.DELIVERED), ("sms", TellingState.DELIVERED), ("email", TellingState.DELIVERED),
            ("sms", TellingState.FAILED),
        ])
    ]  # fmt: skip
    incident = one_of(
        alert(1, 0, 1200, component="gpt-5.2", title="LLMTimeoutError at gpt-5.2", count=42, tellings=tuple(sent),
              acknowledged_at=at(300), actor="Ada"),
        alert(2, 6, 1200, about="level", component="level", title="Degraded LLM: level 2 of 5"),
    )  # fmt: skip
    events = [
        event(1, "error", 0, "gpt-5.2", message="It was late.", error_type="LLMTimeoutError", fingerprint="f"),
        event(2, "error", 1, "gpt-5.2", message="Again.", error_type="LLMTimeoutError", fingerprint="f"),
        event(3, "circuit.opened", 5, "gpt-5.2"),
        event(4, "level.changed", 6, "level", **{"from": "FULL", "to": "DEGRADED_LLM"}),
        event(5, "heal.started", 100, "gpt-5.2", heal=3, action="restart_process", outcome="running"),
        event(6, "heal.ended", 180, "gpt-5.2", heal=3, action="restart_process", outcome="healed"),
        event(7, "circuit.closed", 1140, "gpt-5.2"),
        event(8, "level.changed", 1200, "level", **{"from": "DEGRADED_LLM", "to": "FULL"}),
    ]
    assert digest(incident, events, at(9999)) == (
        "On 2026-01-01 at 12:00:00 UTC gpt-5.2 began to fail (LLMTimeoutError at gpt-5.2, 42 times). "
        "The first error came at 12:00:00 from gpt-5.2: “It was late”. "
        "1 more alert belongs to it: Degraded LLM: level 2 of 5. "
        "The circuit of gpt-5.2 opened at 12:00:05; the level fell to Degraded LLM at 12:00:06. "
        "Heal 3 (restart process) ended well at 12:03:00. "
        "Ada acknowledged it at 12:05:00. "
        "The circuit of gpt-5.2 closed at 12:19:00; the level was Full again at 12:20:00. "
        "It was over at 12:20:00, after 20 minutes. "
        "Told: email, sms; 3 messages arrived, 1 did not."
    )


def test_a_digest_of_little_is_short() -> None:
    assert told(one_of(alert(1))) == "On 2026-01-01 at 12:00:00 UTC c1 began to fail (T1). It is not over yet, after 60 s."
    assert told(one_of(alert(1, about="agent:a", title="a gives no sign of life", count=2))).startswith(
        "On 2026-01-01 at 12:00:00 UTC it began: a gives no sign of life. It is"
    )
    assert "(T1, 2 times)" in told(one_of(alert(1, count=2)))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"message": "It\nburns", "error_type": "E"}, "came at 12:00:01 from c1: “It burns”."),
        ({"message": "Error X..."}, "came at 12:00:01 from c1: “Error X”."),
        ({"message": " ", "error_type": "E"}, "came at 12:00:01 from c1: “E”."),
        ({"message": 3, "error_type": None}, "came at 12:00:01 from c1."),
        ({}, "came at 12:00:01 from c1."),
    ],
)
def test_the_first_error_is_quoted_as_far_as_it_is_known(body: dict[str, Any], said: str) -> None:
    events = [event(9, "error", 2, message="later"), event(7, "process.failed"), event(8, "error", 1, **body)]
    assert f"The first error {said} It is" in told(one_of(alert(1)), *events)


def test_other_alerts_are_named_once_each_and_not_all_of_many() -> None:
    named = [alert(number, number, title=title) for number, title in enumerate(["A", "B", "B", "C"], start=1)]
    assert "(A). 3 more alerts belong to it: B; C. It" in told(one_of(*named))
    many = [*named, alert(5, 5, title="D"), alert(6, 6, title="E"), alert(7, 7, title="F")]
    assert "6 more alerts belong to it: B; C; D; and 2 more. It" in told(one_of(*many))
    assert "belong to it: B; C; D. It" in told(one_of(*many[:5]))
    assert "belong to it: B; C; D; and 1 more. It" in told(one_of(*many[:6]))


def test_a_circuit_that_opened_often_is_named_with_its_first_time() -> None:
    incident = one_of(alert(1), alert(2))
    events = [event(number, "circuit.opened", number, name) for number, name in enumerate(["c1", "c2", "c1", "c1"], start=1)]
    said = told(incident, *events)
    assert "The circuit of c1 opened at 12:00:01, 3 times in all; the circuit of c2 opened at 12:00:02. It" in said
    assert "c1 opened at 12:00:01, 2 times in all;" in told(incident, *events[:3])


@pytest.mark.parametrize(
    ("kinds", "is_told"),
    [
        ({"circuit.closed": 0}, True),
        ({"circuit.closed": -MOMENT}, False),
        ({"circuit.closed": 1, "circuit.opened": 2}, False),
        ({"circuit.closed": 1, "circuit.half_open": 2}, False),
        ({"circuit.closed": 1, "process.ready": 2}, True),
    ],
)
def test_a_circuit_has_closed_if_that_is_the_last_of_it(kinds: dict[str, float], is_told: bool) -> None:
    events = [event(number, kind, seconds) for number, (kind, seconds) in enumerate(kinds.items())]
    assert ("the circuit of c1 closed at 12:00:0" in told(one_of(alert(1)), *events).lower()) is is_told


# Changes of the level: the seconds, from, to; and what is said of them.
LEVELS: list[tuple[list[tuple[float, Any, Any]], str]] = [
    ([(1, "FULL", "MINIMAL"), (2, "MINIMAL", "SAFE_MODE"), (3, "SAFE_MODE", "MINIMAL")], "The level fell to Safe Mode at 12:00:02."),
    ([(1, "FULL", "MINIMAL"), (2, "MINIMAL", "FULL"), (3, "FULL", "MINIMAL")], "The level fell to Minimal at 12:00:01."),
    ([(1, None, "MINIMAL")], "The level fell to Minimal at 12:00:01."),
    ([(1, ["FULL"], "MINIMAL")], "The level fell to Minimal at 12:00:01."),
    ([(1, "MINIMAL", "DEGRADED_LLM")], ""),
    ([(1, "MINIMAL", "MINIMAL")], ""),
    ([(1, "FULL", None), (2, "FULL", "nonsense"), (3, "FULL", ["MINIMAL"])], ""),
    ([(0, "MINIMAL", "FULL")], "The level was Full again at 12:00:00."),
    ([(-1, "MINIMAL", "FULL")], ""),
    ([(1, "MINIMAL", "FULL"), (2, "FULL", "MINIMAL")], "The level fell to Minimal at 12:00:02."),
]


@pytest.mark.parametrize(("changes", "said"), LEVELS)
def test_of_the_level_the_lowest_is_told_and_that_it_is_full_again(changes: list[tuple[float, Any, Any]], said: str) -> None:
    events = [
        event(number, "level.changed", seconds, "level", **{"from": before, "to": after})
        for number, (seconds, before, after) in enumerate(changes)
    ]
    expected = f"(T1). {said} It is not" if said else "(T1). It is not"
    assert expected in told(one_of(alert(1)), *events)


def test_only_a_change_of_the_level_tells_of_the_level() -> None:
    assert "level" not in told(one_of(alert(1)), event(1, "process.failed", 1, to="MINIMAL"))


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("heal.ended", {"heal": 3, "outcome": "failed", "action": "clear_cache"}, "Heal 3 (clear cache) had not helped by 12:00:09."),
        ("heal.ended", {"heal": 3, "outcome": "rejected"}, "Heal 3 was rejected at 12:00:09."),
        ("heal.ended", {"heal": 3, "outcome": "expired"}, "Heal 3 expired at 12:00:09."),
        ("heal.ended", {"heal": 3, "outcome": "interrupted"}, "Heal 3 was interrupted at 12:00:09."),
        ("heal.ended", {"heal": 3, "outcome": ["odd"]}, "Heal 3 ended at 12:00:09."),
        ("heal.ended", {"heal": {}, "action": 7}, "A heal ended at 12:00:09."),
        ("heal.started", {"heal": 3, "outcome": "running"}, "Heal 3 has gone on since 12:00:09."),
        ("heal.waiting", {"heal": 3, "outcome": "healed"}, "Heal 3 has waited for approval since 12:00:09."),
        ("heal.escalated", {"heal": 3, "outcome": "escalated"}, "Heal 3 has needed a person since 12:00:09."),
    ],
)
def test_a_heal_is_told_as_it_stands(kind: str, body: dict[str, Any], said: str) -> None:
    assert f"(T1). {said} It" in told(one_of(alert(1)), event(1, "heal.waiting", 1, heal=body["heal"]), event(2, kind, 9, **body))


def test_of_many_heals_the_last_are_told() -> None:
    heals = [event(number, "heal.ended", number, heal=number, outcome="expired") for number in range(1, 5)]
    last = "heal {} expired at 12:00:0{}; heal {} expired at 12:00:0{}; heal {} expired at 12:00:0{}."
    assert f"(T1). Of 4 heals these were the last: {last.format(2, 2, 3, 3, 4, 4)} It" in told(one_of(alert(1)), *heals)
    assert f"(T1). H{last.format(1, 1, 2, 2, 3, 3)[1:]} It" in told(one_of(alert(1)), *heals[:3])


@pytest.mark.parametrize(
    ("actor", "said"),
    [
        ("Ada", "Ada"), ("dashboard", "Somebody at the dashboard"), ("tray", "Somebody at the tray"),
        ("command line", "Somebody at the command line"), ("", "Somebody"), ("A\u202ed\na", "A d a"),
    ],
)  # fmt: skip
def test_who_sees_to_it_is_told(actor: str, said: str) -> None:
    seen = alert(1, state=AlertState.ACKNOWLEDGED, acknowledged_at=at(5), actor=actor)
    assert f"(T1). {said} acknowledged it at 12:00:05. It" in told(one_of(seen))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0 s"), (119, "119 s"), (120, "2 minutes"), (179, "2 minutes"), (7199, "119 minutes"), (7200, "2 hours"),
        (10_799, "2 hours"), (172_799, "47 hours"), (172_800, "2 days"), (259_199, "2 days"),
    ],
)
def test_it_is_told_for_how_long_it_has_lasted(seconds: float, said: str) -> None:
    assert told(one_of(alert(1)), now_s=seconds).endswith(f" It is not over yet, after {said}.")


def test_a_moment_of_another_day_has_its_date() -> None:
    incident = one_of(alert(1, 0, 43_200))
    assert "It was over at 00:00:00 on 2026-01-02, after 12 hours." in told(incident)
    assert "opened at 11:59:59." in told(incident, event(1, "circuit.opened", -1))


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ("delivered", "1 message arrived."), ("failed", "no message arrived, 1 did not."),
        ("delivered delivered waiting", "2 messages arrived, 1 on the way."),
        ("waiting sending failed", "no message arrived, 1 did not, 2 on the way."),
    ],
)
def test_it_is_told_how_many_messages_arrived(states: str, said: str) -> None:
    sent = tuple(
        Telling(key=f"{number}", channel="sms", what="raised", text="x", at=NOON, state=TellingState(state))
        for number, state in enumerate(states.split())
    )
    assert told(one_of(alert(1, tellings=sent))).endswith(f" Told: sms; {said}")


def test_the_texts_of_others_stay_on_their_line_and_short() -> None:
    said = told(one_of(alert(1, component="a\r\n\x00b", title=f"<b>\u202e\u2028{'x' * 157}")))
    assert f"UTC a b began to fail (<b> {'x' * 155}…). It" in said
    assert f"({'x' * 160})" in told(one_of(alert(1, title="x" * 160)))
    assert said.isprintable()
