from __future__ import annotations

import errno
import math
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from resilience.classification.evidence import MAX_CAUSES, MAX_ERRORS, Evidence, canonical_errno, facts, of_exception, of_report

NOW = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)


class PeerError(Exception):
    """A library's error, with whatever attributes that library gives it."""

    def __init__(self, message: str = "", **attributes: Any) -> None:
        super().__init__(message)
        self.__dict__.update(attributes)


def answer(**attributes: Any) -> SimpleNamespace:
    return SimpleNamespace(**attributes)


def causes(evidence: Evidence) -> list[str]:
    return [link.names[1] for link in evidence.chain()][1:]


def raised(error: BaseException, *, cause: BaseException | None = None, context: BaseException | None = None) -> BaseException:
    error.__cause__, error.__context__ = cause, context
    error.__suppress_context__ = cause is not None
    return error


def test_names_are_qualified_and_bare_and_the_most_specific_comes_first() -> None:
    names = of_exception(ConnectionRefusedError()).names
    assert names[:2] == ("builtins.ConnectionRefusedError", "ConnectionRefusedError")
    assert names[2:4] == ("builtins.ConnectionError", "ConnectionError")
    assert names[-4:] == ("builtins.Exception", "Exception", "builtins.BaseException", "BaseException")


@pytest.mark.parametrize(
    "error",
    [
        PeerError(status=429),
        PeerError(status_code=429),
        PeerError(code=429),
        PeerError(response=answer(status_code=429)),
        PeerError(response=answer(status=429)),
        PeerError(response={"ResponseMetadata": {"HTTPStatusCode": 429}}),
    ],
)
def test_the_status_is_found_wherever_libraries_keep_it(error: PeerError) -> None:
    assert of_exception(error).status == 429


@pytest.mark.parametrize(("status", "taken"), [(99, None), (100, 100), (599, 599), (600, None)])
def test_a_status_is_from_100_to_599(status: int, taken: int | None) -> None:
    assert of_exception(PeerError(status=status)).status == taken


@pytest.mark.parametrize("status", [True, 42, 700, "429", None, 429.0])
def test_what_is_no_status_is_not_taken_for_one(status: object) -> None:
    assert of_exception(PeerError(status=status)).status is None
    assert of_report({"type": "Error", "metadata": {"status": status}}).status is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("20", 20.0),
        (" 1.5 ", 1.5),
        ("0", 0.0),
        ("Mon, 23 Nov 2026 18:00:30 GMT", 30.0),
        ("Mon, 23 Nov 2026 17:00:00 GMT", 0.0),  # over already
        ("Mon, 23 Nov 2026 19:00:30 +0100", 30.0),
        ("Mon, 23 Nov 2026 18:00:30 -0000", 30.0),  # of a zone that is not told: UTC
        ("99999999999", 7 * 86_400.0),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_moment_and_bounded(value: str, seconds: float | None) -> None:
    on_response = PeerError(response=answer(status_code=429, headers={"retry-after": value}))
    on_error = PeerError(status=429, headers={"Retry-After": value})
    assert of_exception(on_response, now=NOW).retry_after_s == seconds
    assert of_exception(on_error, now=NOW).retry_after_s == seconds


def test_retry_after_is_that_of_an_answer_wherever_it_can_be_read() -> None:
    """An answer without a status is one; headers of what is none say nothing, and where one cannot be read the other may."""
    headers = {"Retry-After": "20"}
    assert of_exception(PeerError(response=answer(headers=headers))).retry_after_s == 20.0
    assert of_exception(PeerError(headers=headers)).retry_after_s is None
    assert of_exception(PeerError(headers=["no"], response=answer(headers=headers))).retry_after_s == 20.0
    assert of_exception(PeerError(headers={}, response=answer(headers=headers))).retry_after_s == 20.0
    assert of_exception(PeerError(headers={"Retry-After": "5"}, response=answer(headers=headers))).retry_after_s == 5.0
    assert of_exception(PeerError(status=429, headers={"Retry-After": 20})).retry_after_s is None


