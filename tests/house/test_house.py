"""The house rules that no linter knows, held against every file of the repository."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
MAX_LINES, MAX_FUNCTION, MAX_POSITIONAL, MAX_NESTING = 400, 60, 5, 3
MAX_ASSET, MAX_FILE = 100_000, 12_000_000
PICKLES = {"pickle", "cPickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"}
VAGUE = {"utils", "util", "common", "helper", "helpers", "manager", "misc"}
ELSEWHERE = re.compile(r"(?<![\w.:*])/(?:home|root|Users|work)/|[.]{2}/shared")
BLOCKS = (ast.For, ast.AsyncFor, ast.While, ast.If)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def files() -> list[Path]:
    """Every file that is tracked or would be."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


FILES = files()
SOURCES = [path for path in FILES if path.suffix == ".py"]
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
OURS = {path: tree for path, tree in TREES.items() if not path.is_relative_to(ROOT / "tests")}


def place(path: Path, node: ast.AST | None = None) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


def functions(trees: dict[Path, ast.Module]) -> Iterator[tuple[str, Function]]:
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield place(path, node), node


def length(function: Function) -> int:
    first = function.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def nesting(node: ast.AST, depth: int = 0) -> int:
    """Depth of loops and branches below `node`; an `elif` is no deeper than its `if`, a function inside starts anew."""
    deepest = depth
    for field, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        chained = isinstance(node, ast.If) and field == "orelse" and len(children) == 1
        for child in children:
            if isinstance(child, ast.AST) and not isinstance(child, Function):
                deeper = isinstance(child, BLOCKS) and not (chained and isinstance(child, ast.If))
                deepest = max(deepest, nesting(child, depth + deeper))
    return deepest


def assert_none(offenders: Iterable[str]) -> None:
    listed = list(offenders)
    assert not listed, "\n".join(listed)


def test_files_and_functions_are_short() -> None:
    long = [place(path) for path in SOURCES if path.read_text(encoding="utf-8").count("\n") > MAX_LINES]
    long += [at for at, function in functions(TREES) if length(function) > MAX_FUNCTION]
    assert_none(long)


def test_arguments_beyond_five_are_named() -> None:
    def positional(function: Function) -> int:
        names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
        return len(names) - (names[:1] in (["self"], ["cls"]))

    assert_none(at for at, function in functions(OURS) if positional(function) > MAX_POSITIONAL)


def test_blocks_nest_three_deep_at_most() -> None:
    assert_none(at for at, function in functions(OURS) if nesting(function) > MAX_NESTING)


def test_every_except_names_what_it_catches() -> None:
    handlers = [
        (path, node) for path in SOURCES for node in ast.walk(TREES[path]) if isinstance(node, ast.ExceptHandler)
    ]
    assert_none(place(path, node) for path, node in handlers if node.type is None)


def test_nothing_imports_a_pickle_library() -> None:
    def modules(node: ast.AST) -> set[str]:
        if isinstance(node, ast.ImportFrom):
            return {(node.module or "").partition(".")[0]}
        return {name.name.partition(".")[0] for name in node.names} if isinstance(node, ast.Import) else set()

    assert_none(place(path, node) for path, tree in TREES.items() for node in ast.walk(tree) if modules(node) & PICKLES)


def test_names_say_what_is_inside() -> None:
    assert_none(place(path) for path in SOURCES if VAGUE & set(path.with_suffix("").relative_to(ROOT).parts))


def test_no_file_names_a_place_on_one_machine() -> None:
    found = []
    for path in FILES:
        text = path.read_bytes().decode("utf-8", errors="replace") if path.suffix != ".safetensors" else ""
        found += [f"{place(path)}: {match.group()}" for match in ELSEWHERE.finditer(text)]
    assert_none(found)


def test_tests_are_not_a_package() -> None:
    assert_none(place(path) for path in SOURCES if path.name == "__init__.py" and path not in OURS)


@pytest.mark.parametrize(("folder", "limit"), [("tests/assets", MAX_ASSET), (".", MAX_FILE)])
def test_the_repository_stays_small(folder: str, limit: int) -> None:
    inside = [path for path in FILES if path.is_relative_to(ROOT / folder)]
    assert_none(f"{place(path)}: {path.stat().st_size} bytes" for path in inside if path.stat().st_size > limit)


def test_ci_runs_the_command_of_the_readme() -> None:
    run = ROOT / ".ci" / "run"
    assert run.stat().st_mode & 0o111
    assert "make test" in run.read_text(encoding="utf-8")
    assert "make test" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_dependency_is_pinned_where_make_setup_looks() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = [
        *project["project"]["dependencies"],
        *project["dependency-groups"]["dev"],
        *project["dependency-groups"]["docs"],
        *project["dependency-groups"]["release"],
    ]
    extras = project["project"]["optional-dependencies"]
    asked += [line for name, extra in extras.items() if name != "all" for line in extra]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    versions = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}
    assert versions[canonicalize_name("torch")] == "2.13.0"  # a looser pin lets pip fetch gigabytes of CUDA
    for wanted in map(Requirement, asked):
        assert wanted.specifier.contains(versions[canonicalize_name(wanted.name)]), wanted
