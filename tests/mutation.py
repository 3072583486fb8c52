"""Mutation testing: would a test notice if a pure module decided differently? ``run.py mutate`` runs this.

    mutation.py [MODULE…]   e.g. resilience/core/lives.py; without any, all that pyproject.toml lists

mutmut writes a module's mutants into ``mutants/`` and runs the tests that reach them; what it mutates, with which tests, stands
in pyproject.toml. It leaves out annotations, decorated functions and what stands outside of functions; we leave out the wording
of sentences besides, which may change. Printed are the mutants that live, as lines of a diff, and the share of those killed.
Some cannot be killed, because they decide the same in another way; nine of ten must be, in each module.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import libcst
from mutmut.__main__ import _run
from mutmut.configuration import config
from mutmut.mutation import mutators
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code

KILLED = ("killed", "timeout", "segfault")
NEEDED = 0.9


def main(modules: list[str]) -> int:
    """Mutates ``modules``, all anew because tests may have changed; 1 if too many live in one of them."""
    modules = modules or config().only_mutate
    if missing := [module for module in modules if not Path(module).is_file()]:
        sys.exit(f"mutation.py: there is no {', '.join(missing)}; modules are named as files, e.g. resilience/core/lives.py")
    config().only_mutate = modules
    assert isinstance(mutators.mutation_operators, list)
    mutators.mutation_operators.remove((libcst.BaseString, mutators.operator_string))
    mutators.mutation_operators.append((libcst.BaseString, operator_word))
    shutil.rmtree("mutants", ignore_errors=True)
    # By name, so that the clean tests that go before are only those that reach these modules.
    _run([f"{module.removesuffix('.py').replace('/', '.')}.*" for module in modules], max_children=1)
    outcomes = {module: outcomes_of(module) for module in modules}
    for module, outcome in outcomes.items():
        for name in [name for name, status in outcome.items() if status not in KILLED]:
            changed = [line for line in get_diff_for_mutant(name, path=module).splitlines()[2:] if line[:1] in ("-", "+")]
            print(f"{module}: {outcome[name]}: {name}", *changed, sep="\n    ")
    print(f"{'module':48} mutants  killed   alive    score")
    for module, outcome in outcomes.items():
        print(row(module, outcome))
    print(row("all", {name: status for outcome in outcomes.values() for name, status in outcome.items()}))
    return int(any(share(outcome) < NEEDED for outcome in outcomes.values()))


def operator_word(node: libcst.BaseString) -> Iterator[libcst.BaseString]:
    """mutmut's own mutants of a string, where it is a word that programs read; a sentence is for people."""
    if isinstance(node, libcst.SimpleString) and not any(map(str.isspace, node.value)):
        yield from mutators.operator_string(node)


def outcomes_of(module: str) -> dict[str, str]:
    """What became of each mutant of ``module``: ``killed``, ``survived``, ``no tests`` …"""
    data = SourceFileMutationData(path=module)
    data.load()
    return {name: status_by_exit_code[code] for name, code in data.exit_code_by_key.items()}


def share(outcome: dict[str, str]) -> float:
    """How many of the mutants were killed, 0 to 1."""
    return sum(status in KILLED for status in outcome.values()) / len(outcome) if outcome else 1.0


def row(name: str, outcome: dict[str, str]) -> str:
    """A line of the table."""
    killed = sum(status in KILLED for status in outcome.values())
    return f"{name:48} {len(outcome):7} {killed:7} {len(outcome) - killed:7} {share(outcome):8.1%}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
