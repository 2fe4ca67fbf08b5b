"""Change a module in one small way after another, and see whether its tests notice: mutation testing.

python scripts/mutants.py [MODULE ...] [--sample N] [--seed N] [--only EXPRESSION] [--again] [--quick] [--result FILE]

`scripts/mutants.toml` says which tests belong to which module, how many mutants of it are tried, chosen at random, and
which changes make no difference to anybody, and why. `--result` adds what was found to a JSON file; with `--again` only
what survived by that file is tried, and its figures follow.
The mutants are mutmut's. They are tried here and not by mutmut, as an interpreter needs seconds to import torch: the
libraries are imported once, and a process is forked for each mutant. A copy of the repository is changed, never the
files themselves. Mutants that survive are printed; each needs a sharper test, or an explanation in the settings.
"""

import argparse
import difflib
import gc
import importlib
import json
import math
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = Path(__file__).with_suffix(".toml")
PYTEST = ("-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")  # plugins were imported


@dataclass(frozen=True)
class Mutant:
    """A module's source with one change, and that change as lines of a diff."""

    code: str
    change: str


class Watch:
    """A plugin of pytest that runs the fastest tests first, and notes how long each takes.

    Args:
        seconds: How long each test is known to take.
        quick: Whether to leave out the tests that run commands.

    """

    def __init__(self, seconds: Mapping[str, float], quick: bool) -> None:
        self.known, self.quick, self.seconds = seconds, quick, Counter[str]()

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Sort the tests, those last that need the process which runs commands."""
        slow = {id(item) for item in items if "commands" in getattr(item, "fixturenames", ())}
        items[:] = [item for item in items if not (self.quick and id(item) in slow)]
        items.sort(key=lambda item: (id(item) in slow, self.known.get(item.nodeid, 0)))

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Add a phase of a test."""
        self.seconds[report.nodeid] += report.duration


def mutants_of(file: Path, random_numbers: random.Random) -> Iterator[Mutant]:
    """Yield the mutants of a module, each once, in random order: making one takes a moment."""
    from libcst.metadata import MetadataWrapper
    from mutmut.mutation.file_mutation import MutationVisitor
    from mutmut.mutation.mutators import mutation_operators
    from mutmut.mutation.pragma_handling import IgnoredCode

    text = file.read_text(encoding="utf-8")
    visitor = MutationVisitor(mutation_operators, IgnoredCode(set(), set(), set()))
    module: Any = MetadataWrapper(importlib.import_module("libcst").parse_module(text)).visit(visitor)
    seen = {text}
    for each in random_numbers.sample(visitor.mutations, len(visitor.mutations)):
        code = module.deep_replace(each.original_node, each.mutated_node).code
        if code not in seen:
            seen.add(code)
            lines = list(difflib.unified_diff(text.splitlines(), code.splitlines(), n=0, lineterm=""))[2:]
            yield Mutant(code=code, change="\n".join(line for line in lines if not line.startswith("@@")))


