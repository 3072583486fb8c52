"""What can be set of how errors are judged (§2.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

from msgspec import Meta, field

from resilience.config.sections import Section, means, named_twice
from resilience.events import Name, SeverityName

_HttpStatus = Annotated[int, Meta(ge=100, le=599)]


class ClassificationRule(Section, frozen=True, kw_only=True):
    """What an error is, where the built-in tables (§2.3) do not know. All that a rule asks for must fit."""

    name: Annotated[Name, means("what you call the rule")]
    exception: Annotated[Name | None, means("the exception's class fits, e.g. `openai.RateLimitError`")] = None
    status: Annotated[_HttpStatus | None, means("the HTTP status fits")] = None
    code: Annotated[Name | None, means("the service's own code fits, e.g. `insufficient_quota`")] = None
    errno: Annotated[Name | None, means("the system's error fits, e.g. `ECONNRESET`", names="system error")] = None
    component: Annotated[Name | None, means("the component fits")] = None
    type: Annotated[Name | None, means("the error class it then gets", names="error class")] = None
    severity: Annotated[SeverityName | None, means("the severity it then gets")] = None

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if (self.exception, self.status, self.code, self.errno, self.component) == (None,) * 5:
            yield "", "fits every error; say which with exception, status, code, errno or component"
        if self.type is None and self.severity is None:
            yield "", "changes nothing; give it a type or a severity"


class Classification(Section, frozen=True, kw_only=True):
    """How errors are judged (§2.3)."""

    default_severity: Annotated[SeverityName, means("severity where nothing else is known")] = "ERROR"
    http_status_mapping: Annotated[
        Mapping[_HttpStatus, SeverityName], means("severity by HTTP status; yours are added to the defaults")
    ] = field(
        default_factory=lambda: {
            400: "WARNING", 401: "ERROR", 403: "ERROR", 404: "WARNING", 408: "WARNING", 429: "WARNING",
            500: "ERROR", 502: "ERROR", 503: "ERROR", 504: "WARNING",
        }
    )  # fmt: skip
    critical_components: Annotated[tuple[Name, ...], means("whose errors are CRITICAL, if no status says else")] = (
        "AgentCore", "MemorySystem", "Gateway",
    )  # fmt: skip
    llm_services: Annotated[tuple[Name, ...], means("language models, whose errors have classes of their own")] = (
        "gpt-5.2", "ollama",
    )  # fmt: skip
    rules: Annotated[tuple[ClassificationRule, ...], means("your own rules; the first that fits wins")] = ()

    def contradictions(self) -> Iterator[tuple[str, str]]:
        yield from named_twice([rule.name for rule in self.rules])
