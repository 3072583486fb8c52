"""Looking: one question to a server, a port, a program, a file or a disk. It never raises.

It waits for ``timeout_s``: for the answer of a server, for each address of a name, for a command, with up to two seconds
to end it. How long the system takes to resolve a name, or to tell of a file or disk, is the system's.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

import psutil

from resilience.clock import Clock
from resilience.detection.policy import Probe, ProbeKind, host_and_port
from resilience.detection.status import Outcome
from resilience.processes.identity import TOKEN, end_carriers
from resilience.processes.records import token_for

_MOST_BYTES: Final = 256 * 1024
_MB: Final = 1024 * 1024
_KILLED_S: Final = 1.0
"""How long it may take until what was killed has ended."""


class _UnwellError(Exception):
    """What was seen is not well; the message says what."""


def look(probe: Probe, clock: Clock) -> Outcome:
    """Asks once. Whatever goes wrong is part of the answer."""
    begin_s = clock.monotonic()
    try:
        ok, what = True, _LOOKS[probe.kind](probe, clock)
    except _UnwellError as unwell:
        ok, what = False, str(unwell)
    except TimeoutError:
        ok, what = False, f"no answer within {probe.timeout_s:g} s"
    except (OSError, http.client.HTTPException, ValueError, psutil.Error) as error:
        ok, what = False, _words(error)
    return Outcome(ok, clock.monotonic() - begin_s, what[:300])


def _http(probe: Probe, clock: Clock) -> str:
    parts = urlsplit(str(probe.http))
    until_s = clock.monotonic() + probe.timeout_s
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=probe.timeout_s)
    # Whoever sends a byte now and then would never time out, so the socket is closed under the reader's hands.
    alarm = threading.Timer(probe.timeout_s, _hang_up, (connection,))
    alarm.daemon = True
    alarm.start()
    try:
        connection.connect()
        if clock.monotonic() >= until_s:  # the alarm has rung while there was nothing to close
            raise TimeoutError
        where = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", where, headers={"Connection": "close"})
        answer = connection.getresponse()
        body = answer.read(_MOST_BYTES) if probe.contains else b""
        if clock.monotonic() >= until_s:
            raise TimeoutError
    except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
        if clock.monotonic() >= until_s:
            raise TimeoutError from error
        raise
    finally:
        alarm.cancel()
        connection.close()
    well = answer.status in probe.status if probe.status else answer.status < 400
    if not well:
        raise _UnwellError(f"HTTP status {answer.status}")
    if probe.contains and probe.contains not in body.decode("utf-8", "replace"):
        raise _UnwellError(f"HTTP status {answer.status}, but the answer does not contain {probe.contains!r}")
    return f"HTTP status {answer.status}"


def _hang_up(connection: http.client.HTTPConnection) -> None:
    with contextlib.suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)


def _tcp(probe: Probe, _: Clock) -> str:
    address = host_and_port(str(probe.tcp))
    assert address is not None
    host, port = address
    # Many a program listens on only one of the two; the old one first, for Windows is slow to refuse.
    *others, last = ("127.0.0.1", "::1") if host == "localhost" else (host,)
    for other in others:
        with contextlib.suppress(OSError):
            socket.create_connection((other, port), probe.timeout_s).close()
            return "accepts connections"
    socket.create_connection((last, port), probe.timeout_s).close()
    return "accepts connections"


def _process(probe: Probe, _: Clock) -> str:
    wanted = str(probe.process).casefold().removesuffix(".exe")
    for one in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.Error):
            is_it = (one.info["name"] or "").casefold().removesuffix(".exe") == wanted
            if is_it and (os.name == "nt" or one.status() != psutil.STATUS_ZOMBIE):
                return f"runs as process {one.pid}"
    raise _UnwellError(f"no {probe.process} runs")


def _command(probe: Probe, _: Clock) -> str:
    token = token_for("probe", "command")
    child = subprocess.Popen(
        list(probe.command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, TOKEN: token}, creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )  # fmt: skip
    assert child.stdout is not None
    said: list[bytes] = []
    reader = threading.Thread(target=_read, args=(child.stdout, said), daemon=True)
    reader.start()
    try:
        code = child.wait(probe.timeout_s)
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    finally:
        if child.poll() is None:
            child.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_KILLED_S)
        reader.join(0.05)
        if reader.is_alive():  # something that it has started holds on to its output
            end_carriers(token)
            reader.join(_KILLED_S)  # what has another environment is not found: it is read from until it ends
    text = b"".join(said).decode("utf-8", "replace")
    if code != 0:
        last = text.strip().rpartition("\n")[2]
        raise _UnwellError(f"exit status {code}{f': {last}' if last else ''}")
    if probe.contains and probe.contains not in text:
        raise _UnwellError(f"exit status 0, but its output does not contain {probe.contains!r}")
    return "exit status 0"


def _read(stream: IO[bytes], said: list[bytes]) -> None:
    """Reads to the end, keeps the beginning, and closes: nobody else can, while this waits for more."""
    kept = 0
    with contextlib.suppress(OSError), stream:
        while chunk := stream.read1(65536):  # type: ignore[attr-defined]
            if kept < _MOST_BYTES:
                said.append(chunk[: _MOST_BYTES - kept])
                kept += len(said[-1])


def _file(probe: Probe, clock: Clock) -> str:
    try:
        age_s = clock.now().timestamp() - Path(str(probe.file)).stat().st_mtime
    except FileNotFoundError:
        raise _UnwellError("there is no such file") from None
    if age_s > probe.max_age_s:
        raise _UnwellError(f"it was last written to {age_s:.0f} s ago, of {probe.max_age_s:g} allowed")
    return f"written to {max(age_s, 0):.0f} s ago"


def _disk(probe: Probe, _: Clock) -> str:
    free_mb = shutil.disk_usage(str(probe.disk)).free // _MB
    if free_mb < probe.min_free_mb:
        raise _UnwellError(f"{free_mb} MB are free, of {probe.min_free_mb} needed")
    return f"{free_mb} MB are free"


_LOOKS: Final[Mapping[ProbeKind, Callable[[Probe, Clock], str]]] = {
    "http": _http, "tcp": _tcp, "process": _process, "command": _command, "file": _file, "disk": _disk,
}  # fmt: skip


def _words(error: Exception) -> str:
    match error:
        case ConnectionRefusedError():
            return "the connection was refused"
        case ConnectionResetError() | http.client.RemoteDisconnected():
            return "the connection was closed without an answer"
        case ssl.SSLError():
            return f"no secure connection: {error.reason or error}"
        case socket.gaierror():
            return "its name cannot be resolved"
        case FileNotFoundError():
            return f"there is no {error.filename}" if error.filename else "there is no such program"
        case OSError():
            return error.strerror or str(error)
        case http.client.HTTPException():
            return f"no HTTP: {type(error).__name__}"
        case _:
            return f"{type(error).__name__}: {error}"
