"""The settings (§10.2): what can be set, what it means, its unit, default and range, in one place.

Frozen shapes only: ``config`` reads them from the file and checks every limit that stands here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, convert, field, json, to_builtins

from resilience.config.sections import Section, means
from resilience.degradation.gate import SERVICE_FEATURES
from resilience.detection.policy import Probe
from resilience.events import Name, SeverityName, Text
from resilience.healing.policy import SelfHealing
from resilience.isolation.policy import ZONES, Isolation, Zone, in_two_zones
from resilience.policies import (
    CIRCUIT_CONFIGS,
    RETRY_POLICIES,
    BulkheadLimits,
    CircuitBreakerConfig,
    OutboxLimits,
    RetryBudget,
    RetryStrategy,
    Seconds,
)
from resilience.processes.policy import Process, ProcessName, not_startable

LevelName = Literal["FULL", "DEGRADED_LLM", "LIMITED_EXTERNAL", "MINIMAL", "SAFE_MODE"]
CheckpointLevel = Literal["operation", "session", "component", "system"]
HttpStatus = Annotated[int, Meta(ge=100, le=599)]
Email = Annotated[str, Meta(extra={"names": "email address"})]
Phone = Annotated[str, Meta(extra={"names": "phone number"})]


class ClassificationRule(Section, frozen=True, kw_only=True):
    """What an error is, where the built-in tables (§2.3) do not know. All that a rule asks for must fit."""

    name: Annotated[Name, means("what you call the rule")]
    exception: Annotated[Name | None, means("the exception's class fits, e.g. `openai.RateLimitError`")] = None
    status: Annotated[HttpStatus | None, means("the HTTP status fits")] = None
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
        Mapping[HttpStatus, SeverityName], means("severity by HTTP status; yours are added to the defaults")
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
        yield from _named_twice([rule.name for rule in self.rules])


class CircuitBreakers(Section, frozen=True, kw_only=True):
    """When calls to a failing service are stopped (§3)."""

    default: Annotated[CircuitBreakerConfig, means("for services without an entry of their own")] = CircuitBreakerConfig()
    services: Annotated[
        Mapping[Name, CircuitBreakerConfig],
        means("by service, with the keys of `default`, from which a new one starts", like="default"),
    ] = field(default_factory=lambda: dict(CIRCUIT_CONFIGS))


class Retry(Section, frozen=True, kw_only=True):
    """How failed calls are tried again (§4)."""

    budget: Annotated[RetryBudget, means("how many retries a service bears, over all callers")] = RetryBudget()
    strategies: Annotated[
        Mapping[Name, RetryStrategy], means("by name; yours change the defaults or are added to them")
    ] = field(default_factory=lambda: dict(RETRY_POLICIES))


class Bulkheads(Section, frozen=True, kw_only=True):
    """How many calls run at once (§7.2)."""

    default: Annotated[BulkheadLimits, means("for services without an entry of their own")] = BulkheadLimits()
    services: Annotated[
        Mapping[Name, BulkheadLimits],
        means("by service, with the keys of `default`, from which a new one starts", like="default"),
    ] = field(default_factory=dict)


class LevelRule(Section, frozen=True, kw_only=True):
    """When the level goes down, and how far (§5.2)."""

    name: Annotated[Name, means("what you call the rule")]
    condition: Annotated[Text, means("when it holds, e.g. `gpt-5.2.unhealthy`", min_length=1)]
    target_level: Annotated[LevelName, means("the level it asks for; the lowest of all wins")]
    priority: Annotated[int, means("of rules for one level, the lowest names the cause", ge=0, le=1000)] = 100
    auto_recover: Annotated[bool, means("false: once it held, only a person ends it")] = True


class Degradation(Section, frozen=True, kw_only=True):
    """Which level the system runs at (§5)."""

    auto_degrade: Annotated[bool, means("whether rules may lower the level")] = True
    auto_recover: Annotated[bool, means("whether it rises by itself when the cause is gone")] = True
    recover_after_s: Annotated[
        float, means("how long all must be well before it rises by one step", "s", ge=0, le=86_400)
    ] = 30.0
    window_s: Annotated[float, means("the time in which rules count errors and calls", "s", ge=10, le=86_400)] = 300.0
    reduced_context_tokens: Annotated[
        int, means("what agents should keep a model's context to, at every level below FULL", "tokens", ge=256, le=10_000_000)
    ] = 4096
    rules: Annotated[tuple[LevelRule, ...], means("the rules; your list replaces the default one")] = (
        LevelRule(name="llm_failure", condition="gpt-5.2.unhealthy", target_level="DEGRADED_LLM", priority=1),
        LevelRule(
            name="multiple_external_down", target_level="LIMITED_EXTERNAL", priority=2,
            condition="count_unhealthy([gmail_api, twilio_api, browser_control]) >= 2",
        ),
        LevelRule(
            name="memory_system_failure", condition="memory_system.unhealthy", target_level="MINIMAL", priority=3
        ),
        LevelRule(
            name="security_anomaly", condition="security.error_count > 10", target_level="SAFE_MODE", priority=0,
            auto_recover=False,
        ),
    )  # fmt: skip

    def contradictions(self) -> Iterator[tuple[str, str]]:
        yield from _named_twice([rule.name for rule in self.rules])


LoopTier = Literal["basic", "core", "all"]


class Loop(Section, frozen=True, kw_only=True):
    """One of the loops in which agents work (§5.1)."""

    tier: Annotated[
        LoopTier, means("who may go on longest: `basic` to MINIMAL, `core` to LIMITED_EXTERNAL, `all` at FULL only")
    ] = "all"
    stuck_after_s: Annotated[float, means("silence after which a run is stuck", "s", gt=0, le=86_400)] = 300.0
    max_run_s: Annotated[Seconds | None, means("how long a run may take; none: as long as it likes", "s")] = None
    max_depth: Annotated[int, means("how deep it may nest in itself", ge=1, le=1000)] = 3
    description: Annotated[Text, means("what it does, for people")] = ""


def _loops() -> dict[str, Loop]:
    """The fifteen loops of §5.1: one that goes on longest, four more that are essential, and ten."""
    described: dict[str, tuple[LoopTier, str]] = {
        "agent_core": ("basic", "Takes what comes in and decides what is done"),
        "planning": ("core", "Makes and mends plans"),
        "tool_execution": ("core", "Uses tools"),
        "memory": ("core", "Remembers and recalls"),
        "reflection": ("core", "Looks back at what was done"),
        "research": ("all", "Reads up on a question"),
        "discovery": ("all", "Finds out what there is"),
        "exploration": ("all", "Tries what it does not know yet"),
        "learning": ("all", "Learns from what happened"),
        "bug_finding": ("all", "Looks for faults in code"),
        "debugging": ("all", "Finds the causes of faults"),
        "testing": ("all", "Tests what was made"),
        "context_engineering": ("all", "Chooses what a model gets to see"),
        "prompt_engineering": ("all", "Improves prompts"),
        "self_update": ("all", "Improves the agent itself"),
    }
    return {name: Loop(tier=tier, description=text) for name, (tier, text) in described.items()}


Url = Annotated[str | None, means("where to: an address without secrets, `env:NAME`, `keyring:NAME`", names="address")]


class BuiltInChannel(Section, frozen=True, kw_only=True):
    """A way to tell that needs no address."""

    enabled: Annotated[bool, means("whether it is used")] = True


class WebhookChannel(Section, frozen=True, kw_only=True):
    """Telling another program."""

    enabled: Annotated[bool, means("whether it is used")] = False
    url: Url = None

    def contradictions(self) -> Iterator[tuple[str, str]]:
        yield from _nobody_to_tell(self.enabled, self.url, "url")


class EmailChannel(Section, frozen=True, kw_only=True):
    """Telling by email."""

    enabled: Annotated[bool, means("whether it is used")] = False
    recipients: Annotated[tuple[Email, ...], means("who gets it")] = ()
    url: Url = None

    def contradictions(self) -> Iterator[tuple[str, str]]:
        yield from _nobody_to_tell(self.enabled, self.url or self.recipients, "recipients")


class SmsChannel(Section, frozen=True, kw_only=True):
    """Telling by text message."""

    enabled: Annotated[bool, means("whether it is used")] = False
    phone_numbers: Annotated[tuple[Phone, ...], means("who gets it")] = ()
    url: Url = None

    def contradictions(self) -> Iterator[tuple[str, str]]:
        yield from _nobody_to_tell(self.enabled, self.url or self.phone_numbers, "phone_numbers")


class Channels(Section, frozen=True, kw_only=True):
    """The ways to tell (§8.1)."""

    log: Annotated[BuiltInChannel, means("the log file")] = BuiltInChannel()
    dashboard: Annotated[BuiltInChannel, means("the dashboard")] = BuiltInChannel()
    email: Annotated[EmailChannel, means("email")] = EmailChannel()
    sms: Annotated[SmsChannel, means("text messages")] = SmsChannel()
    webhook: Annotated[WebhookChannel, means("another program")] = WebhookChannel()


class Alerting(Section, frozen=True, kw_only=True):
    """Who is told, and how (§8)."""

    enabled: Annotated[bool, means("whether anybody is told")] = True
    rate_limit_window: Annotated[float, means("time in which alerts of a kind count", "s", ge=1, le=86_400)] = 300.0
    max_alerts_per_window: Annotated[
        int, means("alerts of a kind in that time; a summary of the rest follows", ge=1, le=10_000)
    ] = 5
    channels: Annotated[Channels, means("the ways to tell")] = Channels()


class Checkpoint(Section, frozen=True, kw_only=True):
    """What is saved, to go back to (§9)."""

    enabled: Annotated[bool, means("whether checkpoints are made")] = True
    max_checkpoints: Annotated[int, means("how many are kept", ge=1, le=100_000)] = 100
    auto_checkpoint_interval: Annotated[float, means("time between two of them", "s", ge=1, le=86_400)] = 300.0
    levels: Annotated[tuple[CheckpointLevel, ...], means("what they are made of")] = (
        "operation", "session", "component", "system",
    )  # fmt: skip


class Service(Section, frozen=True, kw_only=True):
    """Something that agents call (§3.3)."""

    feature: Annotated[str | None, means("the flag (§5.2) that must be on for a call", names="feature flag")] = None
    llm: Annotated[bool, means("whether it is a language model")] = False
    retry: Annotated[Name, means("a strategy by its name; `auto`: the error decides (§4.1); `none`: not at all")] = "auto"
    timeout_seconds: Annotated[Seconds | None, means("how long a call may take, all its tries together", "s")] = None
    attempt_timeout_seconds: Annotated[Seconds | None, means("how long each try may take", "s")] = None
    probe: Annotated[Probe | None, means("how WinClaw finds out by itself whether it answers")] = None
    depends_on: Annotated[tuple[Name, ...], means("services without which it cannot work")] = ()
    process: Annotated[ProcessName | None, means("the supervised process that it is")] = None
    description: Annotated[Text, means("what it is, for people")] = ""


class Detection(Section, frozen=True, kw_only=True):
    """What WinClaw looks at beside services and processes (§6.1)."""

    probes: Annotated[
        Mapping[Name, Probe], means("by a name of yours; one that fails is an error of that component")
    ] = field(default_factory=dict)


class Retention(Section, frozen=True, kw_only=True):
    """How long the journal remembers."""

    max_age_days: Annotated[int, means("age past which entries are removed", "days", ge=1, le=3650)] = 90
    max_size_mb: Annotated[int, means("size past which the oldest entries are removed", "MB", ge=16, le=1_000_000)] = (
        1024
    )


class Dashboard(Section, frozen=True, kw_only=True):
    """The page in the browser."""

    port: Annotated[int, means("its port, on this machine only; if taken, the next free", ge=1024, le=65_535)] = 8765
    session_hours: Annotated[int, means("how long a browser stays logged in", "h", ge=1, le=8760)] = 720


class Tray(Section, frozen=True, kw_only=True):
    """The icon in the notification area."""

    toasts: Annotated[bool, means("whether it shows notifications")] = True


class Logging(Section, frozen=True, kw_only=True):
    """The log files."""

    max_file_mb: Annotated[float, means("size at which a new file is begun", "MB", gt=0, le=1024)] = 10.0
    files: Annotated[int, means("how many old files are kept", ge=1, le=1000)] = 5


class Redaction(Section, frozen=True, kw_only=True):
    """Secrets, which are taken out of all that is stored."""

    names: Annotated[tuple[Name, ...], means("further names of keys whose values are secrets")] = ()


class Agents(Section, frozen=True, kw_only=True):
    """The agents' signs of life."""

    heartbeat_s: Annotated[float, means("time between two signs of life", "s", ge=0.1, le=3600)] = 5.0
    lost_after_s: Annotated[float, means("silence after which an agent is lost", "s", ge=0.1, le=86_400)] = 15.0

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if self.lost_after_s <= self.heartbeat_s:
            yield "lost_after_s", f"must be more than heartbeat_s ({self.heartbeat_s:g}), or no agent is ever there"


