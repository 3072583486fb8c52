"""What an error's structure says, piece by piece, and why."""

from __future__ import annotations

from typing import Any

import pytest

from resilience import errors as e
from resilience.classification.evidence import Evidence
from resilience.classification.known_errors import class_of_status, diagnose, is_bad_certificate


def shown(*names: str, **more: Any) -> Evidence:
    return Evidence(names=names or ("x.Odd", "Odd"), **more)


@pytest.mark.parametrize(
    ("evidence", "kind", "why"),
    [
        (shown(code="insufficient_quota"), e.LLMError, "its code is insufficient_quota: the credit is used up; waiting does not bring it back"),
        (shown(code="SlowDown"), e.ThrottlingError, "its code is SlowDown"),
        (shown(code="SQLITE_BUSY_SNAPSHOT"), e.ResourceTransientError, "its code is SQLITE_BUSY_SNAPSHOT"),
        (shown(code="ECONNREFUSED"), e.NetworkTransientError, "the system says ECONNREFUSED"),
        (shown(status=500), e.InternalServerError, "it has the HTTP status 500"),
        (shown(errno="ENOSPC"), e.DiskSpaceError, "the system says ENOSPC"),
        (shown(errno="EODD"), e.SystemCallError, "the system says EODD"),
        (shown(exit=0), e.ProcessError, "a process ended with status 0"),
        (shown(exit=1), e.ProcessError, "a process ended with status 1"),
        (shown(exit=0x7FFF_FFFF), e.ProcessError, "a process ended with status 2147483647"),
        (shown(exit=0x8000_0000), e.ProcessError, "a process ended with status 0x80000000"),
        (shown(exit=0xC000_0005), e.ProcessError, "a process ended with status 0xC0000005"),
        (shown(exit=-15), e.ProcessError, "a process ended with SIGTERM"),
        (shown(exit=-1000), e.ProcessError, "a process ended with signal 1000"),
        (shown("builtins.KeyError", "KeyError"), e.PersistentError, "its class is KeyError; the same call would fail the same way"),
        (shown("a.MissingKey", "MissingKey", "KeyError"), e.PersistentError, "its class is a.MissingKey, below KeyError; the same call would fail the same way"),
        (shown("builtins.MemoryError", "MemoryError"), e.MemoryPressureError, "its class is MemoryError"),
        (shown("subprocess.CalledProcessError", "CalledProcessError", exit=2), e.ProcessError,
         "its class is subprocess.CalledProcessError, and the process ended with status 2"),
        (shown("RateLimitError"), e.RateLimitError, "it was reported as RateLimitError"),
        (shown("transient.network.rate_limit"), e.RateLimitError, "it was reported as RateLimitError"),
        (shown("resilience.errors.RateLimitError", "RateLimitError"), e.RateLimitError, "it was raised as RateLimitError"),
        (shown("mine.Sub", "Sub", "mine.RateLimitError", "RateLimitError"), e.RateLimitError, "its class is called RateLimitError"),
        (shown(), None, ""),
    ],
)  # fmt: skip
def test_each_piece_decides_and_is_said(evidence: Evidence, kind: type | None, why: str) -> None:
    assert diagnose(evidence) == (kind, why, evidence)


@pytest.mark.parametrize(("status", "kind"), [(418, e.ValidationError), (499, e.ValidationError), (500, e.InternalServerError), (599, e.ServiceTransientError)])
def test_a_status_that_is_in_no_table_is_judged_by_its_hundred(status: int, kind: type) -> None:
    assert class_of_status(status) is kind


def test_a_cause_that_is_more_precise_decides_and_one_that_was_wanted_does_not() -> None:
    refused = shown("builtins.ConnectionRefusedError", "ConnectionRefusedError", errno="ECONNREFUSED")
    above = shown("x.Odd", "Odd", cause=refused)
    assert diagnose(above) == (e.NetworkTransientError, "it was caused by ConnectionRefusedError: the system says ECONNREFUSED", refused)
    handled = shown("x.Odd", "Odd", cause=refused, is_explicit=False)
    assert diagnose(handled)[1] == "it came up while handling ConnectionRefusedError: the system says ECONNREFUSED"
    cancelled = shown("asyncio.exceptions.CancelledError", "CancelledError", errno="ECONNREFUSED")
    above = shown("x.Odd", "Odd", cause=cancelled)
    assert diagnose(above) == (None, "", above)


@pytest.mark.parametrize("outright", ["NetworkTransientError", "transient.network"])
def test_nobody_knows_better_than_who_says_it_outright(outright: str) -> None:
    above = shown(outright, cause=shown("RateLimitError"))
    assert diagnose(above)[0] is e.NetworkTransientError


def test_a_certificate_that_was_refused_is_known_by_its_class_or_its_code() -> None:
    assert is_bad_certificate(shown("ssl.SSLCertVerificationError", "SSLCertVerificationError"))
    assert is_bad_certificate(shown(cause=shown(code="CERT_HAS_EXPIRED")))
    assert not is_bad_certificate(shown("ssl.SSLError", "SSLError"))