def test_a_library_may_say_itself_how_long_it_wants_to_be_left_alone() -> None:
    assert of_exception(PeerError(retry_after_s=7)).retry_after_s == 7.0
    assert of_exception(PeerError(retry_after_s=math.inf)).retry_after_s is None
    assert of_exception(PeerError(status=429, headers={"Retry-After": "5"}, retry_after_s=7)).retry_after_s == 5.0


def test_a_moment_needs_the_time_of_now() -> None:
    error = PeerError(status=429, headers={"Retry-After": "Mon, 23 Nov 2026 18:00:30 GMT"})
    assert of_exception(error).retry_after_s is None


@pytest.mark.parametrize(
    "error",
    [
        PeerError(code="insufficient_quota"),
        PeerError(code=None, body={"code": "insufficient_quota", "type": "other"}),
        PeerError(body={"error": {"code": None, "type": "insufficient_quota"}}),
        PeerError(body={"type": "error", "error": {"type": "insufficient_quota"}}),
        PeerError(body={"error": {"code": 429, "status": "insufficient_quota"}}),
        PeerError(response={"Error": {"Code": "insufficient_quota"}}),
        PeerError(sqlite_errorname="insufficient_quota".upper()),
        PeerError(reason="insufficient_quota".upper()),
        PeerError(reason="in words", body={"code": "insufficient_quota"}),
        PeerError(code="insufficient_quota", reason="OTHER"),
    ],
)
def test_the_providers_code_is_found_wherever_libraries_keep_it(error: PeerError) -> None:
    assert str(of_exception(error).code).lower() == "insufficient_quota"


def test_the_code_of_grpc_is_a_method() -> None:
    rpc_error = type("RpcError", (Exception,), {"__module__": "grpc", "code": lambda self: answer(name="UNAVAILABLE")})
    assert of_exception(rpc_error()).code == "UNAVAILABLE"


def test_a_method_of_another_library_is_not_called() -> None:
    """Who knows what it does."""
    def code() -> str:
        raise AssertionError("called")

    assert of_exception(PeerError(code=code)).code is None


def test_errno_is_a_name() -> None:
    assert of_exception(OSError(errno.ENOSPC, "full")).errno == "ENOSPC"
    assert of_exception(OSError(987_654, "what?")).errno is None
    assert of_exception(OSError("no number")).errno is None
    library = type("PeerConnectionError", (ConnectionError,), {})
    assert of_exception(library(errno.ECONNRESET, "gone")).errno == "ECONNRESET"


def test_a_code_of_windows_says_more_than_its_errno() -> None:
    """A file that another program holds open is EACCES to Python and error 32 to Windows; a full disk is EINVAL and 112."""
    in_use, full = PermissionError(errno.EACCES, "in use"), OSError(errno.EINVAL, "full")
    in_use.winerror, full.winerror = 32, 112  # type: ignore[attr-defined, unused-ignore]
    assert (of_exception(in_use).errno, of_exception(full).errno) == ("EBUSY", "ENOSPC")
    in_use.winerror = 5  # type: ignore[attr-defined, unused-ignore]
    assert of_exception(in_use).errno == "EACCES"


@pytest.mark.parametrize("name", ["SSLError", "gaierror"])
def test_numbers_of_other_libraries_are_no_errno(name: str) -> None:
    """1 is EPERM to the system and "a failure in the library" to OpenSSL."""
    module = {"SSLError": "ssl", "gaierror": "socket"}[name]
    foreign = type(name, (OSError,), {"__module__": module})
    assert of_exception(foreign(1, "no")).errno is None


def test_a_system_error_has_one_name() -> None:
    assert canonical_errno("WSAECONNRESET") == "ECONNRESET"
    assert canonical_errno("ENOTFOUND") == "ENOTFOUND"
    assert canonical_errno("EWOULDBLOCK") in ("EAGAIN", "EWOULDBLOCK")  # the same number here, two on Windows
    assert canonical_errno("EWOULDBLOCK") == of_exception(OSError(errno.EWOULDBLOCK, "later")).errno
    assert canonical_errno("errorcode") == "errorcode"  # which the module has, too
    assert of_report({"type": "x", "metadata": {"errno": "WSAECONNRESET"}}).errno == "ECONNRESET"


