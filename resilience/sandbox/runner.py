"""Runs one Python function in the sandbox: a script of its own, standard library only.

What it is to call comes pickled, from whom it can trust; what the function gave goes back as JSON, for who asked must not
trust it.
"""

from __future__ import annotations

import errno
import importlib
import json
import pickle
import runpy
import sys
import traceback
from pathlib import Path

_NAMED = {errno.EMFILE: "max_file_descriptors", errno.EFBIG: "max_disk_io_mb", errno.ENOMEM: "max_memory_mb"}


def main() -> None:
    """Reads ``call``, writes ``answer``; both lie in the folder that is given."""
    folder = Path(sys.argv[1])
    call = pickle.loads((folder / "call").read_bytes())  # noqa: S301 -- written by who started this
    sys.path[:] = call["path"]
    told = (folder / "answer").open("w", encoding="utf-8")  # before the function has used up what may be opened
    try:
        if call["file"] is not None:
            found = runpy.run_path(call["file"], run_name="__sandbox__")
            function = found[call["names"][0]]
            rest = call["names"][1:]
        else:
            function, rest = importlib.import_module(call["module"]), call["names"]
        for name in rest:
            function = getattr(function, name)
        arguments, named = pickle.loads(call["arguments"])  # noqa: S301
        value = function(*arguments, **named)
        try:
            answer = json.dumps({"value": value})
        except (TypeError, ValueError) as error:
            answer = json.dumps({"type": "TypeError", "message": f"what it gave back is nothing that JSON can hold: {error}"})
    except BaseException as error:
        limit = "max_memory_mb" if isinstance(error, MemoryError) else None
        if isinstance(error, OSError):
            limit = _NAMED.get(error.errno or 0)
        said = {"type": type(error).__name__, "message": str(error)[:10_000], "limit": limit}
        answer = json.dumps({**said, "traceback": traceback.format_exc()[-20_000:]})
    with told:
        told.write(answer)


if __name__ == "__main__":
    main()
