"""What can be asked of a probe, and whom it asks."""

from __future__ import annotations

from typing import Any

import pytest

from resilience.detection.policy import KINDS, Probe, host_and_port


@pytest.mark.parametrize(
    ("probe", "said"),
    [
        ({}, "a probe is exactly one of http, tcp, process, command, file, disk"),
        ({"tcp": "127.0.0.1:80", "http": "http://127.0.0.1/"}, "a probe is exactly one of"),
        ({"http": "127.0.0.1:80"}, "is no address such as"),
        ({"http": "http://me:secret@127.0.0.1/"}, "is no address such as"),
        ({"tcp": "127.0.0.1"}, "must be host:port"),
        ({"tcp": "127.0.0.1:0"}, "must be host:port"),
        ({"command": ("",)}, "names no program"),
        ({"tcp": "127.0.0.1:80", "contains": "x"}, "is only for http and command"),
        ({"tcp": "127.0.0.1:80", "status": (200,)}, "is only for http"),
    ],
)
def test_a_probe_that_cannot_be_is_refused(probe: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Probe(**probe).sound()  # type: ignore[arg-type]


ONE_OF = f"a probe is exactly one of {', '.join(KINDS)}"


@pytest.mark.parametrize(
    ("probe", "wrong"),
    [
        ({}, ("", ONE_OF)), ({"file": "x", "tcp": "y", "disk": "z"}, ("file", ONE_OF)), ({"command": (), "http": ""}, ("", ONE_OF)),
        ({"http": "ftp://127.0.0.1/"}, "http"), ({"http": "http:///health"}, "http"), ({"http": "https://x@y/"}, "http"),
        ({"tcp": "x:y"}, "tcp"), ({"command": ("", "x")}, "command"),
        ({"process": "x", "status": (200,)}, "status"), ({"file": "x", "contains": "x"}, "contains"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_at_the_key_to_change(probe: dict[str, Any], wrong: str | tuple[str, str]) -> None:
    [found] = Probe(**probe).contradictions()
    assert (found if isinstance(wrong, tuple) else found[0]) == wrong


@pytest.mark.parametrize(
    ("probe", "kind", "target"),
    [
        ({"http": "http://127.0.0.1:1/health", "status": (200,), "contains": "ok"}, "http", "http://127.0.0.1:1/health"),
        ({"http": "https://example.com/"}, "http", "https://example.com/"),
        ({"tcp": "[::1]:80"}, "tcp", "[::1]:80"), ({"process": "ollama.exe"}, "process", "ollama.exe"),
        ({"command": ("agent", "--check"), "contains": "ok"}, "command", "agent --check"), ({"command": ("agent",)}, "command", "agent"),
        ({"file": "beat"}, "file", "beat"), ({"disk": "/"}, "disk", "/"),
    ],
)  # fmt: skip
def test_a_probe_knows_its_kind_and_whom_it_asks(probe: dict[str, Any], kind: str, target: str) -> None:
    sound = Probe(**probe).sound()
    assert (sound.kind, sound.target) == (kind, target)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)), ("localhost:1", ("localhost", 1)), ("x:65535", ("x", 65_535)), ("[::1]:80", ("::1", 80)),
        ("::1:80", ("::1", 80)), ("x:00080", ("x", 80)),
        ("x:0", None), ("x:65536", None), ("x:1000000000", None), ("x:000080", None), ("x:000001234567", None), ("x:" + "9" * 5000, None), ("x", None), (":80", None), ("[]:80", None),
        ("x:", None), ("x:-1", None), ("x:8o", None), ("x:٣", None), ("x:²", None), ("", None),
    ],
)  # fmt: skip
def test_a_host_and_its_port_are_told_apart_at_the_last_colon(text: str, parts: tuple[str, int] | None) -> None:
    assert host_and_port(text) == parts