def test_a_cause_comes_before_what_was_being_handled() -> None:
    error = raised(PeerError(), cause=KeyError(), context=ValueError())
    evidence = of_exception(error)
    assert causes(evidence) == ["KeyError"]
    assert evidence.is_explicit


def test_what_was_being_handled_is_told_apart() -> None:
    evidence = of_exception(raised(PeerError(), context=ValueError()))
    assert causes(evidence) == ["ValueError"]
    assert not evidence.is_explicit


def test_a_suppressed_context_is_no_cause() -> None:
    error = raised(PeerError(), context=ValueError())
    error.__suppress_context__ = True
    assert causes(of_exception(error)) == []


@pytest.mark.parametrize("name", ["reason", "os_error", "original_error"])
def test_a_cause_in_an_attribute_is_found(name: str) -> None:
    error = PeerError()
    setattr(error, name, TimeoutError())
    assert causes(of_exception(error)) == ["TimeoutError"]
    assert of_exception(error).is_explicit


def test_a_cause_as_the_only_argument_is_found() -> None:
    assert causes(of_exception(RuntimeError(TimeoutError()))) == ["TimeoutError"]
    assert of_exception(RuntimeError(TimeoutError())).is_explicit


def test_of_a_retry_that_gave_up_the_last_error_counts() -> None:
    tried = of_exception(PeerError(errors=(KeyError(), ValueError(), TimeoutError())))
    assert (causes(tried), tried.is_explicit) == (["TimeoutError"], True)
    assert causes(of_exception(PeerError(errors=()))) == []
    assert causes(of_exception(PeerError(errors=lambda: [1]))) == []


def test_a_circle_of_causes_ends() -> None:
    first, second = PeerError(), ValueError()
    raised(first, cause=second)
    raised(second, cause=first)
    assert causes(of_exception(first)) == ["ValueError"]


def test_a_long_chain_is_cut() -> None:
    error: BaseException = ValueError()
    for _ in range(10_000):
        error = raised(PeerError(), cause=error)
    assert len(causes(of_exception(error))) == MAX_CAUSES


def test_groups_in_groups_are_read_up_to_a_bound() -> None:
    """Of thousands of errors, each with a chain, some are looked at."""
    group = ExceptionGroup("all", [raised(PeerError(), cause=KeyError()) for _ in range(1000)])  # type: ignore[type-var]
    nested = ExceptionGroup("more", [group, *[ValueError() for _ in range(1000)]])

    def count(evidence: Evidence) -> int:
        return sum(1 + sum(map(count, link.members)) for link in evidence.chain())

    assert 10 < count(of_exception(nested)) <= MAX_ERRORS
    assert count(of_exception(group)) == MAX_ERRORS


def test_an_error_that_stands_in_a_group_twice_is_looked_at_once() -> None:
    """The second time it is known by its class alone, which ends a circle, too."""
    error = PeerError(status=429)
    first, second = of_exception(ExceptionGroup("twice", [error, error]), "gpt-5.2").members
    assert first.status == 429
    assert second == Evidence(first.names, component="gpt-5.2")


def test_members_of_a_group_are_looked_at_as_closely_as_an_error_alone() -> None:
    error = PeerError(status=429, headers={"Retry-After": "Mon, 23 Nov 2026 18:00:30 GMT"})
    [member] = of_exception(ExceptionGroup("one", [error]), "gpt-5.2", NOW).members
    assert member == of_exception(error, "gpt-5.2", NOW)
    assert member.retry_after_s == 30.0


def test_members_of_a_group_that_is_a_cause_are_read() -> None:
    evidence = of_exception(raised(PeerError(), cause=ExceptionGroup("two", [KeyError(), ValueError()])))
    assert evidence.cause is not None
    assert [member.names[1] for member in evidence.cause.members] == ["KeyError", "ValueError"]


def test_an_attribute_that_cannot_be_read_is_not_there() -> None:
    class Thorny(Exception):
        @property
        def response(self) -> object:
            raise RuntimeError("detached")

        status = 503

    assert of_exception(Thorny()).status == 503


