"""Calls a Python function in the sandbox; ``runner`` is the other end, and nothing that comes back from there is trusted."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from resilience.sandbox.folders import open_left, own_folder
from resilience.sandbox.limits import ResourceLimitExceeded, ResourceLimits, SandboxError, SandboxResult

T = TypeVar("T")
_MB: Final = 1024 * 1024
_RUNNER: Final = Path(__file__).with_name("runner.py")


def call(
    run: Callable[[list[str]], SandboxResult], limits: ResourceLimits, function: Callable[..., T], args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> T:  # fmt: skip
    """What ``function(*args, **kwargs)`` gives in a Python of its own.

    Args:
        run: runs a command in the sandbox, under ``limits``.

    Raises:
        SandboxError: it raised, or ended without an answer. ValueError: nobody could find it again by its name.
        ResourceLimitExceeded: it was refused what is limited. Otherwise what ``run`` raises.
    """
    asked = pickle.dumps({**_where(function), "path": sys.path, "arguments": pickle.dumps((args, kwargs))})
    with own_folder() as folder:
        (folder / "call").write_bytes(asked)
        done = run([sys.executable, "-I", str(_RUNNER), str(folder)])
        try:
            with open_left(folder / "answer") as file:
                answer = json.loads(file.read(int(limits.max_output_mb * _MB)))
        except (OSError, ValueError, RecursionError):  # the last one: nested deeper than anything that JSON is used for
            last = done.stderr.decode(errors="replace").strip()[-1000:]
            raise SandboxError("NoAnswer", f"it ended with exit status {done.returncode}, and no answer. {last}") from None
    if not isinstance(answer, dict) or not ("value" in answer or "type" in answer):
        raise SandboxError("NoAnswer", "what it left is no answer")
    if "value" in answer:
        value: T = answer["value"]
        return value
    if (limit := str(answer.get("limit"))) in ResourceLimits.__struct_fields__:
        allowed = getattr(limits, limit)
        raise ResourceLimitExceeded(limit, allowed, allowed, done.stdout, done.stderr)
    raise SandboxError(str(answer["type"]), str(answer.get("message", "")), str(answer.get("traceback", "")))


def _where(function: Callable[..., Any]) -> dict[str, Any]:
    """How the child finds a function again.

    Raises:
        ValueError: it cannot.
    """
    module, names = getattr(function, "__module__", None), str(getattr(function, "__qualname__", "<unknown>")).split(".")
    if module is None or any(name.startswith("<") for name in names):
        what = getattr(function, "__qualname__", repr(function))
        raise ValueError(f"{what} has no name by which another process could find it; make it a function of a module")
    if module != "__main__":
        return {"module": module, "names": names, "file": None}
    file = getattr(sys.modules["__main__"], "__file__", None)
    if file is None:
        raise ValueError(f"{names[0]} was typed in, so another process cannot find it; put it into a file")
    return {"module": module, "names": names, "file": str(Path(file).resolve())}