def _services() -> dict[str, Service]:
    """The services of §3.3, and the local model that stands in for the main one (§5.1)."""
    described = {
        "gpt-5.2": "The main language model",
        "gmail_api": "Email",
        "twilio_api": "Calls and text messages",
        "browser_control": "The browser that the agent drives",
        "memory_system": "The agent's memory",
        "vector_store": "Search by meaning",
        "tts_engine": "Text to speech",
        "stt_engine": "Speech to text",
        "file_system": "Files on this machine",
        "shell_execution": "Commands on this machine",
        "ollama": "The local language model that stands in",
    }
    return {
        name: Service(feature=SERVICE_FEATURES[name], llm=name in ("gpt-5.2", "ollama"), description=text)
        for name, text in described.items()
    }


class Settings(Section, frozen=True, kw_only=True):
    """Everything that stands under ``error_handling:``."""

    classification: Classification = Classification()
    circuit_breaker: CircuitBreakers = CircuitBreakers()
    retry: Retry = Retry()
    bulkhead: Bulkheads = Bulkheads()
    degradation: Degradation = Degradation()
    self_healing: SelfHealing = SelfHealing()
    alerting: Alerting = Alerting()
    checkpoint: Checkpoint = Checkpoint()
    services: Annotated[
        Mapping[Name, Service], means("what agents call; yours change the defaults or are added to them")
    ] = field(default_factory=_services)
    loops: Annotated[
        Mapping[Name, Loop], means("in which agents work; yours change the defaults or are added to them")
    ] = field(default_factory=_loops)
    processes: Annotated[Mapping[ProcessName, Process], means("programs that WinClaw starts and watches")] = field(
        default_factory=dict
    )
    zones: Annotated[
        Mapping[Name, Zone], means("components that share one fate; yours change the defaults or are added to them")
    ] = field(default_factory=lambda: dict(ZONES))
    isolation: Isolation = Isolation()
    detection: Detection = Detection()
    outbox: Annotated[OutboxLimits, means("messages that agents send")] = OutboxLimits()
    retention: Retention = Retention()
    dashboard: Dashboard = Dashboard()
    tray: Tray = Tray()
    logging: Logging = Logging()
    redaction: Redaction = Redaction()
    agents: Agents = Agents()

    def contradictions(self) -> Iterator[tuple[str, str]]:
        known = {"auto", "none", *self.retry.strategies}
        for name, service in self.services.items():
            if service.retry not in known:
                yield (
                    f"services.{name}.retry",
                    f"there is no retry strategy {service.retry!r}; there are {', '.join(sorted(known))}",
                )
            for needed in service.depends_on:
                if needed not in self.services:
                    yield f"services.{name}.depends_on", f"there is no service {needed!r}"
            if service.process is not None and service.process not in self.processes:
                yield f"services.{name}.process", f"there is no process {service.process!r}"
        for name in self.detection.probes:
            if name in self.services:
                yield f"detection.probes.{name}", f"there is a service of that name; give the probe to it: services.{name}.probe"
        yield from in_two_zones(self.zones)
        yield from _not_understood(self.degradation.rules, self.services)
        yield from not_startable(self.processes)

    def process_of(self, component: str) -> str:
        """The supervised process that a component is: the one that the table of services names, or else that of its name."""
        service = self.services.get(component)
        return service.process if service is not None and service.process is not None else component

    @property
    def llm_services(self) -> frozenset[str]:
        """Every language model: those of ``classification`` and those of the table of services."""
        return frozenset(self.classification.llm_services) | {name for name, one in self.services.items() if one.llm}


