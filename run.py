#!/usr/bin/env python3
"""WinClaw on a fresh machine, in one command. Needs Python 3.11 or later and nothing else.

    python run.py [ARGUMENTS…]        makes .venv, installs WinClaw there and starts it: winclaw ARGUMENTS (default: run)
    python run.py test [ARGUMENTS…]   ruff, mypy and pytest ARGUMENTS; what they execute is measured by --cov=
    python run.py bench               the benchmarks
    python run.py mutate [MODULE…]    whether tests notice when a pure module (resilience/core/lives.py …) changes; not on Windows

The second start installs nothing, unless what is installed has changed.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

# Before anything that an older Python might trip over; this file parses from 3.6 on, to be able to say so.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(
        "run.py: WinClaw needs Python 3.11 or later and this is {}.{} ({}). "
        "Install a newer one (python.org, or your system's packages) and start this file with it.".format(
            *sys.version_info[:2], sys.executable
        )
    )

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = "winclaw-installed.json"
# What an editable install is made from; everything else takes effect without another.
INSTALLED_FROM = ("pyproject.toml", "package.json", "package-lock.json", ".npmrc", "hatch_build.py", "static/vendor.entry.js")
BUNDLE = "static/vendor/vendor.js"
NO_BROWSER = (
    "no Edge, Chrome or Chromium here and none could be installed: the tests in a browser are skipped; "
    "install one of them and they run"
)


class Trouble(Exception):  # noqa: N818 -- it is not an error of the program
    """What keeps us from going on, in one line that says how to mend it."""


def main(arguments: list[str]) -> int:
    """Does what the command line asks; returns the exit status."""
    try:
        if arguments[:1] == ["test"]:
            return test(arguments[1:])
        if arguments[:1] == ["bench"]:
            install({"app", "test", "bench"})
            named = any(one.partition("::")[0].endswith(".py") for one in arguments[1:])
            chosen = arguments[1:] if named else ["tests/benchmarks", *arguments[1:]]
            return call(python(), "-m", "pytest", "-m", "benchmark", "-s", *chosen, cwd=ROOT)
        if arguments[:1] == ["mutate"]:
            install({"app", "test", "mutation"})
            return call(python(), "tests/mutation.py", *arguments[1:], cwd=ROOT)
        install({"app"})
        return become(str(script("winclaw")), *(arguments or ["run"]))
    except Trouble as trouble:
        print(f"run.py: {trouble}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def test(arguments: list[str]) -> int:
    """Ruff, mypy, pytest, all of them whatever the first ones find; 0 if none found anything."""
    install({"app", "test"})
    if not provide_browser():
        print(f"run.py: {NO_BROWSER}", flush=True)
    checks = (
        ("ruff", "check"),
        ("mypy",),
        ("pytest", "-n", "logical", "--maxprocesses", "4", *arguments),  # last: its closing line sums up
    )
    statuses = [call(python(), "-m", *check, cwd=ROOT) for check in checks]
    return max(min(abs(status), 1) for status in statuses)


# --- .venv and what is in it -------------------------------------------------------------------------------------------


def script(name: str) -> Path:
    """The command ``name`` in .venv."""
    return VENV / "Scripts" / f"{name}.exe" if os.name == "nt" else VENV / "bin" / name


def python() -> str:
    """The Python in .venv."""
    return str(script("python"))


def why_make(folder: Path, interpreter: Path, stamp: dict[str, object]) -> str | None:
    """Why the virtual environment in ``folder`` must be made (anew); None if it will do.

    Args:
        interpreter: where its Python should be. stamp: what ``read_stamp`` says of the last installation into it.
    """
    config = folder / "pyvenv.cfg"
    if not config.is_file():
        return "there is none yet"
    settings = dict(line.split(" = ", 1) for line in config.read_text(encoding="utf-8").splitlines() if " = " in line)
    made_by = settings.get("version", settings.get("version_info", ""))
    wanted = "{}.{}".format(*sys.version_info[:2])
    if made_by.split(".")[:2] != wanted.split("."):
        return f"it is of Python {made_by or '?'}, this is {wanted}"
    if not interpreter.exists():
        return f"its Python ({settings.get('home', '?')}) is gone"
    if stamp.get("folder", str(folder)) != str(folder):
        return f"it was moved here from {stamp['folder']}"
    return None


def read_stamp(folder: Path) -> dict[str, object]:
    """What was noted in ``folder`` after the last installation; empty if there was none that came to its end."""
    try:
        found = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def fingerprint(root: Path) -> str:
    """Of everything that an installation is made from."""
    digest = hashlib.sha256()
    for name in INSTALLED_FROM:
        path = root / name
        digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else '-'}\0".encode())
    return digest.hexdigest()


def must_install(stamp: dict[str, object], inputs: str, extras: set[str], bundled: bool) -> bool:
    """Whether the last installation lacks one of ``extras``, was made from other ``inputs``, or its bundle is gone."""
    noted = stamp.get("extras")
    return stamp.get("inputs") != inputs or not bundled or not isinstance(noted, list) or not extras <= set(noted)


def install(extras: set[str]) -> None:
    """Sees to it that .venv exists and WinClaw with ``extras`` is installed there.

    Raises:
        Trouble: it cannot be done.
    """
    stamp = read_stamp(VENV)
    reason = why_make(VENV, script("python"), stamp)
    if reason is not None:
        print(f"run.py: making .venv ({reason})", flush=True)
        provide_venv_module()
        make_venv()
        stamp = {}
    inputs = fingerprint(ROOT)
    if not must_install(stamp, inputs, extras, (ROOT / BUNDLE).is_file()):
        return
    print("run.py: installing WinClaw and what it needs into .venv; the first time takes a minute or two", flush=True)
    (VENV / STAMP).unlink(missing_ok=True)
    uv = shutil.which("uv")
    installer = [uv, "pip", "install", "--python", python()] if uv else [python(), "-m", "pip", "install"]
    if call(*installer, "--quiet", "--editable", "{}[{}]".format(ROOT, ",".join(sorted(extras)))) != 0:
        raise Trouble("the installation failed; the reason stands above. Once it is mended, start this again.")
    (VENV / STAMP).write_text(json.dumps({"folder": str(VENV), "inputs": inputs, "extras": sorted(extras)}), encoding="utf-8")


def make_venv() -> None:
    """Makes .venv, in place of whatever is there.

    Raises:
        Trouble: it cannot be written, or is in use.
    """
    try:
        if VENV.exists():
            shutil.rmtree(VENV)
        venv.create(VENV, with_pip=True, symlinks=os.name != "nt")
    except (OSError, subprocess.CalledProcessError) as error:
        raise Trouble(f".venv cannot be made: {error}. Close what runs from it, or delete {VENV}, and try again.") from error


def provide_venv_module() -> None:
    """Debian packs what makes a virtual environment separately: fetches it as root, else says what to install.

    Raises:
        Trouble: it is missing.
    """
    if importlib.util.find_spec("ensurepip") is not None:
        return
    package = "python{}.{}-venv".format(*sys.version_info[:2])
    if not apt_install(package):
        raise Trouble(f"this Python cannot make .venv: it has no ensurepip. On Debian and Ubuntu: sudo apt-get install {package}")
    importlib.invalidate_caches()


def apt_install(package: str) -> bool:
    """Whether ``package`` was installed with apt-get: on Debian and its kin, as root."""
    if shutil.which("apt-get") is None or os.name == "nt" or os.geteuid() != 0:
        return False
    print(f"run.py: apt-get install {package}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    commands = (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package])
    return all(subprocess.call(command, env=environment, stdout=subprocess.DEVNULL) == 0 for command in commands)


# --- a browser for the tests -------------------------------------------------------------------------------------------


def browsers(platform: str, environ: dict[str, str]) -> list[str]:
    """The commands and places where ``platform`` (as ``sys.platform``) may have a browser of Chromium's kin, best first."""
    if platform == "win32":
        roots = [environ[name] for name in ("PROGRAMFILES(X86)", "PROGRAMFILES", "LOCALAPPDATA") if environ.get(name)]
        tails = ("Microsoft/Edge/Application/msedge.exe", "Google/Chrome/Application/chrome.exe")
        return ["msedge", "chrome", *(f"{root}/{tail}" for tail in tails for root in roots)]
    if platform == "darwin":
        apps = ("Google Chrome", "Microsoft Edge", "Chromium")
        return ["chromium", *(f"/Applications/{name}.app/Contents/MacOS/{name}" for name in apps)]
    commands = "chromium chromium-browser google-chrome google-chrome-stable microsoft-edge microsoft-edge-stable".split()
    return [*commands, "/opt/google/chrome/chrome", "/opt/microsoft/msedge/msedge", "/snap/bin/chromium"]


