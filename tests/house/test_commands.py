"""A command is options, one call of `paramgen.api`, and one print: what it does, Python can do, too."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

CLI: Final = Path(__file__).parents[2] / "paramgen" / "cli"
SHARED: Final = ("__init__", "app", "options", "output", "terminal")
"""What is no command: they put commands together, read options, and print."""

COMMANDS: Final = [path for path in sorted(CLI.glob("*.py")) if path.stem not in SHARED]
ALLOWED: Final = ("paramgen.api", "paramgen.cli", "paramgen.errors", "paramgen.registry")


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules of ours that run when a file runs; what is only there for types does not."""
    if isinstance(tree, ast.If) and ast.unparse(tree.test) == "TYPE_CHECKING":
        return
    if isinstance(tree, ast.Import):
        yield from (name.name for name in tree.names)
    elif isinstance(tree, ast.ImportFrom):
        module = tree.module or ""
        yield from (f"{module}.{name.name}" if module == "paramgen" else module for name in tree.names)
    for child in ast.iter_child_nodes(tree):
        yield from imported(child)


def beyond(source: str) -> set[str]:
    ours = {name for name in imported(ast.parse(source)) if name.partition(".")[0] == "paramgen"}
    return {name for name in ours if not f"{name}.".startswith(tuple(f"{room}." for room in ALLOWED))}


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.stem)
def test_a_command_calls_the_public_functions_alone(path: Path) -> None:
    assert beyond(path.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.stem)
def test_a_command_calls_few_of_them(path: Path) -> None:
    called = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("api.")
    ]
    assert (
        called and len({ast.unparse(call.func) for call in called}) <= 3
    )  # one for each form of what it makes, and one that only plans


def test_the_check_sees_what_is_called_past_them() -> None:
    assert len(COMMANDS) > 8
    assert beyond("def f():\n    from paramgen.output.card import write_card") == {"paramgen.output.card"}
    assert beyond("import paramgen.serving") == {"paramgen.serving"} == beyond("from paramgen import serving")
    assert not beyond("if TYPE_CHECKING:\n    from paramgen.comparison import Event\nfrom paramgen import api")
