"""The settings themselves: their defaults are sound, agree with the rest of the program, and are documented."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from msgspec import inspect

from resilience.alerting.channels import EmailChannel
from resilience.classification.policy import Classification
from resilience.config.sections import Section
from resilience.config.settings import Agents, Service, Settings
from resilience.context import ErrorSeverity
from resilience.degradation.gate import SERVICE_FEATURES
from resilience.degradation.levels import FEATURES, DegradationLevel
from resilience.degradation.policy import LevelName
from resilience.events import SeverityName
from resilience.policies import CircuitBreakerConfig, RetryStrategy

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "configuration.md"


def rows(kind: inspect.Type, key: str, default: Any) -> Iterator[str]:
    """The line of the documentation for each setting below ``key``."""
    meaning, extra = "", {"unit": "", "names": "", "like": ""}
    if isinstance(kind, inspect.Metadata):
        meaning, extra = (kind.extra_json_schema or {})["description"], kind.extra or {}
        kind = kind.type
    unit, names, like = extra["unit"], extra["names"], extra["like"]
    if isinstance(kind, inspect.StructType):
        for one in kind.fields:
            below = getattr(default, one.name) if default is not None else one.default
            yield from rows(one.type, f"{key}.{one.name}".lstrip("."), below)
        return
    yield f"| `{key}` | {meaning} | {unit} | {shown(default)} | {allowed(kind, names)} |"
    if isinstance(kind, inspect.DictType) and isinstance(kind.value_type, inspect.StructType) and not like:
        yield from rows(kind.value_type, f"{key}.<name>", None)
    if isinstance(kind, inspect.VarTupleType) and isinstance(kind.item_type, inspect.StructType):
        yield from rows(kind.item_type, f"{key}[]", None)


def shown(default: Any) -> str:
    match default:
        case msgspec.NODEFAULT:
            return "required"
        case None:
            return "none"
        case bool():
            return f"`{str(default).lower()}`"
        case float():
            return f"`{default:g}`"
        case Mapping() | (Section(), *_):
            return "below"
        case tuple():
            return f"`[{', '.join(default)}]`"
        case _:
            return default if " " in str(default) else f"`{default}`" if default != "" else "none"


def allowed(kind: inspect.Type, names: str) -> str:
    match kind:
        case inspect.Metadata():
            return allowed(kind.type, names or (kind.extra or {}).get("names", ""))
        case inspect.UnionType():
            return allowed(next(one for one in kind.types if not isinstance(one, inspect.NoneType)), names)
        case inspect.IntType() | inspect.FloatType():
            low = f"{kind.ge:g}" if kind.ge is not None else f"above {kind.gt:g}"
            return f"{low} to {kind.le}"
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType():
            return ", ".join(f"`{one}`" for one in kind.values)
        case inspect.EnumType():
            return ", ".join(f"`{one}`" for one in sorted(one.value for one in kind.cls))
        case inspect.VarTupleType():
            return (
                "list of rules"
                if isinstance(kind.item_type, inspect.StructType)
                else f"list of: {allowed(kind.item_type, '')}"
            )
        case inspect.DictType():
            return "table"
        case _:
            return names or "text"


def test_every_setting_is_documented_with_its_meaning_unit_default_and_range() -> None:
    written = DOCUMENTATION.read_text(encoding="utf-8").splitlines()
    missing = [row for row in rows(inspect.type_info(Settings), "", Settings()) if row not in written]
    assert not missing, f"these lines belong into {DOCUMENTATION.name}:\n" + "\n".join(missing)


def test_the_documentation_lists_no_setting_that_does_not_exist() -> None:
    known = set(rows(inspect.type_info(Settings), "", Settings()))
    written = DOCUMENTATION.read_text(encoding="utf-8").splitlines()
    assert [line for line in written if line.startswith("| `") and line.count("|") == 6 and line not in known] == []


def defaults_by_name(table: Mapping[str, Section]) -> Iterator[str]:
    """The lines of the documentation for a table's entries: the settings in which they differ."""
    keys = next(iter(table.values())).__struct_fields__
    told = [key for key in keys if len({getattr(entry, key) for entry in table.values()}) > 1]
    yield " | ".join(f"`{key}`" for key in told) + " |"
    for name, entry in table.items():
        yield " | ".join([f"| `{name}`", *(shown(getattr(entry, key)) for key in told)]) + " |"


def test_the_defaults_of_every_table_are_documented() -> None:
    written = DOCUMENTATION.read_text(encoding="utf-8").splitlines()
    defaults = Settings()
    tables: list[Mapping[str, Section]] = [
        defaults.circuit_breaker.services, defaults.retry.strategies, defaults.services, defaults.loops,
    ]  # fmt: skip
    for table in tables:
        for row in defaults_by_name(table):
            assert any(line.endswith(row) for line in written), row


def test_every_default_lies_within_its_own_limits() -> None:
    defaults = Settings()
    assert msgspec.convert(msgspec.to_builtins(defaults), Settings) == defaults


def test_the_defaults_do_not_contradict_each_other() -> None:
    def contradictions(value: object) -> Iterator[tuple[str, str]]:
        if isinstance(value, Section):
            yield from value.contradictions()
            for key in value.__struct_fields__:
                yield from contradictions(getattr(value, key))
        elif isinstance(value, Mapping):
            for entry in value.values():
                yield from contradictions(entry)

    assert list(contradictions(Settings())) == []


def test_levels_and_severities_have_the_names_that_the_program_knows() -> None:
    assert get_args(LevelName) == tuple(DegradationLevel.__members__)
    assert get_args(SeverityName) == tuple(ErrorSeverity.__members__)


def test_each_of_the_documents_services_has_its_own_flag() -> None:
    services = Settings().services
    assert {name: one.feature for name, one in services.items()} == dict(SERVICE_FEATURES)
    assert {one.feature for one in services.values()} - {None} <= set(FEATURES[DegradationLevel.FULL])
    assert set(Settings().circuit_breaker.services) == set(services) - {"ollama"}


def test_language_models_are_those_of_either_place() -> None:
    settings = Settings(
        classification=Classification(llm_services=("a",)), services={"b": Service(llm=True), "c": Service()}
    )
    assert settings.llm_services == {"a", "b"}


@pytest.mark.parametrize(
    "section",
    [RetryStrategy(base_delay=2, max_delay=1), Agents(heartbeat_s=15), EmailChannel(enabled=True)],
    ids=lambda one: type(one).__name__,
)
def test_what_cannot_work_together_is_named(section: Section) -> None:
    assert len(list(section.contradictions())) == 1


def test_more_successes_than_probes_at_a_time_are_no_contradiction() -> None:
    """A probe gives its permit back: five successes can come one after another through a single permit."""
    assert list(CircuitBreakerConfig(success_threshold=5, half_open_max_calls=1).contradictions()) == []


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Settings().dashboard.port = 1  # type: ignore[misc]


def test_an_agent_can_read_the_settings_without_yaml() -> None:
    """PyYAML comes with the extra ``app`` only."""
    said = "import sys, resilience.config.settings; sys.exit('yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", said], check=False).returncode == 0