def test_headers_that_cannot_be_asked_say_nothing() -> None:
    assert of_exception(PeerError(status=429, headers=["Retry-After: 20"])).retry_after_s is None


def test_a_report_gives_the_same_evidence() -> None:
    report = {
        "type": "openai.RateLimitError",
        "component": "gpt-5.2",
        "metadata": {"status": 429, "retry_after_s": 20, "errno": "ECONNREFUSED", "code": "insufficient_quota", "exit": -9},
        "cause": {"type": "ConnectionResetError", "metadata": {"errno": "ECONNRESET"}},
    }
    evidence = of_report(report)
    assert evidence.names == ("openai.RateLimitError", "RateLimitError")
    assert (evidence.status, evidence.errno, evidence.code) == (429, "ECONNREFUSED", "insufficient_quota")
    assert (evidence.retry_after_s, evidence.exit, evidence.component) == (20.0, -9, "gpt-5.2")
    assert evidence.cause is not None
    assert evidence.cause.component == "gpt-5.2"
    assert "ConnectionError" in evidence.cause.names  # Python's own classes are known by their names


def test_a_report_may_name_the_original_class_beside_its_own() -> None:
    evidence = of_report({"type": "AgentError", "metadata": {"exception": "openai.RateLimitError"}})
    assert evidence.names == ("AgentError", "openai.RateLimitError", "RateLimitError")
    assert "OSError" in of_report({"type": "x", "metadata": {"exception": "ConnectionResetError"}}).names


def test_what_is_not_told_is_empty() -> None:
    for evidence in (of_report({}), of_report({"metadata": {"exception": None}})):
        assert evidence == Evidence(("",))
    assert of_exception(ValueError()) == Evidence(of_exception(ValueError()).names)


def test_a_type_that_is_a_code_is_one() -> None:
    assert of_report({"type": "ECONNREFUSED"}).code == "ECONNREFUSED"
    assert of_report({"type": "TypeError"}).code is None


@pytest.mark.parametrize(
    "report",
    [
        {},
        {"type": None, "metadata": None, "cause": None},
        {"type": 7, "metadata": [1], "cause": "x", "component": 3},
        {"type": "x", "metadata": {"status": "a", "errno": 3, "code": [], "retry_after_s": "x", "exit": 1.5, "exception": 1}},
        {"type": "x", "metadata": {"retry_after_s": 10**400}},
    ],
)
def test_a_report_of_any_shape_gives_evidence(report: dict[str, Any]) -> None:
    evidence = of_report(report)
    assert (evidence.status, evidence.errno, evidence.code, evidence.retry_after_s, evidence.exit) == (None,) * 5


def test_a_long_chain_in_a_report_is_cut() -> None:
    report: dict[str, Any] = {"type": "ValueError"}
    for _ in range(500):
        report = {"type": "RuntimeError", "cause": report}
    assert len(causes(of_report(report))) == MAX_CAUSES


def test_facts_are_what_a_report_can_carry() -> None:
    error = PeerError(
        code="slow", returncode=3, response=answer(status_code=429, headers={"Retry-After": "20"}),
    )  # fmt: skip
    assert facts(error) == {"status": 429, "retry_after_s": 20.0, "code": "slow", "exit": 3}
    assert facts(ConnectionRefusedError(errno.ECONNREFUSED, "no")) == {"errno": "ECONNREFUSED"}
    assert facts(ValueError()) == {}
    late = PeerError(status=503, headers={"Retry-After": "Mon, 23 Nov 2026 18:00:30 GMT"})
    assert facts(late, NOW) == {"status": 503, "retry_after_s": 30.0}


def test_facts_make_the_same_evidence_again() -> None:
    error = PeerError(code="slow", response=answer(status_code=429, headers={"Retry-After": "20"}))
    told = of_report({"type": "PeerError", "metadata": facts(error)})
    seen = of_exception(error)
    assert (told.status, told.code, told.retry_after_s) == (seen.status, seen.code, seen.retry_after_s)


def test_an_error_that_cannot_be_looked_at_has_no_facts() -> None:
    class Mined(OSError):
        @property
        def errno(self) -> int:  # type: ignore[override]
            raise RuntimeError("no")

    assert facts(Mined()) == {}
