"""A configuration's text without secrets, for exports and for people: it is YAML as before, with the same lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

import yaml

from resilience.config.nodes import compose
from resilience.config.options import secret_places, without_assigned
from resilience.config.problems import ConfigError
from resilience.exporting.leaving_out import Clean
from resilience.redaction import REDACTED

_COMMENT: Final = re.compile(r"(?<!\S)#[^\r\n]*")
_REFERENCES: Final = re.compile(r"""["']?(?:env|keyring):[A-Za-z_][\w.-]*["']?""")
_OPTIONS: Final = re.compile(r"""((?<![\w-])--?([A-Za-z][\w-]*)["']?[ \t,]+["']?)(?!-)([^\s,"'\]]+)""")
_PROPERTIES: Final = re.compile(r"(?:[&!]\S*\s+)*")
_NO_SECRETS: Final = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:bool")


def clean_yaml(text: str, clean: Clean) -> str:
    """``text`` without secrets; what cannot be read as YAML is taken for any text."""
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    text = text.removeprefix(mark)
    try:
        root = compose(text, "")
    except ConfigError:
        return mark + clean.text(text, "the text")
    found: dict[tuple[int, int], str | None] = {}
    for node, new in _scalars(root, clean, "$", is_secret=False, seen=set()):
        span = node.start_mark.index, node.end_mark.index
        found[span] = new or found.get(span)  # what an alias names comes twice
    done, pieces = 0, list[str]()
    for (start, end), new in sorted(found.items()):
        pieces.append(_without_secret_comments(text[done:start], clean))
        pieces.append(text[start:end] if new is None else _written(text[start:end], new))
        done = end
    pieces.append(_without_secret_comments(text[done:], clean))
    return mark + "".join(pieces)


def _scalars(
    node: yaml.Node | None, clean: Clean, place: str, *, is_secret: bool, seen: set[tuple[int, bool]]
) -> Iterator[tuple[yaml.ScalarNode, str | None]]:
    """Every scalar, with what is to stand in its place, or None where it stays; each once, though aliases name it again."""
    if (id(node), is_secret) in seen:
        return
    seen.add((id(node), is_secret))
    match node:
        case yaml.MappingNode():
            for key, value in node.value:
                name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
                yield from _scalars(key, clean, f"a key of {place}", is_secret=False, seen=seen)
                secret = is_secret or clean.is_secret(name)
                yield from _scalars(value, clean, f"{place}.{clean.shown(name)}", is_secret=secret, seen=seen)
        case yaml.SequenceNode():
            texts = [one.value if isinstance(one, yaml.ScalarNode) else None for one in node.value]
            places = secret_places(texts, clean.is_secret)
            for number, value in enumerate(node.value):
                secret = is_secret or number in places
                whole = without_assigned(texts[number] or "", clean.is_secret)
                if isinstance(value, yaml.ScalarNode) and not secret and whole != value.value:
                    clean.places.append(f"{place}[{number}]")
                    yield value, whole
                    continue
                yield from _scalars(value, clean, f"{place}[{number}]", is_secret=secret, seen=seen)
        case yaml.ScalarNode() if is_secret and clean.hides(node.value) and node.tag not in _NO_SECRETS:
            clean.places.append(place)
            yield node, REDACTED
        case yaml.ScalarNode():
            new = clean.text(node.value, place)
            yield node, None if new == node.value else new


def _without_secret_comments(gap: str, clean: Clean) -> str:
    """What stands between scalars; only in a comment there can be a secret. A reference to one is none there, either."""
    return _COMMENT.sub(lambda found: _without_secrets(found[0], clean), gap)


def _without_secrets(comment: str, clean: Clean) -> str:
    """A comment may be a command that somebody has put out of use: what stands behind its options is as secret there."""
    hides = [one.span(3) for one in _OPTIONS.finditer(comment) if clean.is_secret(one[2]) and clean.hides(one[3])]
    for start, end in reversed(hides):
        comment = f"{comment[:start]}{REDACTED}{comment[end:]}"
    clean.places.extend(["a comment"] * len(hides))
    return comment if clean.is_clean(_REFERENCES.sub("", comment)) else clean.text(comment, "a comment")


def _written(source: str, new: str) -> str:
    """``new`` as it stands in YAML, in the place of ``source``: with the anchor and the tag of that, and as many lines."""
    found = _PROPERTIES.match(source)
    properties = found[0] if found is not None else ""
    quoted = json.dumps(new, ensure_ascii=False)  # which is a text in YAML, too
    return properties + quoted + "\n" * source[len(properties) :].count("\n")
