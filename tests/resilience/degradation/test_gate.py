"""The feature gate: which flag forbids a call at a level, and what a refusal says."""

from __future__ import annotations

import pickle

import pytest

from resilience.degradation.gate import SERVICE_FEATURES, FeatureDisabledError, IsolatedError, LoopPausedError, blocking_feature
from resilience.degradation.levels import FEATURES, DegradationLevel
from resilience.refusals import RefusedError

GATES = {"mail": "enable_mail", "files": None}
ON, OFF, SAFE = {"enable_mail": True}, {"enable_mail": False}, {"enable_mail": False, "read_only_mode": True}


@pytest.mark.parametrize(
    ("service", "features", "read_only", "blocked_by"),
    [
        ("mail", ON, False, None),
        ("mail", ON, True, None),
        ("mail", OFF, False, "enable_mail"),
        ("mail", OFF, True, "enable_mail"),
        ("mail", {}, False, "enable_mail"),  # a flag that a level's row lacks is off
        ("files", OFF, False, None),  # needs none
        ("stranger", OFF, False, None),
        # In Safe Mode calls that only read may happen, where no flag is against it.
        ("files", SAFE, False, "read_only_mode"),
        ("stranger", SAFE, False, "read_only_mode"),
        ("mail", SAFE, False, "read_only_mode"),
        ("files", SAFE, True, None),
        ("mail", SAFE, True, "enable_mail"),
        ("mail", {**ON, "read_only_mode": False}, False, None),
    ],
)
def test_a_call_needs_its_services_flag(service: str, features: dict[str, bool], read_only: bool, blocked_by: str | None) -> None:
    assert blocking_feature(service, features, GATES, read_only) == blocked_by


def test_a_service_that_the_level_is_due_to_may_be_probed() -> None:
    """A gate that refused its circuit's probes would keep the level down for ever."""
    assert blocking_feature("mail", OFF, GATES, False, probing={"mail"}) is None
    assert blocking_feature("mail", OFF, GATES, False, probing={"another"}) == "enable_mail"
    assert blocking_feature("mail", SAFE, GATES, False, probing={"mail"}) == "read_only_mode"


def test_every_flag_that_a_service_needs_exists_and_is_on_at_full() -> None:
    assert {flag for flag in SERVICE_FEATURES.values() if flag} <= set(FEATURES[DegradationLevel.FULL])
    full = FEATURES[DegradationLevel.FULL]
    assert [one for one in SERVICE_FEATURES if blocking_feature(one, full, SERVICE_FEATURES, False)] == []


REFUSALS: list[tuple[RefusedError, str, dict[str, object]]] = [
    (
        FeatureDisabledError("mail", "enable_mail", "MINIMAL", "the disk is full"),
        "mail is not allowed at level MINIMAL (enable_mail): the disk is full",
        {
            "gate": "feature", "service": "mail", "feature": "enable_mail", "level": "MINIMAL",
            "cause": "the disk is full", "retry_after_s": None,
        },
    ),
    (
        IsolatedError("mail", "it floods us", 7.5),
        "mail is isolated: it floods us",
        {"gate": "isolation", "component": "mail", "because": "it floods us", "retry_after_s": 7.5},
    ),
    (
        LoopPausedError("research", "enable_all_loops", "MINIMAL", "the disk is full"),
        "the loop research pauses at level MINIMAL (enable_all_loops): the disk is full",
        {
            "gate": "loop", "loop": "research", "feature": "enable_all_loops", "level": "MINIMAL",
            "cause": "the disk is full", "retry_after_s": None,
        },
    ),
]  # fmt: skip


@pytest.mark.parametrize(("refusal", "said", "reason"), REFUSALS, ids=lambda one: type(one).__name__)
def test_a_refusal_says_why_in_words_and_as_data_also_in_another_process(
    refusal: RefusedError, said: str, reason: dict[str, object]
) -> None:
    for one in (refusal, pickle.loads(pickle.dumps(refusal))):
        assert str(one) == said
        assert one.reason == reason


def test_nobody_knows_when_an_isolation_ends_unless_it_says_so() -> None:
    assert IsolatedError("mail", "by hand").retry_after_s is None