@contextmanager
def copy_of_the_repository() -> Iterator[Path]:
    """Copy what git knows or would add into a folder that is removed at the end."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        tree = Path(name).resolve() / "repository"
        for each in filter(None, listed.split("\0")):
            if (ROOT / each).is_file():
                (tree / each).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / each, tree / each)
        yield tree


@dataclass
class Trial:
    """The tests of one module, run in forked processes.

    Args:
        tree: A copy of the repository.
        module: The module's path in it.
        tests: The tests' files.
        timeout: After how many seconds of work a process is ended; after ten times as many, all that it started.
        quick: Whether to leave out the tests that run commands.
        seconds: How long each test is known to take.

    """

    tree: Path
    module: str
    tests: Sequence[str]
    timeout: float
    quick: bool = False
    seconds: Mapping[str, float] = field(default_factory=dict)

    def run(self, *, first: bool = False) -> int:
        """Run the tests until one fails; return pytest's status, or a negative number where they took too long.

        Args:
            first: Whether to leave behind how long each test takes, and what was compiled.

        """
        child = os.fork()
        if child == 0:
            self._child(first=first)
        end = time.monotonic() + self.timeout * 10  # for one that waits; how busy the machine is decides nothing
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)  # below 0: the process was ended, as for its seconds
            time.sleep(0.01)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return -1

    def log(self) -> str:
        """Return the end of what the last run printed."""
        return (self.tree / "tests.log").read_text(encoding="utf-8", errors="replace")[-3000:]

    def prepare(self) -> None:
        """Run the tests on the unchanged module; end where one fails."""
        if self.run(first=True):
            sys.exit(f"error: the tests of {self.module} fail without a change.\n{self.log()}")
        self.seconds = json.loads((self.tree / "seconds.json").read_text(encoding="utf-8"))

    def _child(self, *, first: bool) -> NoReturn:
        status = 3
        try:
            os.setsid()
            if not first:
                resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(self.timeout),) * 2)
            log = os.open(self.tree / "tests.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            status = self._pytest(first=first)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _pytest(self, *, first: bool) -> int:
        os.chdir(self.tree)
        os.environ["PYTHONPATH"] = str(self.tree)  # of the processes that tests start
        sys.dont_write_bytecode = not first
        watch = Watch(self.seconds, self.quick)
        own = ["-x", "--rootdir", str(self.tree), "-c", str(self.tree / "pyproject.toml")]
        # Of the other modules no types are checked: that would take most of the time.
        own.append(f"--jaxtyping-packages={self.module.removesuffix('.py').replace('/', '.')},beartype.beartype")
        status = int(importlib.import_module("pytest").main([*PYTEST, *own, *self.tests], plugins=[watch]))
        if first:
            (self.tree / "seconds.json").write_text(json.dumps(watch.seconds), encoding="utf-8")
        return status


def try_module(trial: Trial, chosen: Sequence[Mutant], explained: Mapping[str, str]) -> dict[str, Any]:
    """Try mutants of one module; print those that survive without an explanation, and return what came of them.

    Args:
        trial: The tests.
        chosen: The mutants.
        explained: Regular expressions of changes that make no difference to anybody, and why they make none.

    """
    trial.prepare()
    file, count, survived = trial.tree / trial.module, Counter[str](), []
    text, times = file.read_bytes(), file.stat()
    for index, each in enumerate(chosen):
        file.write_text(each.code, encoding="utf-8")
        os.utime(file, (times.st_mtime + 10 + index,) * 2)  # another time than that of what was compiled
        end = "killed" if trial.run() else "survived"
        if end == "survived" and any(re.search(expression, each.change) for expression in explained):
            end = "equivalent"
        count[end] += 1
        if end == "survived":
            survived.append(each.change)
            print(f"{trial.module}: survived\n{each.change}\n", flush=True)
    file.write_bytes(text)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    return {"killed": count["killed"], "equivalent": count["equivalent"], "survived": survived}


def recorded(result: Path | None) -> dict[str, Any]:
    """Return what a file of results says of each module; nothing where there is no such file yet."""
    return json.loads(result.read_text(encoding="utf-8")) if result and result.exists() else {}


def record(result: Path, module: str, found: Mapping[str, Any]) -> None:
    """Write what was found of one module into the file of results."""
    every = recorded(result) | {module: {"date": time.strftime("%Y-%m-%d", time.gmtime()), **found}}
    result.write_text(json.dumps(dict(sorted(every.items())), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, try the mutants of each module, and print a table."""
    parser = argparse.ArgumentParser(description="Change modules, and see whether their tests notice.")
    parser.add_argument(
        "modules", nargs="*", metavar="MODULE", help="such as paramgen/initializers/he.py; default: all"
    )
    parser.add_argument("--sample", type=int, help="mutants of each module, instead of what the settings say; 0: all")
    parser.add_argument("--seed", type=int, default=0, help="another seed tries other mutants")
    parser.add_argument("--only", default="", help="only mutants whose change fits this regular expression")
    parser.add_argument("--again", action="store_true", help="only those that survived, as the file of results says")
    parser.add_argument("--result", type=Path, help="a file of results, which is added to")
    parser.add_argument("--quick", action="store_true", help="leave out the tests that run commands")
    given = parser.parse_args(arguments)
    settings = tomllib.loads(SETTINGS.read_text(encoding="utf-8"))
    if unknown := set(given.modules) - set(settings["modules"]):
        sys.exit(f"error: {SETTINGS.name} has no tests for {min(unknown)}. Add them there.")
    os.environ |= settings["environment"]
    for name in settings["libraries"]:  # once, for all the processes that are forked
        importlib.import_module(name)
    if "paramgen" in sys.modules:
        sys.exit("error: a library imports paramgen, so that no mutant would be tried. Take it from the settings.")
    gc.freeze()
    with copy_of_the_repository() as tree:
        for module in given.modules or settings["modules"]:
            entry = settings["modules"][module]
            sample = entry.get("sample", settings["sample"]) if given.sample is None else given.sample
            before = recorded(given.result).get(module, {}) if given.again else {}
            made = mutants_of(tree / module, random.Random(given.seed))
            if given.again:
                made = (each for each in made if each.change in before["survived"])
            chosen = list(islice((each for each in made if re.search(given.only, each.change)), sample or None))
            begun = time.monotonic()
            trial = Trial(tree, module, entry["tests"], settings["timeout"], given.quick)
            found = try_module(trial, chosen, entry.get("equivalent", {}))
            print(
                f"== {module}: {len(chosen)} mutants: {found['killed']} killed, {found['equivalent']} equivalent,"
                f" {len(found['survived'])} survived ({time.monotonic() - begun:.0f} s)",
                flush=True,
            )
            for name in ("killed", "equivalent"):
                found[name] += before.get(name, 0)
            if given.result:
                record(given.result, module, found)


if __name__ == "__main__":
    main()
