"""Settings and versions as people and programs are shown them: without secrets."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import yaml
from msgspec import to_builtins

from resilience.clock import as_text
from resilience.config.cleaning import clean_yaml
from resilience.config.difference import changed_settings, line_difference, without_secret
from resilience.config.file import ConfigError, parse
from resilience.config.options import without_option_values
from resilience.config.settings import Settings
from resilience.config.version import InForce, outcomes
from resilience.config.versions import Versions
from resilience.exporting.leaving_out import Clean
from resilience.redaction import Redactor


def redactor_of(*settings: Settings) -> Redactor:
    """What takes out the secrets that any of these settings name, too."""
    return Redactor([name for one in settings for name in one.redaction.names])


def without_secrets(text: str, redactor: Redactor) -> str:
    """A configuration's text as it is shown: what stands under a secret's name, however it is written, and all else that looks
    like one, is taken out. Where it is no YAML, only what a line shows is known.
    """
    return redactor.text(clean_yaml(text, Clean(redactor)).removeprefix("\ufeff"))


def as_table(settings: Settings) -> dict[str, Any]:
    """The settings as plain values."""
    clean = redactor_of(settings)
    return {"error_handling": clean.value(without_option_values(to_builtins(settings), clean))}


def as_shown(settings: Settings, number: int | None) -> dict[str, Any]:
    """The settings in force, whole and as far as they are not the defaults, and which version they are (None: none)."""
    differs = changed_settings(Settings(), settings, redactor_of(settings))
    return {"version": number, "differs": list(differs), "settings": as_table(settings)}


def as_yaml(table: Mapping[str, Any]) -> str:
    """The plain values of ``as_table`` as YAML, which is a configuration file again, but for what is a secret."""
    classification = table["error_handling"]["classification"]
    by_status = {int(status): severity for status, severity in classification["http_status_mapping"].items()}  # JSON's are texts
    whole = {**table["error_handling"], "classification": {**classification, "http_status_mapping": by_status}}
    text: str = yaml.safe_dump({"error_handling": whole}, sort_keys=False, allow_unicode=True, width=100)
    return text


def listed(versions: Versions, settings: Settings, known: InForce | None) -> list[dict[str, Any]]:
    """Every version, the newest first: who made it, when, what changed with it, and what became of it.

    Args:
        settings: those in force. known: which version they are; that is listed, though the disk may not have it yet.
    """
    clean = redactor_of(settings)
    found = [(one.version, one.at) for one in versions.kept()]
    if known is not None and known.holds and known.version.number not in {version.number for version, _ in found}:
        found.insert(0, (known.version, known.since))
    in_force = known.version.number if known is not None and known.holds else None
    troubles = known.of_versions if known is not None else {}
    became = outcomes([version for version, _ in found], in_force, troubles)
    return [
        {
            "version": one.number, "at": as_text(at), "author": one.author, "origin": one.origin,
            "changed": [without_secret(line, clean.is_secret) for line in one.changed], "outcome": became[one.number],
            "in_force": one.number == in_force, "trouble": troubles.get(one.number, ""), "restores": one.restores,
        }
        for one, at in found
    ]  # fmt: skip


def described(
    versions: Versions, number: int, settings: Settings, known: InForce | None, against: int | None = None
) -> dict[str, Any]:
    """One version, with its text, its difference to another one, and what rolling back to it would change.

    Args:
        settings: those in force. known: which version they are. against: the other one; None: the one before.

    Raises:
        KeyError: there is none of that number, or of the other, or it is damaged. CheckpointError: it cannot be read just now.
    """
    found = next((one for one in listed(versions, settings, known) if one["version"] == number), None)
    text = versions.text(number)
    if found is None or text is None:
        raise KeyError(number)
    replaces = next((one.version.replaces for one in versions.kept() if one.version.number == number), None)
    other = replaces if against is None else against
    before = versions.text(other) if other is not None else None
    if against is not None and before is None:
        raise KeyError(against)
    then, problems = _understood(text)
    former, _ = _understood(before or "")
    clean = redactor_of(*(one for one in (settings, then, former) if one is not None))
    would = list(changed_settings(settings, then, clean)) if then is not None else None
    cleaned = partial(without_secrets, redactor=clean)
    return {
        **found, "text": cleaned(text), "replaces": replaces, "against": other,
        "diff": line_difference(before, text, cleaned) if before is not None else None, "would_change": would,
        "problems": problems,
    }  # fmt: skip


def _understood(text: str) -> tuple[Settings | None, list[str]]:
    """The settings that a text gives, or what is wrong with it."""
    try:
        return parse(text), []
    except ConfigError as refused:
        return None, [str(one) for one in refused.problems]
