"""What can be set of the level (§5): its rules, and the loops that it lets run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Literal

from resilience.config.sections import Section, means, named_twice
from resilience.events import Name, Text
from resilience.policies import Seconds

LevelName = Literal["FULL", "DEGRADED_LLM", "LIMITED_EXTERNAL", "MINIMAL", "SAFE_MODE"]


class LevelRule(Section, frozen=True, kw_only=True):
    """When the level goes down, and how far (§5.2)."""

    name: Annotated[Name, means("what you call the rule")]
    condition: Annotated[Text, means("when it holds, e.g. `gpt-5.2.unhealthy`", min_length=1)]
    target_level: Annotated[LevelName, means("the level it asks for; the lowest of all wins")]
    priority: Annotated[int, means("of rules for one level, the lowest names the cause", ge=0, le=1000)] = 100
    auto_recover: Annotated[bool, means("false: once it held, only a person ends it")] = True


class LevelPolicy(Section, frozen=True, kw_only=True):
    """Whether rules lower the level, and when it rises by itself."""

    auto_degrade: Annotated[bool, means("whether rules may lower the level")] = True
    auto_recover: Annotated[bool, means("whether it rises by itself when the cause is gone")] = True
    recover_after_s: Annotated[
        float, means("how long all must be well before it rises by one step", "s", ge=0, le=86_400)
    ] = 30.0


class Degradation(LevelPolicy, frozen=True, kw_only=True):
    """Which level the system runs at (§5)."""

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
        yield from named_twice([rule.name for rule in self.rules])


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


def default_loops() -> dict[str, Loop]:
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


def not_understood(rules: Sequence[LevelRule], services: Collection[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with the conditions of rules: the key to change, and why."""
    from resilience.degradation.conditions import Condition, ConditionError  # noqa: PLC0415 -- agents need no grammar

    for at, rule in enumerate(rules):
        try:
            Condition(rule.condition, services)
        except ConditionError as wrong:
            yield f"degradation.rules[{at}].condition", f"{wrong.what} (column {wrong.column} of the condition)"