def find_browser() -> str | None:
    """The browser of Chromium's kin that this machine has; None if it has none."""
    return next(filter(None, map(shutil.which, browsers(sys.platform, dict(os.environ)))), None)


def provide_browser() -> bool:
    """Whether there is a browser for the tests: the machine's, else Debian's package, else playwright's own."""
    if find_browser() is not None or (apt_install("chromium") and find_browser() is not None):
        return True
    return call(python(), "-m", "playwright", "install", "chromium") == 0


# --- other programs ----------------------------------------------------------------------------------------------------


def call(*command: str, cwd: Path | None = None) -> int:
    """Runs ``command`` to its end and returns its exit status; Ctrl-C is the command's own affair."""
    try:
        process = subprocess.Popen(command, cwd=cwd)
    except OSError as error:
        raise Trouble(f"{command[0]} does not start: {error}. Delete {VENV} and try again.") from error
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # it went to the command as well, which ends when it has cleaned up
            continue


def become(*command: str) -> int:
    """Runs ``command`` in this process's place, so that signals and exit status are its own; returns on Windows only."""
    if os.name == "nt":  # there, replacing a process would hand the terminal back at once
        return call(*command)
    try:
        os.execv(command[0], command)  # noqa: S606 -- that no shell is started is the point
    except OSError as error:
        raise Trouble(f"{command[0]} does not start: {error}. Delete {VENV} and try again.") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