_CALL_POLICIES = ("circuit_breaker", "retry", "bulkhead", "services", "loops", "outbox")


def call_policies(settings: Settings) -> dict[str, Any]:
    """What agents need of the settings: the policies of calls, and an id that changes with them."""
    told = {name: to_builtins(getattr(settings, name)) for name in _CALL_POLICIES}
    return {"settings": told, "settings_id": hashlib.sha256(json.encode(told)).hexdigest()[:16]}


def understood(told: Mapping[str, Any]) -> Settings:
    """The settings that ``call_policies`` told, with the defaults for all else.

    Raises:
        ValueError: they are of another version.
    """
    return convert(told, Settings)


def _named_twice(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    for at, name in enumerate(names):
        if name in names[:at]:
            yield f"rules[{at}].name", f"there is another rule {name!r}; give each a name of its own"


def _not_understood(rules: Sequence[LevelRule], services: Mapping[str, Service]) -> Iterator[tuple[str, str]]:
    from resilience.degradation.conditions import Condition, ConditionError  # noqa: PLC0415 -- agents need no grammar

    for at, rule in enumerate(rules):
        try:
            Condition(rule.condition, services)
        except ConditionError as wrong:
            yield f"degradation.rules[{at}].condition", f"{wrong.what} (column {wrong.column} of the condition)"


def _nobody_to_tell(enabled: bool, told: object, key: str) -> Iterator[tuple[str, str]]:
    if enabled and not told:
        yield "enabled", f"it is on, but there is nobody to tell; give it {key}, or turn it off"
