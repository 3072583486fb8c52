"""The settings (§10.2): what can be set, what it means, its unit, default and range, in one place.

Frozen shapes only: ``config`` reads them from the file and checks every limit that stands here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from msgspec import convert, field, json, to_builtins

from resilience.alerting.policy import Alerting
from resilience.classification.policy import Classification
from resilience.config.sections import Section, means
from resilience.degradation.gate import SERVICE_FEATURES
from resilience.degradation.policy import Degradation, Loop, default_loops, not_understood
from resilience.detection.policy import Probe
from resilience.events import Name, Text
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
from resilience.processes.policy import Process, ProcessName, not_startable, start_order
from resilience.recovery.policy import Checkpointing, Recovering


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
    checkpoint: Checkpointing = Checkpointing()
    recovery: Recovering = Recovering()
    services: Annotated[
        Mapping[Name, Service], means("what agents call; yours change the defaults or are added to them")
    ] = field(default_factory=_services)
    loops: Annotated[
        Mapping[Name, Loop], means("in which agents work; yours change the defaults or are added to them")
    ] = field(default_factory=default_loops)
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
        try:
            start_order({name: one.depends_on for name, one in self.services.items()})
        except ValueError as circle:
            yield "services", f"they need each other in a circle: {circle}"
        yield from in_two_zones(self.zones)
        yield from not_understood(self.degradation.rules, self.services)
        yield from not_startable(self.processes)

    def process_of(self, component: str) -> str:
        """The supervised process that a component is: the one that the table of services names, or else that of its name."""
        service = self.services.get(component)
        return service.process if service is not None and service.process is not None else component

    @property
    def probed(self) -> Mapping[str, Probe]:
        """The probe of everything that has one, by name: of services, and of what ``detection.probes`` names."""
        return {**{name: one.probe for name, one in self.services.items() if one.probe is not None}, **self.detection.probes}

    @property
    def llm_services(self) -> frozenset[str]:
        """Every language model: those of ``classification`` and those of the table of services."""
        return frozenset(self.classification.llm_services) | {name for name, one in self.services.items() if one.llm}


_CALL_POLICIES = ("circuit_breaker", "retry", "bulkhead", "services", "loops", "outbox", "checkpoint")


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


